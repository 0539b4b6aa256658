//! What both services share, against a real Redis of each test's own.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod durable;
mod healthcheck;
mod keyring;
mod support;

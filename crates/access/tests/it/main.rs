//! Tenants and keys against a real Redis of each test's own.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod authenticating;
mod changing;
mod last_use;
mod reading;
mod support;

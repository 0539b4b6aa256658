//! Durable storage against a private redis-server.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod durable;
mod keyring;
mod support;

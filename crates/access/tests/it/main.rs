//! Tests of tenants and API keys. Each test has a private redis-server.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod authenticating;
mod changing;
mod last_use;
mod reading;
mod support;

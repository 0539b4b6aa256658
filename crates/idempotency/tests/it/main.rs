//! Claims against a real Redis, each test with one of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is red")]

mod bounds;
mod claims;
mod effects;
mod leases;
mod outages;
mod support;

//! Tests of the catalogue; each starts its own Redis.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod batch_numbers;
mod deployment;
mod policy;
mod store;
mod support;

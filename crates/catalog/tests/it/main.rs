//! The catalogue against a real Redis of each test's own.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod batch_numbers;
mod deployment;
mod policy;
mod store;
mod support;

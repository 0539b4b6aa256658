//! The chain against a real Redis: one file per hazard.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod appending;
mod chain_end;
mod checkpoints;
mod effects;
mod export;
mod outages;
mod racing;
mod reading;
mod repair;
mod state_loss;
mod support;
mod two_calls;

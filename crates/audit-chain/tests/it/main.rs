//! The chain against a real Redis: one file per hazard.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod appending;
mod chain_end;
mod checkpoints;
mod effects;
mod export;
mod outages;
mod racing;
mod reading;
mod state_loss;
mod support;
mod tail;
mod two_calls;

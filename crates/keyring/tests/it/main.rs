//! The keyring against a real Redis: one file per hazard.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod moving;
mod racing;
mod seeding;
mod signing;
mod support;
mod watching;

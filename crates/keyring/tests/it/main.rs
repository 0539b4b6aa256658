//! The keyring against a real Redis: one file per hazard.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod moving;
mod racing;
mod seeding;
mod signing;
mod support;
mod watching;

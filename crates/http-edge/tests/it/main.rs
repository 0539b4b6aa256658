//! The edge as a client meets it: real servers on ports of their own, spoken to by reqwest or byte by byte.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod app;
mod bounds;
mod connections;
mod cut;
mod docs;
mod framing;
mod headers;
mod lifecycle;
mod log;
mod metrics;
mod refusals;

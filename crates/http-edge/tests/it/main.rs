//! Tests of the edge over TCP: each starts a server on a free port and sends requests with reqwest or raw
//! bytes.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod app;
mod bounds;
mod connections;
mod cut;
mod docs;
mod errors;
mod framing;
mod headers;
mod healthcheck;
mod lifecycle;
mod log;
mod metrics;

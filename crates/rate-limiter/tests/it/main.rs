//! The limiter against a real Redis of each test's own.

mod combined;
mod exactness;
mod global;
mod model;
mod outage;
mod region;
mod support;

//! What both services are assembled from, above the domain crates and the edge: the shared sections of their settings, the
//! durable Redis with its deployment and audit appender, what each failure becomes for a client, and the health check.

pub mod config;
pub mod durable;
pub mod errors;
mod healthcheck;

pub use healthcheck::healthcheck;

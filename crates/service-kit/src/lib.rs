//! What both services are assembled from, above the domain crates and the HTTP edge: the durable Redis with its deployment
//! and audit appender, the mapping of failures to the client's errors, parsing of ids and text, the HTTP server's
//! configuration, and the health check.

pub mod durable;
mod healthcheck;
mod key_standing;
mod listening;
mod shutdown_hook;
pub mod storage;

pub use healthcheck::healthcheck;
pub use key_standing::{KeyStanding, UntrustedKey};
pub use listening::{listening, trusted_proxies};
pub use shutdown_hook::shutdown_hook;

//! What both services are assembled from, above the domain crates and the edge: the shared sections of their settings, the
//! durable Redis with its deployment and audit appender, what each failure becomes for a client, reading ids and text, and the
//! health check.

pub mod durable;
pub mod errors;
pub mod field_error;
mod healthcheck;
mod key_standing;
mod shutdown_hook;
pub mod storage;
mod tag;
pub mod text;

pub use healthcheck::healthcheck;
pub use key_standing::{KeyStanding, UntrustedKey};
pub use shutdown_hook::shutdown_hook;
pub use tag::parse_tag;

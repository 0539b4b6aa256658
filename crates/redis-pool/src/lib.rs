//! Access to Redis that says "too busy" before anything piles up.
//!
//! A **permit** bounds how many operations are under way at once; it is not a socket. A few shared connections carry
//! the bytes of all permits (one socket per operation costs three times as much, see `docs/adr/0002-permits-are-not-sockets.md`).
//! An operation waits for a permit at most [`PoolConfig::wait`], then it is [`PoolError::Overloaded`]; once it has one, a single
//! deadline, [`PoolConfig::command_timeout`], covers connecting, sending and the reply. A permit is held until the reply has been
//! read or the connection is closed, even when its caller has left: what is in the pipe is always counted. A connection
//! that owes a reply for too long is closed.
//!
//! Every pool has a circuit breaker of its own. Failures are types, not texts: see [`PoolError`].

mod config;
mod connections;
mod error;
mod in_flight;
mod metrics;
mod operation;
mod permit;
mod pool;
mod script;
mod server;
mod tls;
mod url;
mod writes;

pub use config::{OPEN_FOR, PoolConfig, PoolStats};
pub use error::{PoolError, UnavailableReason};
pub use metrics::PoolMetrics;
pub use permit::PoolPermit;
pub use pool::RedisPool;
pub use script::{Invocation, Script};
pub use tls::{TlsCertificates, TlsError};
pub use url::{RedisUrl, UrlError};

pub use circuit_breaker::BreakerState;

//! Access to Redis that rejects operations before they pile up.
//!
//! - **Permits.** A permit bounds how many operations run at the same time. It is not a socket: a few shared
//!   connections carry the commands of all permits. One socket per operation would cost three times as much
//!   (see `docs/adr/0002-permits-are-not-sockets.md`).
//! - **Deadlines.** An operation waits for a permit at most [`PoolConfig::wait`] and then fails with
//!   [`PoolError::Overloaded`]. Once it has a permit, one deadline, [`PoolConfig::command_timeout`], covers
//!   connecting, sending and reading the reply.
//! - **Cancellation.** A permit is held until the reply has been read or the connection is closed, even if
//!   the caller was cancelled. So every command in flight is counted. A connection that owes a reply for too
//!   long is closed.
//! - **Circuit breaker.** Every pool has its own.
//!
//! Failures are typed: see [`PoolError`].

mod config;
mod connections;
mod down;
mod error;
mod in_flight;
mod metrics;
mod operation;
mod permit;
mod pool;
mod script;
mod server;
mod span;
mod tls;
mod url;
mod waiting;
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

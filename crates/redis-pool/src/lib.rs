//! Access to Redis that says "too busy" before anything piles up.
//!
//! A **slot** bounds how many operations are under way at once; it is not a socket. A few shared connections carry
//! the bytes of all slots (one socket per operation costs three times as much, see `docs/adr/0002-slots-are-not-sockets.md`).
//! An operation waits for a slot at most [`Config::wait`], then it is [`Error::Overloaded`]; once it has one, a single
//! deadline, [`Config::command_timeout`], covers connecting, sending and the reply. A slot is held until the reply has been
//! read or the connection is closed, even when its caller has left: what is in the pipe is always counted. A connection
//! that owes a reply for too long is closed.
//!
//! Every pool has a circuit breaker of its own. Failures are types, not texts: see [`Error`].

mod config;
mod connections;
mod error;
mod in_flight;
mod metrics;
mod pool;
mod script;
mod slot;
mod tls;
mod url;

pub use config::{Config, OPEN_FOR, Stats};
pub use error::{Error, Reason};
pub use metrics::PoolMetrics;
pub use pool::RedisPool;
pub use script::{Invocation, Script};
pub use slot::Slot;
pub use tls::{TlsCertificates, TlsError};
pub use url::{RedisUrl, UrlError};

pub use circuit_breaker::State as BreakerState;

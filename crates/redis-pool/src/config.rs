//! The configuration of a pool, and its state at one moment.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::url::RedisUrl;

/// The configuration of a pool. Every limit is required.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The name of the pool in logs and in the metric label `pool`.
    pub name: &'static str,
    /// The address of Redis.
    pub url: RedisUrl,
    /// The number of operations that may run at the same time.
    pub permits: NonZeroUsize,
    /// The number of shared connections. Two are enough for one Redis thread.
    pub connections: NonZeroUsize,
    /// The longest wait for a permit.
    pub wait: Duration,
    /// The deadline for connecting, sending and reading the reply together.
    pub command_timeout: Duration,
    /// How long the breaker stays open, before jitter. [`OPEN_FOR`], unless a recovery must be noticed
    /// sooner.
    pub open_for: Duration,
}

/// How long a breaker stays open by the public contract (docs/contract.md §7).
pub const OPEN_FOR: Duration = Duration::from_secs(10);

/// The state of a pool at one moment.
#[derive(Debug, Clone)]
pub struct PoolStats {
    /// Configured permits.
    pub permits: usize,
    /// Acquired permits, including those of cancelled callers.
    pub permits_in_use: usize,
    /// Callers waiting for a permit.
    pub waiting: usize,
    /// Operations rejected so far because no permit came free in time.
    pub exhausted: u64,
    /// Connections that are up.
    pub connected: usize,
    /// Connections that get no new commands and close after the replies that they owe.
    pub draining: usize,
    /// Why a connection is down, if one is.
    pub last_error: Option<String>,
    /// The breaker's state.
    pub breaker: circuit_breaker::BreakerState,
    /// The error code with which Redis rejects writes, if it does: see [`crate::RedisPool::watch_writes`].
    pub refuses_writes: Option<&'static str>,
}

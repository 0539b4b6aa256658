//! How a pool is set up, and its condition at one moment.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::url::RedisUrl;

/// How a pool behaves. Every limit is required.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// For logs and the label `pool` of metrics.
    pub name: &'static str,
    /// Which Redis.
    pub url: RedisUrl,
    /// Operations under way at once.
    pub permits: NonZeroUsize,
    /// Shared connections that carry them; two are enough for one Redis thread.
    pub connections: NonZeroUsize,
    /// The longest wait for a permit.
    pub wait: Duration,
    /// Connecting, sending and the reply together.
    pub command_timeout: Duration,
    /// How long its breaker stays open at a time, before jitter: [`OPEN_FOR`], unless something has to be heard sooner.
    pub open_for: Duration,
}

/// How long a breaker stays open, by the public contract (docs/contract.md §7).
pub const OPEN_FOR: Duration = Duration::from_secs(10);

/// A pool's condition at one moment.
#[derive(Debug, Clone)]
pub struct PoolStats {
    /// Configured permits.
    pub permits: usize,
    /// Permits taken, those of callers that left included.
    pub permits_in_use: usize,
    /// Callers waiting for a permit.
    pub waiting: usize,
    /// Operations refused so far because no permit came free.
    pub exhausted: u64,
    /// Connections that are up.
    pub connected: usize,
    /// Why a connection is down, if one is.
    pub last_error: Option<String>,
    /// The breaker's state.
    pub breaker: crate::BreakerState,
    /// The code with which Redis refuses writes, if it does: see [`crate::RedisPool::watch_writes`].
    pub refuses_writes: Option<&'static str>,
}

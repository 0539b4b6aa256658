//! The public interface of the pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use deadpool::managed::Object;
use redis::{Cmd, Value};
use tracing::{Instrument, Span};

use crate::config::{PoolConfig, PoolStats};
use crate::error::PoolError;
use crate::metrics::PoolMetrics;
use crate::operation::{PoolInner, keep_probing, rejected};
use crate::permit::{Held, PoolPermit};
use crate::span;

/// Bounded access to one Redis behind a circuit breaker. Cheap to clone: all clones share the permits.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use ambient::SystemClock;
/// use redis_pool::{OPEN_FOR, PoolConfig, PoolMetrics, RedisPool, Script};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = test_support::RedisServer::start().await;
/// # let url = server.url();
/// let config = PoolConfig {
///     name: "example",
///     url: url.parse()?,
///     permits: NonZeroUsize::new(100).ok_or("not zero")?,
///     connections: NonZeroUsize::new(2).ok_or("not zero")?,
///     wait: Duration::from_secs(20),
///     command_timeout: Duration::from_secs(20),
///     open_for: OPEN_FOR,
/// };
/// let pool = RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default());
///
/// let script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
/// let sum: i64 = script.invoke().key("sum").arg(2).run(&pool).await?;
/// assert_eq!(sum, 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisPool {
    inner: Arc<PoolInner>,
    /// The connection that the commands of this handle prefer. `None`: all connections in turn.
    preferred: Option<usize>,
}

impl RedisPool {
    /// Creates a pool and starts to connect. If Redis is unreachable, operations fail, not this call.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: PoolConfig, clock: Arc<dyn Clock>, metrics: &PoolMetrics) -> Self {
        let inner = PoolInner::start(config, clock, metrics);
        Self { inner, preferred: None }
    }

    /// Returns a handle to the same pool whose commands prefer the same connection. While that connection is
    /// up, Redis usually reads the commands in the order in which they were first polled. The order is not
    /// guaranteed, because a command may wait for a permit or a connection.
    #[must_use]
    pub fn in_order(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), preferred: Some(0) }
    }

    /// Starts to watch whether Redis accepts writes.
    ///
    /// The pool then tries a write periodically. It counts rejected writes for the breaker even if reads
    /// succeed. After a rejected write, a half-open breaker probes with a write. The probe writes and deletes
    /// `keys`: a string and, if the pool writes more than strings, a list, a hash and a sorted set.
    pub fn watch_writes(&self, keys: &'static [&'static str]) {
        if self.inner.writes.watch(keys) {
            tokio::spawn(keep_probing(Arc::downgrade(&self.inner)));
        }
    }

    /// Sends one command and reads its reply within the command timeout.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn command(&self, cmd: Cmd) -> Result<Value, PoolError> {
        self.command_within(cmd, self.inner.config.command_timeout).await
    }

    /// Sends one command and reads its reply within `within`, which starts when the caller has a permit.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn command_within(&self, cmd: Cmd, within: Duration) -> Result<Value, PoolError> {
        let span = match spans::is_sampled() {
            true => span::of_call(self.name(), &span::name_of(&cmd), None),
            false => Span::none(),
        };
        let result = self.untraced(cmd, within).instrument(span.clone()).await;
        span::record(&span, &result);
        result
    }

    async fn untraced(&self, cmd: Cmd, within: Duration) -> Result<Value, PoolError> {
        let breaker_permit = self.inner.ask_breaker()?;
        let started = self.inner.clock.monotonic();
        let permit = match self.inner.permit(within).await {
            Ok(permit) => permit,
            Err(error) => return self.inner.judge(breaker_permit, started, Err(error.into())),
        };
        // Connecting counts towards the deadline.
        let left = if Object::metrics(&permit).recycle_count == 0 {
            within.saturating_sub(self.inner.clock.monotonic().saturating_sub(started))
        } else {
            within
        };
        let handle = permit.clone();
        self.inner.carry(breaker_permit, cmd, handle, permit, left, self.preferred).await
    }

    /// Checks whether the breaker lets an operation pass, before other work is done for it.
    ///
    /// # Errors
    /// [`PoolError::Unavailable`] with the time until the breaker lets the next probe pass.
    pub fn check_breaker(&self) -> Result<(), PoolError> {
        self.inner.breaker.check(self.inner.clock.monotonic()).map_err(rejected)
    }

    /// Acquires a permit for [`Self::command_with_permit`]. Waits at most [`PoolConfig::wait`], and not at
    /// all while the breaker is open.
    ///
    /// # Errors
    /// [`PoolError::Overloaded`], or as [`Self::check_breaker`].
    pub async fn permit(&self) -> Result<PoolPermit, PoolError> {
        self.check_breaker()?;
        let permit = self.inner.permit(self.inner.config.command_timeout).await;
        let first = permit.inspect_err(|error| self.inner.note_failure(error))?;
        Ok(PoolPermit(Arc::new(Held { first, joined: Vec::new(), pool: self.inner.identity() })))
    }

    /// Sends one command with a permit that the caller holds, and reads its reply within `within`. The permit
    /// is held until the reply has been read or the connection is closed, and until `permit` is dropped.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn command_with_permit(
        &self,
        cmd: Cmd,
        permit: &PoolPermit,
        within: Duration,
    ) -> Result<Value, PoolError> {
        let breaker_permit = self.inner.ask_breaker()?;
        let handle = permit.0.first.clone();
        self.inner.carry(breaker_permit, cmd, handle, Arc::clone(&permit.0), within, self.preferred).await
    }

    /// Returns whether `permit` belongs to this pool.
    #[must_use]
    pub fn owns(&self, permit: &PoolPermit) -> bool {
        permit.0.pool == self.inner.identity()
    }

    /// Returns the state of the pool at this moment.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.inner.stats()
    }

    /// Returns [`PoolConfig::name`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.inner.config.name
    }

    /// Returns [`PoolConfig::command_timeout`].
    #[must_use]
    pub fn command_timeout(&self) -> Duration {
        self.inner.config.command_timeout
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPool").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

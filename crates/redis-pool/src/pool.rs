//! The pool as its callers see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use deadpool::managed::Object;
use redis::{Cmd, Value};

use crate::config::{PoolConfig, PoolStats};
use crate::error::PoolError;
use crate::metrics::PoolMetrics;
use crate::operation::{PoolInner, keep_probing, rejected};
use crate::permit::{Held, PoolPermit};

/// A bounded, breaker-guarded way to one Redis. Cheap to clone; all clones share the permits.
#[derive(Clone)]
pub struct RedisPool {
    inner: Arc<PoolInner>,
    /// The connection that this handle's commands prefer; none: each in turn.
    link: Option<usize>,
}

impl RedisPool {
    /// Makes a pool and starts to connect. It does not fail when Redis is not there: operations then say so.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: PoolConfig, clock: Arc<dyn Clock>, metrics: &PoolMetrics) -> Self {
        let inner = PoolInner::start(config, clock, metrics);
        Self { inner, link: None }
    }

    /// A handle to the same pool whose commands share one connection while it is up, so that Redis reads them in the order in
    /// which they were first polled. That is a preference and no promise: a permit or the connection may have to be waited for.
    #[must_use]
    pub fn in_order(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), link: Some(0) }
    }

    /// Watches from now on whether Redis takes writes: tries one again and again, counts refused ones for the breaker whatever reads
    /// do meanwhile, and lets a half-open breaker probe with a write after some were refused. `keys` are written and deleted: a text,
    /// and where the pool writes more than texts a list, a hash and a sorted set.
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

    /// Sends one command and reads its reply within `within`, counted from when a permit is free.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn command_within(&self, cmd: Cmd, within: Duration) -> Result<Value, PoolError> {
        let breaker_permit = self.inner.ask_breaker()?;
        let started = self.inner.clock.monotonic();
        let permit = match self.inner.permit(within).await {
            Ok(permit) => permit,
            Err(error) => return self.inner.judge(breaker_permit, started, Err(error.into())),
        };
        // What connecting took is part of the deadline.
        let left = if Object::metrics(&permit).recycle_count == 0 {
            within.saturating_sub(self.inner.clock.monotonic().saturating_sub(started))
        } else {
            within
        };
        let handle = permit.clone();
        self.inner.carry(breaker_permit, cmd, handle, permit, left, self.link).await
    }

    /// Whether Redis is asked at all at present: an open breaker says no. For whoever has something to do first.
    ///
    /// # Errors
    /// [`PoolError::Unavailable`] with the time until the breaker lets something through again.
    pub fn check_breaker(&self) -> Result<(), PoolError> {
        self.inner.breaker.check(self.inner.clock.monotonic()).map_err(rejected)
    }

    /// Takes a permit, to be used with [`Self::command_with_permit`]; waits for it as any command does, and not at all while the
    /// breaker is open.
    ///
    /// # Errors
    /// [`PoolError::Overloaded`], or as [`Self::check_breaker`].
    pub async fn permit(&self) -> Result<PoolPermit, PoolError> {
        self.check_breaker()?;
        let permit = self.inner.permit(self.inner.config.command_timeout).await;
        let first = permit.inspect_err(|error| self.inner.note_failure(error))?;
        Ok(PoolPermit(Arc::new(Held { first, joined: Vec::new(), pool: self.inner.identity() })))
    }

    /// Sends one command on behalf of all who took the joined `permit`, and reads its reply within `within`. The permits are
    /// held as any other: until the reply has been read or the connection closed, and as long as `permit` lives.
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
        self.inner.carry(breaker_permit, cmd, handle, Arc::clone(&permit.0), within, self.link).await
    }

    /// Whether `permit` is one of this pool's.
    #[must_use]
    pub fn owns(&self, permit: &PoolPermit) -> bool {
        permit.0.pool == self.inner.identity()
    }

    /// The condition at this moment.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.inner.stats()
    }

    /// The name given in [`PoolConfig::name`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.inner.config.name
    }

    /// The deadline of one operation.
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

//! The pool: permits, the deadline of an operation, and its outcome for the circuit breaker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ambient::{Clock, entropy};
use circuit_breaker::{Breaker, Permit, Transitions};
use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType, Timeouts};
use prometheus_client::metrics::histogram::Histogram;
use redis::{Cmd, RedisError, Value};

use crate::config::{Config, Stats};
use crate::connections::{Connections, Handle, HandleManager, Objects};
use crate::error::{Error, Reason};
use crate::in_flight::InFlight;
use crate::metrics::PoolMetrics;
use crate::permit::{Held, PoolPermit};

/// Callers that may queue for each permit; one more is refused at once.
const WAITERS_PER_PERMIT: usize = 32;
/// How long a connection may owe a reply after its caller gave up, in command timeouts (and no less than [`MIN_DRAIN_TIMEOUT`]).
const DRAIN_TIMEOUTS: u32 = 4;
const MIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// What `retry_after` says where nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// A bounded, breaker-guarded way to one Redis. Cheap to clone; all clones share the permits.
#[derive(Clone)]
pub struct RedisPool {
    inner: Arc<Inner>,
    /// The connection that this handle's commands prefer; none: each in turn.
    link: Option<usize>,
}

pub(crate) struct Inner {
    config: Config,
    clock: Arc<dyn Clock>,
    objects: Objects,
    waiting: AtomicUsize,
    exhausted: AtomicU64,
    breaker: Breaker,
    durations: Histogram,
}

impl RedisPool {
    /// Makes a pool and starts to connect. It does not fail when Redis is not there: operations then say so.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>, metrics: &PoolMetrics) -> Self {
        let connections = Connections::start(
            config.name,
            config.url.clone(),
            config.command_timeout.max(MIN_DRAIN_TIMEOUT),
            config.permits.get(),
            config.connections.get(),
        );
        let objects = Objects::builder(HandleManager(connections))
            .max_size(config.permits.get())
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts has a runtime");
        let breaker = circuit_breaker::Config {
            open_for: config.open_for,
            ..circuit_breaker::Config::new(config.command_timeout * 2)
        };
        let inner = Arc::new(Inner {
            objects,
            waiting: AtomicUsize::new(0),
            exhausted: AtomicU64::new(0),
            breaker: Breaker::new(breaker, entropy::random_u64()),
            durations: metrics.durations_of(config.name),
            config,
            clock,
        });
        metrics.watch(&inner);
        Self { inner, link: None }
    }

    /// A handle to the same pool whose commands share one connection while it is up, so that Redis reads them in the order in
    /// which they were first polled. That is a preference and no promise: a permit or the connection may have to be waited for.
    #[must_use]
    pub fn in_order(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), link: Some(0) }
    }

    /// Sends one command and reads its reply within the command timeout.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command(&self, cmd: Cmd) -> Result<Value, Error> {
        self.command_within(cmd, self.inner.config.command_timeout).await
    }

    /// Sends one command and reads its reply within `within`, counted from when a permit is free.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command_within(&self, cmd: Cmd, within: Duration) -> Result<Value, Error> {
        let breaker_permit = self.inner.ask_breaker()?;
        let started = self.inner.clock.monotonic();
        let permit = match self.inner.permit(within).await {
            Ok(permit) => permit,
            Err(error) => return self.inner.judge(breaker_permit, started, Err(error)),
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
    /// [`Error::Unavailable`] with the time until the breaker lets something through again.
    pub fn check_breaker(&self) -> Result<(), Error> {
        self.inner.breaker.check(self.inner.clock.monotonic()).map_err(rejected)
    }

    /// Takes a permit, to be used with [`Self::command_with_permit`]; waits for it as any command does, and not at all while the
    /// breaker is open.
    ///
    /// # Errors
    /// [`Error::Overloaded`], or as [`Self::check_breaker`].
    pub async fn permit(&self) -> Result<PoolPermit, Error> {
        self.check_breaker()?;
        let permit = self.inner.permit(self.inner.config.command_timeout).await;
        let first = permit.inspect_err(|error| self.inner.note_failure(error))?;
        Ok(PoolPermit(Arc::new(Held { first, joined: Vec::new(), pool: self.inner.identity() })))
    }

    /// Sends one command on behalf of all who took the joined `permit`, and reads its reply within `within`. The permits are
    /// held as any other: until the reply has been read or the connection closed, and as long as `permit` lives.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command_with_permit(
        &self,
        cmd: Cmd,
        permit: &PoolPermit,
        within: Duration,
    ) -> Result<Value, Error> {
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
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The name given in [`Config::name`].
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

impl Inner {
    pub(crate) fn name(&self) -> &'static str {
        self.config.name
    }

    pub(crate) fn breaker_transitions(&self) -> Transitions {
        self.breaker.transitions()
    }

    /// Tells this pool from others of the process.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn connections(&self) -> &Arc<Connections> {
        &self.objects.manager().0
    }

    pub(crate) fn stats(&self) -> Stats {
        let (status, connections) = (self.objects.status(), self.connections());
        Stats {
            permits: status.max_size,
            permits_in_use: status.size - status.available,
            waiting: self.waiting.load(Ordering::Relaxed),
            exhausted: self.exhausted.load(Ordering::Relaxed),
            connected: connections.connected(),
            last_error: connections.last_error().map(|why| why.to_string()),
            breaker: self.breaker.state(),
        }
    }

    fn ask_breaker(&self) -> Result<Permit<'_>, Error> {
        self.breaker.try_acquire(self.clock.monotonic()).map_err(rejected)
    }

    async fn carry<S: Send + Unpin + 'static>(
        &self,
        breaker_permit: Permit<'_>,
        cmd: Cmd,
        handle: Handle,
        permit: S,
        within: Duration,
        link: Option<usize>,
    ) -> Result<Value, Error> {
        let started = self.clock.monotonic();
        let outcome = self.exchange(cmd, handle, permit, within, link).await;
        self.judge(breaker_permit, started, outcome)
    }

    /// Counts an outcome, and tells the breaker.
    fn judge(
        &self,
        breaker_permit: Permit<'_>,
        started: Duration,
        outcome: Result<Value, Error>,
    ) -> Result<Value, Error> {
        let now = self.clock.monotonic();
        match &outcome {
            // Running out of permits tells nothing of Redis.
            Err(Error::Overloaded { .. }) => return outcome,
            Err(error) if error.is_redis_failing() => breaker_permit.failure(now),
            // What counts is what becomes of it with the source.
            Err(error) if error.is_unknown_script() => drop(breaker_permit),
            _ => breaker_permit.success(now),
        }
        self.durations.observe(now.saturating_sub(started).as_secs_f64());
        outcome
    }

    /// Tells the breaker of a connection that could not be had for a permit.
    fn note_failure(&self, error: &Error) {
        if error.is_redis_failing()
            && let Ok(breaker_permit) = self.ask_breaker()
        {
            breaker_permit.failure(self.clock.monotonic());
        }
    }

    /// A permit with a handle on a connection: at most the configured wait for the permit, and `within` for a connection.
    async fn permit(&self, within: Duration) -> Result<Object<HandleManager>, Error> {
        let timeouts = |wait| Timeouts { wait: Some(wait), create: Some(within), recycle: None };
        match self.objects.timeout_get(&timeouts(Duration::ZERO)).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => {}
            other => return other.map_err(|error| self.no_permit(&error, within)),
        }
        let queue =
            Waiting::join(&self.waiting, self.config.permits.get().saturating_mul(WAITERS_PER_PERMIT));
        let Some(_queued) = queue else {
            return Err(self.overloaded(Duration::ZERO));
        };
        let permit = self.objects.timeout_get(&timeouts(self.config.wait)).await;
        permit.map_err(|error| self.no_permit(&error, within))
    }

    fn no_permit(&self, error: &PoolError<crate::connections::NotConnected>, within: Duration) -> Error {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => self.overloaded(self.config.wait),
            _ => self.not_connected(within),
        }
    }

    fn not_connected(&self, within: Duration) -> Error {
        let last_error = self.connections().last_error();
        let why =
            last_error.map_or_else(|| format!("within {} ms", within.as_millis()), |why| why.to_string());
        unavailable(Reason::NotConnected(why))
    }

    fn overloaded(&self, waited: Duration) -> Error {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        Error::Overloaded { waited }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline of tokio's own timers, which a test's paused time moves too"
    )]
    async fn exchange<S: Send + Unpin + 'static>(
        &self,
        cmd: Cmd,
        handle: Handle,
        permit: S,
        within: Duration,
        link: Option<usize>,
    ) -> Result<Value, Error> {
        let deadline = tokio::time::Instant::now() + within;
        let preferred = link.and_then(|link| self.connections().live(link));
        let handle = match preferred.unwrap_or(handle) {
            live if live.is_live() => live,
            _ => {
                let live = self.connections().wait_for_live(link.unwrap_or_default());
                let live = tokio::time::timeout_at(deadline, live).await;
                live.map_err(|_| self.not_connected(within))?
            }
        };
        let drain_timeout = (self.config.command_timeout * DRAIN_TIMEOUTS).max(MIN_DRAIN_TIMEOUT);
        let in_flight = InFlight::send(handle, self.objects.clone(), cmd, permit, drain_timeout);
        let reply = tokio::time::timeout_at(deadline, in_flight)
            .await
            .map_err(|_| unavailable(Reason::Timeout(within)))?;
        reply.and_then(Value::extract_error).map_err(|error| classify(&error))
    }
}

/// A place in the queue for permits; leaving it is counted on every path.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(waiting: &'a AtomicUsize, bound: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < bound).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn rejected(rejected: circuit_breaker::Rejected) -> Error {
    Error::Unavailable { reason: Reason::BreakerOpen, retry_after: rejected.retry_after }
}

fn unavailable(reason: Reason) -> Error {
    Error::Unavailable { reason, retry_after: RETRY_SOON }
}

fn classify(error: &RedisError) -> Error {
    match error.code() {
        Some(code) => Error::from_server(code, error.detail().unwrap_or_default(), RETRY_SOON),
        None if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() => {
            unavailable(Reason::Broken(error.to_string()))
        }
        None => Error::Reply { what: error.to_string() },
    }
}

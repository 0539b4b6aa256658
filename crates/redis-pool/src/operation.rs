//! One operation: its permit, its connection, its deadline, and what its outcome reports to the circuit
//! breaker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ambient::{Clock, entropy};
use circuit_breaker::{Breaker, Permit, Transitions};
use deadpool::Runtime;
use deadpool::managed::{self, Object, TimeoutType, Timeouts};
use prometheus_client::metrics::histogram::Histogram;
use redis::{Cmd, RedisError, Value};

use crate::config::{PoolConfig, PoolStats};
use crate::connections::{Handle, HandleManager, Objects, SharedConnections, retire};
use crate::down::Down;
use crate::error::{PoolError, UnavailableReason};
use crate::in_flight::InFlight;
use crate::metrics::{ErrorCounts, ObservedPool, PoolMetrics};
use crate::server::CurrentServer;
use crate::waiting::Waiting;
use crate::writes::{self, Writes};

/// How many callers may wait per permit. Further callers are rejected at once.
const WAITERS_PER_PERMIT: usize = 32;
/// How long a connection may owe a reply after its caller gave up, in command timeouts. At least
/// [`MIN_DRAIN_TIMEOUT`].
const DRAIN_TIMEOUTS: u32 = 4;
const MIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// The `retry_after` of an error whose end is not known.
const RETRY_SOON: Duration = Duration::from_secs(1);

pub(crate) struct PoolInner {
    pub(crate) config: PoolConfig,
    pub(crate) clock: Arc<dyn Clock>,
    objects: Objects,
    waiting: AtomicUsize,
    exhausted: AtomicU64,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) writes: Arc<Writes>,
    current: Arc<CurrentServer>,
    durations: Histogram,
    errors: ErrorCounts,
}

/// A command that failed.
pub(crate) struct Failed {
    error: PoolError,
    /// Whether its connection led to a replaced server. Then the failure says nothing about the current
    /// server.
    by_former_server: bool,
}

impl From<PoolError> for Failed {
    fn from(error: PoolError) -> Self {
        Self { error, by_former_server: false }
    }
}

impl PoolInner {
    /// Creates the state of a pool and starts to connect. Must be called inside a tokio runtime.
    pub(crate) fn start(config: PoolConfig, clock: Arc<dyn Clock>, metrics: &PoolMetrics) -> Arc<Self> {
        let breaker = circuit_breaker::BreakerConfig {
            open_for: config.open_for,
            ..circuit_breaker::BreakerConfig::new(config.command_timeout * 2)
        };
        let breaker = Arc::new(Breaker::new(breaker, entropy::random_u64()));
        let writes = Arc::new(Writes::new(config.name));
        let current =
            CurrentServer::new(config.name, Arc::clone(&clock), Arc::clone(&breaker), Arc::clone(&writes));
        let current = Arc::new(current);
        let connections = SharedConnections::start(
            config.name,
            config.url.clone(),
            config.command_timeout.max(MIN_DRAIN_TIMEOUT),
            config.permits.get(),
            config.connections.get(),
            Arc::clone(&current),
        );
        let objects = Objects::builder(HandleManager(connections))
            .max_size(config.permits.get())
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts has a runtime");
        let inner = Arc::new(Self {
            objects,
            waiting: AtomicUsize::new(0),
            exhausted: AtomicU64::new(0),
            breaker,
            writes,
            current,
            durations: metrics.durations_of(config.name),
            errors: metrics.errors_of(config.name),
            config,
            clock,
        });
        let observed: Weak<dyn ObservedPool> = Arc::<Self>::downgrade(&inner);
        metrics.watch(observed);
        inner
    }

    /// Identifies this pool within the process.
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn connections(&self) -> &Arc<SharedConnections> {
        &self.objects.manager().0
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let (status, connections) = (self.objects.status(), self.connections());
        PoolStats {
            permits: status.max_size,
            permits_in_use: status.size - status.available,
            waiting: self.waiting.load(Ordering::Relaxed),
            exhausted: self.exhausted.load(Ordering::Relaxed),
            connected: connections.connected(),
            draining: connections.draining(),
            last_error: connections.down().map(|down| down.why.to_string()),
            breaker: self.breaker.state(),
            refuses_writes: self.writes.refused_with(),
        }
    }

    pub(crate) fn ask_breaker(&self) -> Result<Permit<'_>, PoolError> {
        self.breaker.try_acquire(self.clock.monotonic()).map_err(rejected)
    }

    /// Sends a command on behalf of the holder of `permit`, and reports the outcome to the breaker.
    pub(crate) async fn carry<S: Send + Unpin + 'static>(
        &self,
        breaker_permit: Permit<'_>,
        cmd: Cmd,
        handle: Handle,
        permit: S,
        within: Duration,
        preferred: Option<usize>,
    ) -> Result<Value, PoolError> {
        let started = self.clock.monotonic();
        if breaker_permit.is_probe()
            && self.writes.refused_with().is_some()
            && let Err(failed) = self.try_write(handle.clone(), within).await
        {
            // Redis rejected writes before. The command itself may be a read, whose success would prove
            // nothing.
            return Err(self.failed(breaker_permit, failed));
        }
        let left = within.saturating_sub(self.clock.monotonic().saturating_sub(started));
        let outcome = self.exchange(cmd, handle, permit, left, preferred).await;
        self.judge(breaker_permit, started, outcome)
    }

    /// Tries a write, if the breaker lets it pass.
    async fn probe_writes(&self) {
        let Ok(breaker_permit) = self.ask_breaker() else { return };
        let within = self.config.command_timeout;
        let live = tokio::time::timeout(within, self.connections().wait_for_live(0)).await;
        let tried = match live {
            Ok(handle) => self.try_write(handle, within).await,
            Err(_) => Err(self.not_connected(within).into()),
        };
        match tried {
            Ok(()) => breaker_permit.success(self.clock.monotonic()),
            Err(failed) => drop(self.failed(breaker_permit, failed)),
        }
        // Idle handles would keep retired connections open.
        self.objects.retain(|idle, _| idle.is_live());
    }

    /// Sends a write that shows whether Redis accepts writes.
    async fn try_write(&self, handle: Handle, within: Duration) -> Result<(), Failed> {
        let Some(probe) = self.writes.probe() else { return Ok(()) };
        self.exchange(probe.cmd, handle, (), within, None).await?;
        self.current.answered(self.clock.monotonic());
        self.writes.succeeded(probe.is_whole);
        Ok(())
    }

    /// Counts an outcome and reports it to the breaker.
    pub(crate) fn judge(
        &self,
        breaker_permit: Permit<'_>,
        started: Duration,
        outcome: Result<Value, Failed>,
    ) -> Result<Value, PoolError> {
        if let Err(Failed { error: error @ PoolError::Overloaded { .. }, .. }) = outcome {
            // A lack of permits says nothing about Redis.
            return Err(error);
        }
        let now = self.clock.monotonic();
        self.durations.observe(now.saturating_sub(started).as_secs_f64());
        match outcome {
            Ok(reply) => {
                breaker_permit.success(now);
                Ok(reply)
            }
            Err(failed) => Err(self.failed(breaker_permit, failed)),
        }
    }

    /// Counts a failure and reports it to the breaker and the write state.
    #[cold]
    fn failed(&self, breaker_permit: Permit<'_>, Failed { error, by_former_server }: Failed) -> PoolError {
        // The call is repeated with the source of the script, and that outcome counts.
        if error.is_unknown_script() {
            return error;
        }
        self.errors.count(error.label());
        let now = self.clock.monotonic();
        if by_former_server {
            return error;
        }
        if let Some(code) = error.refused_write() {
            breaker_permit.failure(now);
            if self.writes.refused(code) {
                self.breaker.trip(now);
            }
        } else if error.is_redis_failing() {
            breaker_permit.failure(now);
        } else {
            breaker_permit.success(now);
        }
        error
    }

    /// Reports to the breaker that no connection came up for a permit.
    pub(crate) fn note_failure(&self, error: &PoolError) {
        if error.is_redis_failing()
            && let Ok(breaker_permit) = self.ask_breaker()
        {
            drop(self.failed(breaker_permit, error.clone().into()));
        }
    }

    /// Returns a permit with a handle on a connection. Waits at most [`PoolConfig::wait`] for the permit and
    /// `within` for a connection.
    pub(crate) async fn permit(&self, within: Duration) -> Result<Object<HandleManager>, PoolError> {
        let timeouts = |wait| Timeouts { wait: Some(wait), create: Some(within), recycle: None };
        match self.objects.timeout_get(&timeouts(Duration::ZERO)).await {
            Err(managed::PoolError::Timeout(TimeoutType::Wait)) => {}
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

    fn no_permit(
        &self,
        error: &managed::PoolError<crate::connections::NotConnected>,
        within: Duration,
    ) -> PoolError {
        match error {
            managed::PoolError::Timeout(TimeoutType::Wait) => self.overloaded(self.config.wait),
            _ => self.not_connected(within),
        }
    }

    fn not_connected(&self, within: Duration) -> PoolError {
        let Some(down) = self.connections().down() else {
            return unavailable(UnavailableReason::NotConnected(format!("within {} ms", within.as_millis())));
        };
        unavailable(down.code().map_or_else(
            || UnavailableReason::NotConnected(down.why.to_string()),
            UnavailableReason::Refusing,
        ))
    }

    fn overloaded(&self, waited: Duration) -> PoolError {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        PoolError::Overloaded { waited }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline for tokio's timers, so that a test can pause it"
    )]
    async fn exchange<S: Send + Unpin + 'static>(
        &self,
        cmd: Cmd,
        handle: Handle,
        permit: S,
        within: Duration,
        preferred: Option<usize>,
    ) -> Result<Value, Failed> {
        let deadline = tokio::time::Instant::now() + within;
        let connected = preferred.and_then(|preferred| self.connections().live(preferred));
        let handle = match connected.unwrap_or(handle) {
            live if live.is_live() => live,
            _ => {
                let live = self.connections().wait_for_live(preferred.unwrap_or_default());
                let live = tokio::time::timeout_at(deadline, live).await;
                live.map_err(|_| self.not_connected(within))?
            }
        };
        let drain_timeout = (self.config.command_timeout * DRAIN_TIMEOUTS).max(MIN_DRAIN_TIMEOUT);
        let may_be_forbidden = asks_for_settings(&cmd);
        let mut in_flight = InFlight::send(handle, self.objects.clone(), cmd, permit, drain_timeout);
        let reply = tokio::time::timeout_at(deadline, &mut in_flight).await;
        let error = match reply.map(|reply| reply.and_then(Value::extract_error)) {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => classify(&error, may_be_forbidden),
            Err(_) => unavailable(UnavailableReason::Timeout(within)),
        };
        let server = in_flight.handle().server.clone();
        if let Some(code) = error.not_the_primary() {
            retire(&self.objects, in_flight.handle(), Down::refused(code));
        }
        let by_former_server = self.current.is_former(server.as_ref());
        if error.refused_write().is_some() && !by_former_server {
            self.current.answered(self.clock.monotonic());
        }
        Err(Failed { error, by_former_server })
    }
}

impl ObservedPool for PoolInner {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn stats(&self) -> PoolStats {
        Self::stats(self)
    }

    fn breaker_transitions(&self) -> Transitions {
        self.breaker.transitions()
    }
}

/// Tries a write periodically, for as long as the pool exists.
pub(crate) async fn keep_probing(pool: Weak<PoolInner>) {
    loop {
        let Some(inner) = pool.upgrade() else { return };
        let calm = inner.writes.refused_with().is_none()
            && inner.breaker.state() == circuit_breaker::BreakerState::Closed;
        let writes = Arc::clone(&inner.writes);
        drop(inner);
        let pause = if calm { writes::PROBE_EVERY.0 } else { writes::PROBE_EVERY.1 };
        let pause = tokio::time::sleep(entropy::jittered(pause, writes::PROBE_JITTER));
        if calm {
            tokio::select! {
                () = pause => {}
                () = writes.first_refusal() => continue,
            }
        } else {
            pause.await;
        }
        let Some(inner) = pool.upgrade() else { return };
        inner.probe_writes().await;
    }
}

/// Returns whether the command reads settings. The user may lack the right to, which says nothing about
/// Redis.
fn asks_for_settings(cmd: &Cmd) -> bool {
    matches!(cmd.args_iter().next(), Some(redis::Arg::Simple(b"CONFIG")))
}

pub(crate) fn rejected(rejected: circuit_breaker::Rejected) -> PoolError {
    PoolError::Unavailable { reason: UnavailableReason::BreakerOpen, retry_after: rejected.retry_after }
}

fn unavailable(reason: UnavailableReason) -> PoolError {
    PoolError::Unavailable { reason, retry_after: RETRY_SOON }
}

fn classify(error: &RedisError, may_be_forbidden: bool) -> PoolError {
    match error.code() {
        Some("NOPERM") if may_be_forbidden => PoolError::Server {
            code: "NOPERM".to_owned(),
            message: error.detail().unwrap_or_default().to_owned(),
        },
        Some(code) => PoolError::from_server(code, error.detail().unwrap_or_default(), RETRY_SOON),
        None if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() => {
            unavailable(UnavailableReason::Broken(error.to_string()))
        }
        None => PoolError::Reply { what: error.to_string() },
    }
}

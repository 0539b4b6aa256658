//! The handle to the process's appender.
//!
//! The caller's side makes the bytes and hashes them; the task behind the handle only chains
//! ([`crate::append::worker`]).

use crate::append::appended::Appended;
use crate::append::config::AppenderConfig;
use crate::append::entry::PreparedEntry;
use crate::append::metrics::AuditMetrics;
use crate::append::queue::PendingAppend;
use crate::append::script::MAX_ENTRIES;
use crate::append::worker::Worker;
use crate::effect::{Effect, EffectError};
use crate::error::{AppendError, AppendFault};
use crate::event::Event;
use crate::read::log::AuditLog;
use ambient::Clock;
use redis_pool::RedisPool;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// A handle to the process's appender. Cheap to clone. The task ends once all handles are dropped and every
/// event is answered.
///
/// An acknowledged event is in the chain together with its effect. An event that is not acknowledged was not
/// written, unless the error says that this is unknown.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use ambient::{Clock, SystemClock};
/// use audit_chain::{AppendError, Appender, AppenderConfig, AuditMetrics};
/// use audit_chain::{Details, Effect, Event, NewEvent, Precondition, RedisWrite};
/// use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = test_support::RedisServer::start().await;
/// let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
/// let config = PoolConfig {
///     name: "durable",
///     url: redis.url().parse()?,
///     permits: NonZeroUsize::new(16).unwrap(),
///     connections: NonZeroUsize::MIN,
///     wait: Duration::from_secs(5),
///     command_timeout: Duration::from_secs(5),
///     open_for: redis_pool::OPEN_FOR,
/// };
/// let pool = RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default());
/// let config = AppenderConfig::new("example.com/audit", Vec::new());
/// let appender = Appender::start(pool, config, Arc::clone(&clock), &AuditMetrics::default());
///
/// let event = || {
///     let what = NewEvent {
///         tenant: "acme".into(),
///         actor: "key/7f3a".into(),
///         action: "product.created".into(),
///         resource: "product/42".into(),
///         request_id: "req-1".into(),
///         ip: None,
///         details: Details::new(),
///     };
///     let now = clock.unix_millis();
///     Event::new(now, ambient::uuid_v7(now), ambient::entropy::random_bytes(), what)
/// };
/// let create = Effect::none()
///     .check(Precondition::Absent { key: b"product:42".to_vec() })
///     .write(RedisWrite::Set { key: b"product:42".to_vec(), value: b"Coffee".to_vec() });
///
/// // The event, its effect and the head are written together.
/// let first = event()?;
/// assert_eq!(appender.append(&first, create.clone()).await?.seq, 0);
///
/// // The same event again is answered with the original entry.
/// assert!(appender.append(&first, create.clone()).await?.duplicate);
///
/// // Another event whose precondition fails is not written, and neither is its effect.
/// let denied = appender.append(&event()?, create).await;
/// assert!(matches!(denied, Err(AppendError::Precondition { check: 0 })));
/// assert!(appender.log().verify(0..u64::MAX).await?.ok);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Appender {
    queue: mpsc::Sender<PendingAppend>,
    log: AuditLog,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
}

impl Appender {
    /// Starts the task. Must be called inside a tokio runtime.
    ///
    /// It succeeds without a reachable Redis; appends then fail with [`AppendError::Unavailable`].
    #[must_use]
    pub fn start(
        pool: RedisPool,
        mut config: AppenderConfig,
        clock: Arc<dyn Clock>,
        metrics: &AuditMetrics,
    ) -> Self {
        const MOST: NonZeroUsize = NonZeroUsize::new(MAX_ENTRIES).expect("not zero");
        config.max_entries_per_call = config.max_entries_per_call.min(MOST);
        let (queue, handed_in) = mpsc::channel(config.queue.get());
        let log = AuditLog::new(pool, &config.origin);
        let worker = Worker::new(log.clone(), handed_in, config, Arc::clone(&clock), metrics.clone());
        tokio::spawn(worker.run());
        Self { queue, log, clock, metrics: metrics.clone() }
    }

    /// Returns the chain's reader. It shares the appender's memory of the highest head seen.
    #[must_use]
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// Appends `event` and carries out `effect`: both or neither. Repeating an event that is in the chain
    /// returns the original entry.
    ///
    /// Dropping the future withdraws nothing: the event may still be written.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, event: &Event, effect: Effect) -> Result<Appended, AppendError> {
        let started = self.clock.monotonic();
        let span = append_span();
        let result = match self.hand_in(event, effect, started, span.clone()) {
            Ok(answer) => answer.instrument(span).await.unwrap_or(Err(AppendFault::AppenderGone.into())),
            Err(rejected) => {
                let rejected = Err(rejected);
                self.metrics.count(&rejected);
                rejected
            }
        };
        self.metrics.took(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        result
    }

    fn hand_in(
        &self,
        event: &Event,
        effect: Effect,
        now: Duration,
        span: Span,
    ) -> Result<Answer, AppendError> {
        effect.validate().map_err(|error| match error {
            EffectError::TooLarge => AppendError::TooLarge,
            EffectError::Impossible { .. } => AppendFault::Effect(error).into(),
        })?;
        let entry = PreparedEntry::new(event, effect);
        let (sender, answer) = oneshot::channel();
        match self.queue.try_send(PendingAppend::new(entry, sender, now, self.metrics.wait(), span)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(AppendError::Overloaded { waited: Duration::ZERO }),
            Err(TrySendError::Closed(_)) => Err(AppendFault::AppenderGone.into()),
        }
    }
}

/// Returns the span of one append, if the caller's is sampled.
fn append_span() -> Span {
    if !spans::is_sampled() {
        return Span::none();
    }
    tracing::info_span!(
        target: spans::TARGET,
        "audit append",
        voketag.audit.group_size = Empty,
        voketag.audit.retries = Empty,
    )
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("log", &self.log).finish_non_exhaustive()
    }
}

type Answer = oneshot::Receiver<Result<Appended, AppendError>>;

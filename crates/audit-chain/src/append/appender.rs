//! Appending: one task per process takes whatever is waiting, chains it and writes it with one script call.
//!
//! An event is answered only once the script has replied, so an acknowledged event is in the chain with its effect, and one
//! that is not acknowledged was not written, unless the error says that this is not known. The caller's side makes the bytes
//! and hashes them; the task only chains. See [`crate::append::worker`] for how the task goes on when something fails.

use crate::append::metrics::AuditMetrics;
use crate::append::script::{MAX_ENTRIES, PreparedEntry};
use crate::append::waiting::Waiter;
use crate::append::worker::Worker;
use crate::chain::hash::Hash;
use crate::effect::{Effect, EffectError, Precondition};
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

/// How an appender behaves.
#[derive(Debug, Clone)]
pub struct AppenderConfig {
    /// The name of the chain, which its first entry is hashed with.
    pub origin: String,
    /// What must hold for any append at all, e.g. that the deployment record is the one seen at the start. Where it does
    /// not, every append is [`AppendError::StateLost`].
    pub guard: Vec<Precondition>,
    /// Entries written with one script call, at most 2,048.
    pub max_entries_per_call: NonZeroUsize,
    /// Bytes of entries and effects after which a call takes no more of them. One entry is always taken.
    pub max_bytes_per_call: usize,
    /// Events that may wait for their call; one more is [`AppendError::Overloaded`] at once.
    pub queue: NonZeroUsize,
    /// How long an event may wait for its turn and lose races, from when it was handed in.
    pub deadline: Duration,
}

impl AppenderConfig {
    /// 256 entries or 1 MiB per call, a queue of 4,096, and 2 s (the public contract, docs/contract.md §8).
    #[must_use]
    pub fn new(origin: impl Into<String>, guard: Vec<Precondition>) -> Self {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
        const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
        Self {
            origin: origin.into(),
            guard,
            max_entries_per_call: ENTRIES,
            max_bytes_per_call: 1024 * 1024,
            queue: QUEUE,
            deadline: Duration::from_secs(2),
        }
    }
}

/// An acknowledged append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The entry's place in the chain, from 0.
    pub seq: u64,
    /// The hash of the entry whose answer this is; for a duplicate, of the original entry.
    pub hash: Hash,
    /// Whether the same event was in the chain already, from an earlier call or from a first try of this one whose reply was
    /// lost. Its effect was carried out then, and is not repeated.
    pub duplicate: bool,
}

/// A handle to the process's appender. Cheap to clone; the task ends once all handles are gone and all is answered.
#[derive(Clone)]
pub struct Appender {
    queue: mpsc::Sender<Waiter>,
    log: AuditLog,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
}

impl Appender {
    /// Starts the task. It does not fail when Redis is not there: appends then say so. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(
        pool: RedisPool,
        mut config: AppenderConfig,
        clock: Arc<dyn Clock>,
        metrics: &AuditMetrics,
    ) -> Self {
        const MOST: NonZeroUsize = NonZeroUsize::new(MAX_ENTRIES).expect("not zero");
        config.max_entries_per_call = config.max_entries_per_call.min(MOST);
        let (queue, waiting) = mpsc::channel(config.queue.get());
        let log = AuditLog::new(pool, &config.origin);
        let worker = Worker::new(log.clone(), waiting, config, Arc::clone(&clock), metrics.clone());
        tokio::spawn(worker.run());
        Self { queue, log, clock, metrics: metrics.clone() }
    }

    /// The chain as this appender knows it: what the one has seen, the other accepts no less than.
    #[must_use]
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// Appends `event` and carries out `effect` with it, both or neither. A repeat of an event that is in the chain is
    /// answered with the original entry.
    ///
    /// A caller that leaves before the answer takes nothing back: the event may still be written.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, event: &Event, effect: Effect) -> Result<Appended, AppendError> {
        let started = self.clock.monotonic();
        let result = match self.submit(event, effect, started) {
            Ok(answer) => answer.await.unwrap_or(Err(AppendFault::AppenderGone.into())),
            Err(refused) => {
                let refused = Err(refused);
                self.metrics.count(&refused);
                refused
            }
        };
        self.metrics.took(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        result
    }

    fn submit(&self, event: &Event, effect: Effect, now: Duration) -> Result<Answer, AppendError> {
        effect.validate().map_err(|error| match error {
            EffectError::TooLarge => AppendError::TooLarge,
            EffectError::Impossible { .. } => AppendFault::Effect(error).into(),
        })?;
        let entry = PreparedEntry::new(event, effect);
        let (answer, answered) = oneshot::channel();
        match self.queue.try_send(Waiter::new(entry, answer, now)) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(AppendError::Overloaded { waited: Duration::ZERO }),
            Err(TrySendError::Closed(_)) => Err(AppendFault::AppenderGone.into()),
        }
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("log", &self.log).finish_non_exhaustive()
    }
}

type Answer = oneshot::Receiver<Result<Appended, AppendError>>;

//! The appender's task. Events wait in order; each turn takes as many from the front as fit one script call.
//!
//! What a turn can end in:
//!
//! - **written**: all of the call are answered.
//! - **the head had moved**: the new head came back and nothing was written. The first loss is tried again at once, further
//!   ones after 10, 20, 40, 40 … ms, jittered, with the head read afresh. Events whose deadline passes are
//!   [`AppendError::Contention`].
//! - **some cannot be written** (id there already, a check fails): nothing was written; those callers are answered, the others
//!   go again at once.
//! - **no reply**: whether it was written is not known. The head is read again and the call repeated, once: what had been
//!   written comes back as a duplicate, so most callers get the true answer. After that they are told that it is not known.
//!   The lost call may still run later, but only on the head it expected, and that is gone once anything else is written.
//! - **state lost, or Redis away**: the call's callers are told; the next ones are tried afresh.

use crate::appender::{Appended, AppenderConfig};
use crate::conflict::Written;
use crate::error::{AppendError, Fault, ReadError};
use crate::hash::{Hash, entry_hash};
use crate::head::{Head, StateLoss};
use crate::log::AuditLog;
use crate::metrics::AuditMetrics;
use crate::script::{self, IdMemory, Objection, Prepared, Refusal, Reply};
use ambient::{Clock, entropy};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Pauses after the second, third and any further lost race (the public contract, docs/CONTRACT.md §8).
const BACKOFF: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40)];

/// Spread of each pause, in thousandths: wide, so that rivals that lost together do not come back together.
const BACKOFF_JITTER: u16 = 500;

/// Calls without a reply after which an event is given up.
const LOST_REPLIES: u32 = 2;

/// What `retry_after` says where the failure itself does not.
const RETRY_SOON: Duration = Duration::from_secs(1);

type Answer = Result<Appended, AppendError>;

/// An event that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiter {
    entry: Prepared,
    answer: oneshot::Sender<Answer>,
    since: Duration,
    lost_race: bool,
    lost_replies: u32,
    /// The failure that left it open whether the event was written.
    unsure: Option<redis_pool::Error>,
}

impl Waiter {
    pub(crate) fn new(entry: Prepared, answer: oneshot::Sender<Answer>, now: Duration) -> Self {
        Self { entry, answer, since: now, lost_race: false, lost_replies: 0, unsure: None }
    }
}

pub(crate) struct Worker {
    log: AuditLog,
    queue: mpsc::Receiver<Waiter>,
    /// In order of arrival; at most `max_entries_per_call`.
    pending: VecDeque<Waiter>,
    config: AppenderConfig,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    /// Whether the head has to be read before the next call.
    stale: bool,
    /// Races lost in a row.
    losses: u32,
    /// Whether the last answer was that the state is lost; said in the log once, not once per call.
    state_lost: bool,
}

impl Worker {
    pub(crate) fn new(
        log: AuditLog,
        queue: mpsc::Receiver<Waiter>,
        config: AppenderConfig,
        clock: Arc<dyn Clock>,
        metrics: AuditMetrics,
    ) -> Self {
        let pending = VecDeque::with_capacity(config.max_entries_per_call.get());
        Self { log, queue, pending, config, clock, metrics, stale: true, losses: 0, state_lost: false }
    }

    pub(crate) async fn run(mut self) {
        while self.gather().await {
            self.turn().await;
        }
    }

    /// Waits until there is something to write. False once nothing will come any more.
    async fn gather(&mut self) -> bool {
        loop {
            if self.pending.is_empty() {
                let Some(first) = self.queue.recv().await else { return false };
                self.pending.push_back(first);
                // Those woken together with the first one get to hand theirs in: fewer, larger calls.
                tokio::task::yield_now().await;
            }
            while self.pending.len() < self.config.max_entries_per_call.get() {
                let Ok(next) = self.queue.try_recv() else { break };
                if !next.answer.is_closed() {
                    self.pending.push_back(next);
                }
            }
            self.give_up_the_late();
            if !self.pending.is_empty() {
                return true;
            }
        }
    }

    fn give_up_the_late(&mut self) {
        let now = self.clock.monotonic();
        while let Some(waiter) = self.pending.pop_front() {
            let waited = now.saturating_sub(waiter.since);
            if waited < self.config.deadline {
                self.pending.push_front(waiter);
                return;
            }
            let lost_race = waiter.lost_race;
            self.refuse(
                waiter,
                if lost_race { AppendError::Contention } else { AppendError::Overloaded { waited } },
            );
        }
    }

    async fn turn(&mut self) {
        let count = self.fitting();
        // A head that was only glimpsed is looked at before anything is chained to it.
        if (std::mem::take(&mut self.stale) || self.log.memory().is_behind())
            && let Err(error) = self.log.read_head().await
        {
            self.stale = true;
            return self.refuse_front(count, &from_read(error));
        }
        let expected = self.log.memory().seen();
        let new_head = self.chain(count, expected);
        let entries: Vec<&Prepared> = self.pending.iter().take(count).map(|waiter| &waiter.entry).collect();
        let reply = script::append(
            self.log.pool(),
            &self.config.guard,
            IdMemory::PUBLIC,
            expected,
            new_head,
            &entries,
        )
        .await;
        match reply {
            Ok(Reply::Written) => self.written(count, new_head),
            Ok(Reply::Refused(refusals)) => self.answer_refused(count, &refusals),
            Ok(Reply::HeadMoved { head, at_expected }) => {
                self.lost_race(count, expected, head, at_expected).await
            }
            Ok(Reply::GuardFails { check }) => self.refuse_front(count, &StateLoss::Guard { check }.into()),
            Ok(Reply::SegmentDamaged { length }) => {
                let seq = new_head.size - count as u64;
                tracing::warn!(seq, length, "the last segment of the audit chain does not fit its head");
                self.stale = true;
                self.refuse_front(count, &StateLoss::Damaged { seq }.into());
            }
            Err(error) if error.maybe_applied() => self.lost_reply(count, &error),
            Err(error) => self.refuse_front(count, &from_redis(error)),
        }
    }

    /// How many of the waiting fit one call: bounded in number and bytes, no id twice, none that checks what one before it
    /// writes.
    fn fitting(&self) -> usize {
        let most = self.config.max_entries_per_call.get();
        let (mut written, mut ids, mut bytes) = (Written::default(), HashSet::with_capacity(most), 0);
        for (count, waiter) in self.pending.iter().take(most).enumerate() {
            bytes += waiter.entry.bytes();
            let too_heavy = count > 0 && bytes > self.config.max_bytes_per_call;
            if too_heavy || !ids.insert(waiter.entry.id) || !written.admit(waiter.entry.effect()) {
                return count;
            }
        }
        self.pending.len().min(most)
    }

    /// Chains the first `count` to the expected head.
    fn chain(&mut self, count: usize, expected: Option<Head>) -> Head {
        let start = expected.unwrap_or(self.log.genesis());
        self.pending.iter_mut().take(count).fold(start, |head, waiter| {
            let hash = entry_hash(head.size, &head.hash, &waiter.entry.payload_hash);
            waiter.entry.set_hash(&hash);
            Head { size: head.size + 1, hash }
        })
    }

    fn written(&mut self, count: usize, new_head: Head) {
        self.log.memory().raise(new_head);
        self.losses = 0;
        if std::mem::take(&mut self.state_lost) {
            tracing::info!(
                size = new_head.size,
                "the audit chain is the one seen before again, appending goes on"
            );
        }
        let first = new_head.size - count as u64;
        for (seq, waiter) in (first..).zip(self.pending.drain(..count)) {
            let hash = waiter.entry.hash();
            answer(&self.metrics, waiter, Ok(Appended { seq, hash, duplicate: false }));
        }
    }

    /// Answers those named, and leaves the others at the front for the next turn.
    fn answer_refused(&mut self, count: usize, refusals: &[Refusal]) {
        self.losses = 0;
        let mut whys = vec![None; count];
        for refusal in refusals {
            if let Some(why) = whys.get_mut(refusal.index) {
                *why = Some(refusal.why);
            }
        }
        if whys.iter().all(Option::is_none) {
            let what = "script audit-append refused no entry of the call".to_owned();
            return self.refuse_front(count, &Fault::Redis(redis_pool::Error::Reply { what }).into());
        }
        let group: Vec<Waiter> = self.pending.drain(..count).collect();
        let mut kept = Vec::with_capacity(count);
        for (waiter, why) in group.into_iter().zip(whys) {
            match why {
                None => kept.push(waiter),
                Some(Objection::Duplicate { seq, hash }) => {
                    answer(&self.metrics, waiter, Ok(Appended { seq, hash, duplicate: true }));
                }
                Some(Objection::IdReused { seq }) => self.refuse(waiter, AppendError::IdReused { seq }),
                Some(Objection::CheckFails { check }) => {
                    self.refuse(waiter, AppendError::Precondition { check })
                }
                Some(Objection::WrongType { write }) => {
                    self.refuse(waiter, Fault::WrongType { write }.into())
                }
            }
        }
        kept.into_iter().rev().for_each(|waiter| self.pending.push_front(waiter));
    }

    async fn lost_race(
        &mut self,
        count: usize,
        expected: Option<Head>,
        found: Option<Option<Head>>,
        at_expected: Option<Hash>,
    ) {
        self.metrics.conflict();
        let damaged = StateLoss::Damaged { seq: expected.map_or(0, |head| head.size) };
        let judged =
            found.ok_or(damaged).and_then(|found| self.log.memory().accept(expected, found, at_expected));
        if let Err(loss) = judged {
            return self.refuse_front(count, &loss.into());
        }
        self.pending.iter_mut().take(count).for_each(|waiter| waiter.lost_race = true);
        self.losses = self.losses.saturating_add(1);
        if let Some(step) = self.losses.checked_sub(2) {
            let pause = BACKOFF[(step as usize).min(BACKOFF.len() - 1)];
            self.stale = true;
            tokio::time::sleep(entropy::jittered(pause, BACKOFF_JITTER)).await;
        }
    }

    fn lost_reply(&mut self, count: usize, error: &redis_pool::Error) {
        self.stale = true;
        let group: Vec<Waiter> = self.pending.drain(..count).collect();
        for mut waiter in group.into_iter().rev() {
            waiter.unsure = Some(error.clone());
            waiter.lost_replies += 1;
            if waiter.lost_replies < LOST_REPLIES {
                self.pending.push_front(waiter);
            } else {
                self.refuse(waiter, from_redis(error.clone()));
            }
        }
    }

    fn refuse_front(&mut self, count: usize, error: &AppendError) {
        if let AppendError::StateLost(why) = error
            && !std::mem::replace(&mut self.state_lost, true)
        {
            tracing::error!(%why, "the durable state is not the one seen before, refusing all appends");
        }
        let group: Vec<Waiter> = self.pending.drain(..count).collect();
        group.into_iter().for_each(|waiter| self.refuse(waiter, error.clone()));
    }

    /// An error that says "nothing was written" must not be given to one of whom that is not known.
    fn refuse(&self, mut waiter: Waiter, error: AppendError) {
        let unsure = waiter.unsure.take();
        let error = match (error, unsure) {
            (AppendError::Unavailable { retry_after, source, .. }, Some(_)) => {
                AppendError::Unavailable { maybe_written: true, retry_after, source }
            }
            (AppendError::Contention | AppendError::Overloaded { .. }, Some(source)) => {
                AppendError::Unavailable { maybe_written: true, retry_after: RETRY_SOON, source }
            }
            (error, _) => error,
        };
        answer(&self.metrics, waiter, Err(error));
    }
}

/// A caller that has left takes no answer; how its append ended is counted all the same.
fn answer(metrics: &AuditMetrics, waiter: Waiter, result: Answer) {
    metrics.count(&result);
    drop(waiter.answer.send(result));
}

fn from_redis(error: redis_pool::Error) -> AppendError {
    match error {
        redis_pool::Error::Overloaded { waited } => AppendError::Overloaded { waited },
        redis_pool::Error::Unavailable { retry_after, .. } => {
            AppendError::Unavailable { maybe_written: false, retry_after, source: error }
        }
        redis_pool::Error::Server { .. } | redis_pool::Error::Reply { .. } => Fault::Redis(error).into(),
    }
}

fn from_read(error: ReadError) -> AppendError {
    match error {
        ReadError::StateLost(loss) => loss.into(),
        ReadError::Redis(error) => from_redis(error),
        ReadError::Damaged { seq } => StateLoss::Damaged { seq }.into(),
    }
}

//! The events that wait for an answer, in order of arrival.
//!
//! Entries of calls in flight are at the front, call by call; entries that are not sent yet follow. Each way
//! in which a call can end removes some of them or leaves them in place. The queue holds no connection and no
//! clock.

use crate::append::appended::Appended;
use crate::append::config::AppenderConfig;
use crate::append::entry::PreparedEntry;
use crate::append::metrics::{AuditMetrics, WaitingAppend};
use crate::append::script_reply::{EntryRejection, RejectReason};
use crate::chain::hash::entry_hash;
use crate::chain::head::Head;
use crate::effect::conflict::WriteSet;
use crate::error::{AppendError, AppendFault};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::Span;

/// Number of calls without a reply after which an event fails.
const MAX_LOST_REPLIES: u32 = 2;

/// `retry_after` of a failure that has none itself.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

type AppendResult = Result<Appended, AppendError>;

/// An event that waits for an answer.
#[derive(Debug)]
pub(crate) struct PendingAppend {
    entry: PreparedEntry,
    answer: oneshot::Sender<AppendResult>,
    /// When it was handed in, by the monotonic clock.
    since: Duration,
    lost_race: bool,
    lost_replies: u32,
    /// The number of calls that it was part of.
    calls: u32,
    span: Span,
    /// The failure after which it is unknown whether the event was written.
    unknown_outcome: Option<redis_pool::PoolError>,
    _waiting: WaitingAppend,
}

impl PendingAppend {
    pub(crate) fn new(
        entry: PreparedEntry,
        answer: oneshot::Sender<AppendResult>,
        now: Duration,
        waiting: WaitingAppend,
        span: Span,
    ) -> Self {
        Self {
            entry,
            answer,
            since: now,
            lost_race: false,
            lost_replies: 0,
            calls: 0,
            span,
            unknown_outcome: None,
            _waiting: waiting,
        }
    }
}

/// The queue.
pub(crate) struct AppendQueue {
    pending: VecDeque<PendingAppend>,
    metrics: AuditMetrics,
}

impl AppendQueue {
    pub(crate) fn new(capacity: usize, metrics: AuditMetrics) -> Self {
        Self { pending: VecDeque::with_capacity(capacity), metrics }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Adds an event, unless its caller has gone.
    pub(crate) fn push(&mut self, append: PendingAppend) {
        if !append.answer.is_closed() {
            self.pending.push_back(append);
        }
    }

    /// Fails the events from index `first` on that have waited for `deadline`.
    pub(crate) fn fail_expired(&mut self, first: usize, now: Duration, deadline: Duration) {
        while let Some(waited) = self.pending.get(first).map(|append| now.saturating_sub(append.since)) {
            if waited < deadline {
                return;
            }
            let Some(append) = self.pending.remove(first) else { return };
            let error =
                if append.lost_race { AppendError::Contention } else { AppendError::Overloaded { waited } };
            self.fail(append, error);
        }
    }

    /// Returns how many events from index `first` on fit one call.
    ///
    /// A call is bounded in entries and bytes, holds no id twice, and no entry whose precondition reads what
    /// an earlier entry of the call writes.
    pub(crate) fn fitting(&self, first: usize, config: &AppenderConfig) -> usize {
        let most = config.max_entries_per_call.get().min(self.pending.len() - first);
        let (mut writes, mut ids, mut bytes) = (WriteSet::default(), HashSet::with_capacity(most), 0);
        for (count, append) in self.pending.iter().skip(first).take(most).enumerate() {
            bytes += append.entry.bytes();
            let is_too_heavy = count > 0 && bytes > config.max_bytes_per_call;
            if is_too_heavy || !ids.insert(append.entry.id) || !writes.admit(append.entry.effect()) {
                return count;
            }
        }
        most
    }

    /// Chains `count` events from index `first` on to `head`. Returns the new head, `None` when the chain is
    /// full.
    pub(crate) fn chain(&mut self, first: usize, count: usize, head: Head) -> Option<Head> {
        self.pending.iter_mut().skip(first).take(count).try_fold(head, |head, append| {
            let hash = entry_hash(head.size, &head.hash, &append.entry.payload_hash);
            append.entry.set_hash(&hash);
            head.followed_by(hash)
        })
    }

    /// Returns `count` entries from index `first` on.
    pub(crate) fn entries(&self, first: usize, count: usize) -> Vec<&PreparedEntry> {
        self.pending.iter().skip(first).take(count).map(|append| &append.entry).collect()
    }

    /// Counts a call with `count` events from index `first` on in their spans. Returns the span of the call.
    pub(crate) fn span_of_call(&mut self, first: usize, count: usize) -> Span {
        if !spans::is_on() {
            return Span::none();
        }
        for append in self.pending.iter_mut().skip(first).take(count) {
            append.calls += 1;
            append.span.record("voketag.audit.group_size", count);
            append.span.record("voketag.audit.retries", append.calls - 1);
        }
        let members = self.pending.iter().skip(first).take(count).map(|append| &append.span);
        spans::group(
            members,
            || tracing::info_span!(target: spans::TARGET, "audit call", voketag.audit.group_size = count),
        )
    }

    /// Acknowledges the first `count` events, whose call moved the head to `new_head`.
    pub(crate) fn acknowledge(&mut self, count: usize, new_head: Head) {
        let first = new_head.size - count as u64;
        for (seq, append) in (first..).zip(self.pending.drain(..count)) {
            let hash = append.entry.hash();
            answer(&self.metrics, append, Ok(Appended { seq, hash, duplicate: false }));
        }
    }

    /// Answers those of the first `count` events that are in `rejections`. The others stay for the next call.
    pub(crate) fn answer_rejected(&mut self, count: usize, rejections: &[EntryRejection]) {
        let mut reasons = vec![None; count];
        for rejection in rejections {
            if let Some(reason) = reasons.get_mut(rejection.index) {
                *reason = Some(rejection.why);
            }
        }
        if reasons.iter().all(Option::is_none) {
            let what = "script audit-append rejected no entry of the call".to_owned();
            return self.fail_front(count, &AppendFault::Redis(redis_pool::PoolError::Reply { what }).into());
        }
        let entries_of_call: Vec<PendingAppend> = self.pending.drain(..count).collect();
        let mut kept = Vec::with_capacity(count);
        for (append, reason) in entries_of_call.into_iter().zip(reasons) {
            match reason {
                None => kept.push(append),
                Some(RejectReason::Duplicate { seq, hash }) => {
                    answer(&self.metrics, append, Ok(Appended { seq, hash, duplicate: true }));
                }
                Some(RejectReason::IdReused { seq }) => self.fail(append, AppendError::IdReused { seq }),
                Some(RejectReason::CheckFails { check }) => {
                    self.fail(append, AppendError::Precondition { check });
                }
                Some(RejectReason::WrongType { write }) => {
                    self.fail(append, AppendFault::WrongType { write }.into());
                }
            }
        }
        kept.into_iter().rev().for_each(|append| self.pending.push_front(append));
    }

    /// Marks the first `count` events: if they reach their deadline, they fail with
    /// [`AppendError::Contention`].
    pub(crate) fn mark_lost_race(&mut self, count: usize) {
        self.pending.iter_mut().take(count).for_each(|append| append.lost_race = true);
    }

    /// Handles `count` events from index `first` on whose call had no reply, so that their outcome is
    /// unknown.
    ///
    /// Fails events whose outcome is unknown for the second time; the others stay queued. Returns the index
    /// after these.
    pub(crate) fn outcome_unknown(
        &mut self,
        first: usize,
        count: usize,
        error: &redis_pool::PoolError,
    ) -> usize {
        let mut next = first;
        for _ in 0..count {
            let Some(append) = self.pending.get_mut(next) else { break };
            append.unknown_outcome = Some(error.clone());
            append.lost_replies += 1;
            if append.lost_replies < MAX_LOST_REPLIES {
                next += 1;
            } else if let Some(append) = self.pending.remove(next) {
                self.fail(append, AppendError::from_redis(error.clone()));
            }
        }
        next
    }

    /// Fails the first `count` events with the same error.
    pub(crate) fn fail_front(&mut self, count: usize, error: &AppendError) {
        self.fail_from(0, count, error);
    }

    /// Fails `count` events from index `first` on with the same error.
    pub(crate) fn fail_from(&mut self, first: usize, count: usize, error: &AppendError) {
        let failed: Vec<PendingAppend> = self.pending.drain(first..first + count).collect();
        failed.into_iter().for_each(|append| self.fail(append, error.clone()));
    }

    /// Fails one event. An event whose outcome is unknown never gets an error that says "nothing was
    /// written".
    fn fail(&self, mut append: PendingAppend, error: AppendError) {
        let unknown_outcome = append.unknown_outcome.take();
        let error = match (error, unknown_outcome) {
            (AppendError::Unavailable { retry_after, source, .. }, Some(_)) => {
                AppendError::Unavailable { maybe_written: true, retry_after, source }
            }
            (AppendError::Contention | AppendError::Overloaded { .. }, Some(source)) => {
                AppendError::Unavailable { maybe_written: true, retry_after: DEFAULT_RETRY_AFTER, source }
            }
            (error, _) => error,
        };
        answer(&self.metrics, append, Err(error));
    }
}

/// Answers one event. The result is counted even when the caller has gone.
fn answer(metrics: &AuditMetrics, append: PendingAppend, result: AppendResult) {
    metrics.count(&result);
    drop(append.answer.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;
    use crate::event::Event;
    use crate::event::details::Details;
    use crate::event::new_event::NewEvent;

    /// A pending append whose event has about `bytes` bytes, and its caller's end.
    fn pending(bytes: usize) -> (PendingAppend, oneshot::Receiver<AppendResult>) {
        let what = NewEvent { details: Details::new().with("text", "x".repeat(bytes)), ..NewEvent::sample() };
        let event = Event::new(0, ambient::uuid_v7(0), [0; 16], what).unwrap();
        let (answer, answered) = oneshot::channel();
        let entry = PreparedEntry::new(&event, Effect::none());
        let waiting = AuditMetrics::default().wait();
        (PendingAppend::new(entry, answer, Duration::ZERO, waiting, Span::none()), answered)
    }

    fn queue(sizes: &[usize]) -> (AppendQueue, Vec<oneshot::Receiver<AppendResult>>) {
        let mut queue = AppendQueue::new(0, AuditMetrics::default());
        let mut callers = Vec::new();
        for bytes in sizes {
            let (append, caller) = pending(*bytes);
            queue.push(append);
            callers.push(caller);
        }
        (queue, callers)
    }

    #[test]
    fn a_call_is_bounded_in_bytes_but_always_takes_one_entry() {
        let (queue, _callers) = queue(&[10_000, 10_000, 10_000, 100]);
        let config = |max_bytes_per_call| AppenderConfig {
            max_bytes_per_call,
            ..AppenderConfig::new("o", Vec::new())
        };
        assert_eq!(queue.fitting(0, &config(1)), 1);
        assert_eq!(queue.fitting(0, &config(25_000)), 2);
        assert_eq!(queue.fitting(1, &config(25_000)), 3);
        assert_eq!(queue.fitting(0, &config(1 << 20)), 4);
    }

    #[test]
    fn an_event_whose_caller_has_gone_is_not_queued() {
        let (mut queue, callers) = queue(&[1]);
        drop(callers);
        let (append, caller) = pending(1);
        drop(caller);
        queue.push(append);
        assert_eq!(queue.len(), 1, "the first event was queued before its caller left");
    }
}

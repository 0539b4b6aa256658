//! The events that wait to be answered, in order of arrival: at the front those whose calls are under way, call by call, behind them
//! those that have yet to be sent. Every way in which a call can end is a way in which some of them leave, or stay where they are.
//! Holds no connection and no clock.

use crate::append::appender::{Appended, AppenderConfig};
use crate::append::metrics::AuditMetrics;
use crate::append::script::{Objection, PreparedEntry, Refusal};
use crate::chain::hash::entry_hash;
use crate::chain::head::{EndFault, Head};
use crate::effect::conflict::Written;
use crate::error::{AppendError, AppendFault, ReadError};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;

/// Calls without a reply after which an event is given up.
const LOST_REPLIES: u32 = 2;

/// What `retry_after` says where the failure itself does not.
const RETRY_SOON: Duration = Duration::from_secs(1);

type Answer = Result<Appended, AppendError>;

/// An event that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiter {
    entry: PreparedEntry,
    answer: oneshot::Sender<Answer>,
    since: Duration,
    lost_race: bool,
    lost_replies: u32,
    /// The failure that left it open whether the event was written.
    unsure: Option<redis_pool::Error>,
}

impl Waiter {
    pub(crate) fn new(entry: PreparedEntry, answer: oneshot::Sender<Answer>, now: Duration) -> Self {
        Self { entry, answer, since: now, lost_race: false, lost_replies: 0, unsure: None }
    }
}

pub(crate) struct Waiting {
    line: VecDeque<Waiter>,
    metrics: AuditMetrics,
}

impl Waiting {
    pub(crate) fn new(room: usize, metrics: AuditMetrics) -> Self {
        Self { line: VecDeque::with_capacity(room), metrics }
    }

    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// Takes one in, unless its caller has left.
    pub(crate) fn push(&mut self, waiter: Waiter) {
        if !waiter.answer.is_closed() {
            self.line.push_back(waiter);
        }
    }

    /// Gives up on those, from place `first` on, that have waited for `deadline`.
    pub(crate) fn give_up_the_late(&mut self, first: usize, now: Duration, deadline: Duration) {
        while let Some(waited) = self.line.get(first).map(|waiter| now.saturating_sub(waiter.since)) {
            if waited < deadline {
                return;
            }
            let Some(waiter) = self.line.remove(first) else { return };
            let lost_race = waiter.lost_race;
            let overloaded = AppendError::Overloaded { waited };
            self.refuse(waiter, if lost_race { AppendError::Contention } else { overloaded });
        }
    }

    /// How many, from place `first` on, fit one call: bounded in number and bytes, no id twice, none that checks what one before
    /// it writes.
    pub(crate) fn fitting(&self, first: usize, config: &AppenderConfig) -> usize {
        let most = config.max_entries_per_call.get().min(self.line.len() - first);
        let (mut written, mut ids, mut bytes) = (Written::default(), HashSet::with_capacity(most), 0);
        for (count, waiter) in self.line.iter().skip(first).take(most).enumerate() {
            bytes += waiter.entry.bytes();
            let too_heavy = count > 0 && bytes > config.max_bytes_per_call;
            if too_heavy || !ids.insert(waiter.entry.id) || !written.admit(waiter.entry.effect()) {
                return count;
            }
        }
        most
    }

    /// Chains `count`, from place `first` on, to `head`; gives the head that follows, or `None` where a chain can have no more.
    pub(crate) fn chain(&mut self, first: usize, count: usize, head: Head) -> Option<Head> {
        self.line.iter_mut().skip(first).take(count).try_fold(head, |head, waiter| {
            let hash = entry_hash(head.size, &head.hash, &waiter.entry.payload_hash);
            waiter.entry.set_hash(&hash);
            head.followed_by(hash)
        })
    }

    pub(crate) fn entries(&self, first: usize, count: usize) -> Vec<&PreparedEntry> {
        self.line.iter().skip(first).take(count).map(|waiter| &waiter.entry).collect()
    }

    /// The first `count` are in the chain, which they brought to `new_head`.
    pub(crate) fn written(&mut self, count: usize, new_head: Head) {
        let first = new_head.size - count as u64;
        for (seq, waiter) in (first..).zip(self.line.drain(..count)) {
            let hash = waiter.entry.hash();
            answer(&self.metrics, waiter, Ok(Appended { seq, hash, duplicate: false }));
        }
    }

    /// Of the first `count` those named are answered; the others stay for the next call.
    pub(crate) fn refused(&mut self, count: usize, refusals: &[Refusal]) {
        let mut whys = vec![None; count];
        for refusal in refusals {
            if let Some(why) = whys.get_mut(refusal.index) {
                *why = Some(refusal.why);
            }
        }
        if whys.iter().all(Option::is_none) {
            let what = "script audit-append refused no entry of the call".to_owned();
            return self.refuse_all(count, &AppendFault::Redis(redis_pool::Error::Reply { what }).into());
        }
        let group: Vec<Waiter> = self.line.drain(..count).collect();
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
                    self.refuse(waiter, AppendFault::WrongType { write }.into())
                }
            }
        }
        kept.into_iter().rev().for_each(|waiter| self.line.push_front(waiter));
    }

    /// The first `count` were overtaken: when their deadline comes, that is why.
    pub(crate) fn overtaken(&mut self, count: usize) {
        self.line.iter_mut().take(count).for_each(|waiter| waiter.lost_race = true);
    }

    /// Of `count`, from place `first` on, it is not known whether they were written: those of whom that is so for the second time
    /// are told, the others stay. Gives the place behind these.
    pub(crate) fn in_doubt(&mut self, first: usize, count: usize, error: &redis_pool::Error) -> usize {
        let mut next = first;
        for _ in 0..count {
            let Some(waiter) = self.line.get_mut(next) else { break };
            waiter.unsure = Some(error.clone());
            waiter.lost_replies += 1;
            if waiter.lost_replies < LOST_REPLIES {
                next += 1;
            } else if let Some(waiter) = self.line.remove(next) {
                self.refuse(waiter, from_redis(error.clone()));
            }
        }
        next
    }

    /// The first `count` are told the same.
    pub(crate) fn refuse_all(&mut self, count: usize, error: &AppendError) {
        self.refuse_behind(0, count, error);
    }

    /// As [`Self::refuse_all`], from place `first` on.
    pub(crate) fn refuse_behind(&mut self, first: usize, count: usize, error: &AppendError) {
        let group: Vec<Waiter> = self.line.drain(first..first + count).collect();
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

pub(crate) fn from_redis(error: redis_pool::Error) -> AppendError {
    match error {
        redis_pool::Error::Overloaded { waited } => AppendError::Overloaded { waited },
        redis_pool::Error::Unavailable { retry_after, .. } => {
            AppendError::Unavailable { maybe_written: false, retry_after, source: error }
        }
        redis_pool::Error::Server { .. } | redis_pool::Error::Reply { .. } => {
            AppendFault::Redis(error).into()
        }
    }
}

pub(crate) fn from_read(error: ReadError) -> AppendError {
    match error {
        ReadError::StateLost(loss) => loss.into(),
        ReadError::Redis(error) => from_redis(error),
        ReadError::Damaged { seq } => EndFault::Missing { seq }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;
    use crate::event::{Details, Event, NewEvent};

    /// One that waits, whose event has about so many bytes.
    fn waiter(bytes: usize) -> (Waiter, oneshot::Receiver<Answer>) {
        let what = NewEvent { details: Details::new().with("text", "x".repeat(bytes)), ..NewEvent::sample() };
        let event = Event::new(0, ambient::uuid_v7(0), [0; 16], what).unwrap();
        let (answer, answered) = oneshot::channel();
        (Waiter::new(PreparedEntry::new(&event, Effect::none()), answer, Duration::ZERO), answered)
    }

    fn waiting(sizes: &[usize]) -> (Waiting, Vec<oneshot::Receiver<Answer>>) {
        let mut waiting = Waiting::new(0, AuditMetrics::default());
        let mut callers = Vec::new();
        for bytes in sizes {
            let (waiter, caller) = waiter(*bytes);
            waiting.push(waiter);
            callers.push(caller);
        }
        (waiting, callers)
    }

    #[test]
    fn a_call_is_bounded_by_bytes_but_takes_one_entry_in_any_case() {
        let (waiting, _callers) = waiting(&[10_000, 10_000, 10_000, 100]);
        let config = |max_bytes_per_call| AppenderConfig {
            max_bytes_per_call,
            ..AppenderConfig::new("o", Vec::new())
        };
        assert_eq!(waiting.fitting(0, &config(1)), 1);
        assert_eq!(waiting.fitting(0, &config(25_000)), 2);
        assert_eq!(waiting.fitting(1, &config(25_000)), 3);
        assert_eq!(waiting.fitting(0, &config(1 << 20)), 4);
    }

    #[test]
    fn who_has_left_is_not_taken_in() {
        let (mut waiting, callers) = waiting(&[1]);
        drop(callers);
        let (left, gone) = waiter(1);
        drop(gone);
        waiting.push(left);
        assert_eq!(waiting.len(), 1, "the first one had been taken in before");
    }
}

//! The appender's task.
//!
//! Events wait in order. A call takes as many from the front as fit one script call. Under load a second call
//! is sent before the first is answered, chained to the head that the first is about to write: Redis runs
//! them in order, and if the first is not written the second finds another head and is not written either.
//!
//! How a call ends:
//!
//! - **Written**: all its callers are answered.
//! - **The head has moved**: nothing was written. The first lost race is retried at once, further ones after
//!   10, 20, 40, 40 … ms with jitter, with the head read again. Events that reach their deadline fail with
//!   [`AppendError::Contention`].
//! - **Entries rejected** (the id exists, a precondition fails): nothing was written. Their callers are
//!   answered, and the other entries are sent again at once.
//! - **No reply**: the outcome is unknown. The head is read again and the call is repeated once. What had
//!   been written comes back as a duplicate, so most callers get the true answer; the others get an error
//!   that says the outcome is unknown. The lost call may still run later, but only on the head it expected,
//!   and any write in between removes that head.
//! - **State lost, end fault, Redis unavailable**: the callers of this call fail. The next call is attempted
//!   normally.

#[cfg(test)]
mod tests;

use crate::append::config::AppenderConfig;
use crate::append::metrics::AuditMetrics;
use crate::append::queue::{AppendQueue, PendingAppend};
use crate::append::script::{self, IdRetention};
use crate::append::script_reply::AppendReply;
use crate::chain::end::{EndFault, FoundEnd};
use crate::chain::head::Head;
use crate::chain::memory::StateLoss;
use crate::error::{AppendError, AppendFault};
use crate::read::log::AuditLog;
use ambient::{Clock, entropy};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use redis_pool::RedisPool;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument;

/// Pauses after the second, the third and every further lost race (the public contract, docs/contract.md §8).
const BACKOFF: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40)];

/// Jitter of each pause, in thousandths. It is wide, so that appenders that lost together do not retry
/// together.
const BACKOFF_JITTER: u16 = 500;

/// Most calls in flight: one that Redis runs and one that is on its way, so that neither side waits for the
/// other.
const MAX_IN_FLIGHT: usize = 2;

/// Number of calls that must be written after a lost race before a second call is sent ahead again. While
/// other appenders compete, a call sent ahead would only be lost too.
const WRITTEN_BEFORE_SENDING_AHEAD: u32 = 4;

/// A call in flight. Its entries are `count` events of the queue, after those of earlier calls.
#[derive(Debug, Clone, Copy)]
struct InFlightCall {
    count: usize,
    /// The head that the call is chained to.
    expected: Option<Head>,
    new_head: Head,
    /// Whether the expected head is one that an earlier call in flight has yet to write.
    sent_ahead: bool,
}

type Reply = Result<AppendReply, redis_pool::PoolError>;
type Replies = FuturesOrdered<BoxFuture<'static, Reply>>;

/// The task's state.
pub(crate) struct Worker {
    log: AuditLog,
    /// Calls on this handle reach Redis in the order in which they are made.
    pool: RedisPool,
    handed_in: mpsc::Receiver<PendingAppend>,
    /// Whether all handles are dropped, so that nothing more is handed in.
    is_closed: bool,
    /// Events of the calls in flight, and at most `max_entries_per_call` more.
    queue: AppendQueue,
    /// Calls in flight, in the order in which they were sent.
    in_flight: VecDeque<InFlightCall>,
    config: AppenderConfig,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    /// Whether the head must be read before the next call.
    must_read_head: bool,
    /// Races lost in a row.
    lost_races: u32,
    /// Calls written since the last lost race or missing reply.
    written_in_a_row: u32,
    /// Whether the last outcome was a state loss, which is logged once and not for every call.
    is_state_lost: bool,
    /// The end fault of the last outcome, which is logged once.
    end_fault: Option<EndFault>,
}

impl Worker {
    pub(crate) fn new(
        log: AuditLog,
        handed_in: mpsc::Receiver<PendingAppend>,
        config: AppenderConfig,
        clock: Arc<dyn Clock>,
        metrics: AuditMetrics,
    ) -> Self {
        Self {
            pool: log.pool().in_order(),
            log,
            handed_in,
            is_closed: false,
            queue: AppendQueue::new(config.max_entries_per_call.get() * MAX_IN_FLIGHT, metrics.clone()),
            in_flight: VecDeque::with_capacity(MAX_IN_FLIGHT),
            config,
            clock,
            metrics,
            must_read_head: true,
            lost_races: 0,
            written_in_a_row: 0,
            is_state_lost: false,
            end_fault: None,
        }
    }

    /// Runs until all handles are dropped and every event is answered.
    pub(crate) async fn run(mut self) {
        let mut replies = Replies::new();
        loop {
            self.take_in();
            if self.may_send() {
                if let Some(call) = self.next_call().await {
                    replies.push_back(call);
                }
                continue;
            }
            if self.is_closed && self.queue.len() == 0 {
                return;
            }
            tokio::select! {
                biased;
                Some(reply) = replies.next() => self.handle_reply(reply, &mut replies).await,
                append = self.handed_in.recv(), if self.has_room() && !self.is_closed => match append {
                    Some(append) => {
                        self.queue.push(append);
                        if self.in_flight.is_empty() {
                            // Callers woken together with this one can hand in their events: fewer, larger
                            // calls.
                            tokio::task::yield_now().await;
                        }
                    }
                    None => self.is_closed = true,
                },
            }
        }
    }

    /// Returns the number of events in calls in flight.
    fn in_flight_events(&self) -> usize {
        self.in_flight.iter().map(|call| call.count).sum()
    }

    /// Returns the number of events that are not sent yet.
    fn unsent(&self) -> usize {
        self.queue.len() - self.in_flight_events()
    }

    fn has_room(&self) -> bool {
        self.unsent() < self.config.max_entries_per_call.get()
    }

    /// Takes in what was handed in, up to the size of one call, and fails events that have waited too long.
    fn take_in(&mut self) {
        while self.has_room() {
            let Ok(next) = self.handed_in.try_recv() else { break };
            self.queue.push(next);
        }
        self.queue.fail_expired(self.in_flight_events(), self.clock.monotonic(), self.config.deadline);
    }

    /// Returns whether the next call may be sent.
    ///
    /// With no call in flight, it may be sent at once. A second call is sent ahead only if it is as large as
    /// the first (so that calls stay of one size), if no race was lost lately, and if nothing has to be read
    /// first.
    fn may_send(&self) -> bool {
        let unsent = self.unsent();
        match (self.in_flight.front(), self.in_flight.back()) {
            (Some(front), Some(back)) => {
                self.in_flight.len() < MAX_IN_FLIGHT
                    && unsent >= front.count
                    && self.written_in_a_row >= WRITTEN_BEFORE_SENDING_AHEAD
                    && self.log.memory().least_size() <= back.new_head.size
            }
            _ => unsent > 0,
        }
    }

    /// Makes the next call. `None` when the chain cannot be appended to; its callers are answered.
    async fn next_call(&mut self) -> Option<BoxFuture<'static, Reply>> {
        let first = self.in_flight_events();
        let count = self.queue.fitting(first, &self.config);
        let head_in_flight = self.in_flight.back().map(|call| call.new_head);
        // A head that was only observed is verified before anything is chained to it.
        if head_in_flight.is_none()
            && (std::mem::take(&mut self.must_read_head) || self.log.memory().is_behind())
            && let Some(error) = self.append_obstacle().await
        {
            self.must_read_head = true;
            self.fail_front(count, &error);
            return None;
        }
        let expected = head_in_flight.or_else(|| self.log.memory().seen());
        let Some(new_head) = self.queue.chain(first, count, expected.unwrap_or(self.log.genesis())) else {
            self.queue.fail_from(first, count, &AppendFault::Full.into());
            return None;
        };
        let entries = self.queue.entries(first, count);
        let call = script::call(&self.config.guard, IdRetention::PUBLIC, expected, new_head, &entries, "");
        self.metrics.group(count);
        let sent_ahead = head_in_flight.is_some();
        self.in_flight.push_back(InFlightCall { count, expected, new_head, sent_ahead });
        let (pool, span) = (self.pool.clone(), self.queue.span_of_call(first, count));
        let send = async move { script::send(call, &pool).await };
        Some(if span.is_disabled() { Box::pin(send) } else { Box::pin(send.instrument(span)) })
    }

    /// Reads the end of the chain and returns why nothing can be appended there, if so.
    async fn append_obstacle(&self) -> Option<AppendError> {
        match self.log.end().await {
            Ok(end) => end.fault.map(Into::into),
            Err(error) => Some(error.into()),
        }
    }

    /// Handles the reply of the first call in flight.
    ///
    /// If it was not written, calls sent ahead are awaited first and their entries wait again.
    async fn handle_reply(&mut self, reply: Reply, replies: &mut Replies) {
        let Some(call) = self.in_flight.pop_front() else { return };
        let count = call.count;
        if matches!(reply, Ok(AppendReply::Written)) {
            return self.acknowledge(&call);
        }
        if reply.is_err() {
            // A breaker that admits one probe at a time would reject a call sent ahead.
            self.written_in_a_row = 0;
        }
        if self.take_back(&call, replies).await == Recovered::Yes {
            return;
        }
        match reply {
            Ok(AppendReply::Written) => {}
            Ok(AppendReply::Rejected(rejections)) => {
                self.lost_races = 0;
                self.queue.answer_rejected(count, &rejections);
            }
            Ok(AppendReply::HeadMoved(found)) => self.handle_moved_head(&call, found).await,
            Ok(AppendReply::GuardFails { check }) => {
                self.fail_front(count, &StateLoss::Guard { check }.into());
            }
            Ok(AppendReply::EndFault(fault)) => {
                self.must_read_head = true;
                self.fail_front(count, &fault.into());
            }
            Err(error) if error.maybe_applied() => {
                self.must_read_head = true;
                self.queue.outcome_unknown(0, count, &error);
            }
            Err(error) => self.fail_front(count, &AppendError::from_redis(error)),
        }
    }

    /// Awaits the calls sent ahead of `failed`'s reply. They expect the head that it was to write, so they
    /// were not written, and their entries wait again.
    ///
    /// If one was written after all, `failed` was written too and only its reply is lost: both are
    /// acknowledged.
    async fn take_back(&mut self, failed: &InFlightCall, replies: &mut Replies) -> Recovered {
        let mut first = failed.count;
        while let Some(reply) = replies.next().await {
            let Some(ahead) = self.in_flight.pop_front() else { break };
            match reply {
                Ok(AppendReply::Written) => {
                    self.acknowledge(failed);
                    self.acknowledge(&ahead);
                    return Recovered::Yes;
                }
                Err(error) if error.maybe_applied() => {
                    self.must_read_head = true;
                    first = self.queue.outcome_unknown(first, ahead.count, &error);
                }
                _ => first += ahead.count,
            }
        }
        Recovered::No
    }

    fn acknowledge(&mut self, call: &InFlightCall) {
        self.log.memory().raise(call.new_head);
        self.lost_races = 0;
        self.written_in_a_row = self.written_in_a_row.saturating_add(1);
        let had_fault = self.end_fault.take().is_some();
        if std::mem::take(&mut self.is_state_lost) || had_fault {
            tracing::info!(
                size = call.new_head.size,
                "audit chain is the expected one again, appending resumes"
            );
        }
        self.queue.acknowledge(call.count, call.new_head);
    }

    /// Judges the head that a call found instead of the expected one, and backs off if it only lost a race.
    async fn handle_moved_head(&mut self, call: &InFlightCall, found: FoundEnd) {
        self.metrics.conflict();
        self.written_in_a_row = 0;
        if call.sent_ahead {
            // The call may have run before the one that it follows, so the head it found says nothing about
            // the head now.
            self.must_read_head = true;
        } else {
            let memory = self.log.memory();
            let judged = memory.accept(call.expected, found.head, found.hash_at_expected, found.fault);
            let error = judged.map_err(AppendError::from).err().or(found.fault.map(Into::into));
            if let Some(error) = error {
                self.must_read_head = true;
                return self.fail_front(call.count, &error);
            }
        }
        self.queue.mark_lost_race(call.count);
        self.lost_races = self.lost_races.saturating_add(1);
        if let Some(step) = self.lost_races.checked_sub(2) {
            let pause = BACKOFF[(step as usize).min(BACKOFF.len() - 1)];
            self.must_read_head = true;
            tokio::time::sleep(entropy::jittered(pause, BACKOFF_JITTER)).await;
        }
    }

    fn fail_front(&mut self, count: usize, error: &AppendError) {
        if let AppendError::StateLost(why) = error
            && !std::mem::replace(&mut self.is_state_lost, true)
        {
            tracing::error!(%why, "durable state lost, refusing all appends");
        }
        if let AppendError::EndFault(why) = error
            && self.end_fault.replace(*why) != Some(*why)
        {
            tracing::error!(%why, "audit chain does not end as its head says, refusing all appends");
        }
        self.queue.fail_front(count, error);
    }
}

/// Whether a call without a reply turned out to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovered {
    Yes,
    No,
}

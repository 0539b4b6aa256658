//! The appender's task. Events wait in order; a call takes as many from the front as fit one script call. Under load a second
//! call is sent behind the first before that is answered, chained to the head which the first is to write: Redis runs them in
//! order, and where the first is not written the second finds another head and is not written either.
//!
//! What a call can end in:
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

use crate::append::appender::AppenderConfig;
use crate::append::metrics::AuditMetrics;
use crate::append::script::{self, Found, IdMemory, Reply};
use crate::append::waiting::{Waiter, Waiting, from_read, from_redis};
use crate::chain::head::{EndFault, Head, StateLoss};
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

/// Pauses after the second, third and any further lost race (the public contract, docs/contract.md §8).
const BACKOFF: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40)];

/// Spread of each pause, in thousandths: wide, so that rivals that lost together do not come back together.
const BACKOFF_JITTER: u16 = 500;

/// Calls under way at once: one that Redis works on, and one that is on its way or waits behind it, so that neither side waits for
/// the other.
const DEPTH: usize = 2;

/// Calls that must have been written since a race was lost before one is sent behind another again: among rivals it would only be
/// lost too.
const CALM: u32 = 4;

/// What a call that is under way is made of: `count` of the waiting, behind those of the calls before it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    count: usize,
    /// The head it was chained to.
    expected: Option<Head>,
    new_head: Head,
    /// Whether that head was one which the call before it had yet to write.
    ahead: bool,
}

type Calls = FuturesOrdered<BoxFuture<'static, Result<Reply, redis_pool::Error>>>;

pub(crate) struct Worker {
    log: AuditLog,
    /// Calls of this handle reach Redis in the order in which they are made.
    pool: RedisPool,
    queue: mpsc::Receiver<Waiter>,
    /// Whether all handles are gone: nothing more comes.
    closed: bool,
    /// Those of the calls under way, and at most `max_entries_per_call` more.
    waiting: Waiting,
    /// The calls under way, in their order.
    sent: VecDeque<Sent>,
    config: AppenderConfig,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    /// Whether the head has to be read before the next call.
    stale: bool,
    /// Races lost in a row.
    losses: u32,
    /// Calls written since a race was lost, or one had no reply.
    calm: u32,
    /// Whether the last answer was that the state is lost; said in the log once, not once per call.
    state_lost: bool,
    /// Why the last answer was that the chain does not end as its head says; said in the log once.
    end_fault: Option<EndFault>,
}

impl Worker {
    pub(crate) fn new(
        log: AuditLog,
        queue: mpsc::Receiver<Waiter>,
        config: AppenderConfig,
        clock: Arc<dyn Clock>,
        metrics: AuditMetrics,
    ) -> Self {
        Self {
            pool: log.pool().in_order(),
            log,
            queue,
            closed: false,
            waiting: Waiting::new(config.max_entries_per_call.get() * DEPTH, metrics.clone()),
            sent: VecDeque::with_capacity(DEPTH),
            config,
            clock,
            metrics,
            stale: true,
            losses: 0,
            calm: 0,
            state_lost: false,
            end_fault: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut calls = Calls::new();
        loop {
            self.take_in();
            if self.may_send() {
                if let Some(call) = self.next_call().await {
                    calls.push_back(call);
                }
                continue;
            }
            if self.closed && self.waiting.len() == 0 {
                return;
            }
            tokio::select! {
                biased;
                Some(reply) = calls.next() => self.settle(reply, &mut calls).await,
                waiter = self.queue.recv(), if self.has_room() && !self.closed => match waiter {
                    Some(waiter) => {
                        self.waiting.push(waiter);
                        if self.sent.is_empty() {
                            // Those woken together with the first one get to hand theirs in: fewer, larger calls.
                            tokio::task::yield_now().await;
                        }
                    }
                    None => self.closed = true,
                },
            }
        }
    }

    /// How many belong to calls under way.
    fn under_way(&self) -> usize {
        self.sent.iter().map(|sent| sent.count).sum()
    }

    /// How many have yet to be sent.
    fn unsent(&self) -> usize {
        self.waiting.len() - self.under_way()
    }

    fn has_room(&self) -> bool {
        self.unsent() < self.config.max_entries_per_call.get()
    }

    /// Takes what has been handed in, as far as one call can hold it, and gives up on those that waited too long.
    fn take_in(&mut self) {
        while self.has_room() {
            let Ok(next) = self.queue.try_recv() else { break };
            self.waiting.push(next);
        }
        self.waiting.give_up_the_late(self.under_way(), self.clock.monotonic(), self.config.deadline);
    }

    /// Whether the next call may go: at once when none is under way. Behind one that is, only when as many wait as that one
    /// writes (so that calls stay of one size), when no race was lost lately, and when nothing has to be read first.
    fn may_send(&self) -> bool {
        let unsent = self.unsent();
        match (self.sent.front(), self.sent.back()) {
            (Some(front), Some(back)) => {
                self.sent.len() < DEPTH
                    && unsent >= front.count
                    && self.calm >= CALM
                    && self.log.memory().least() <= back.new_head.size
            }
            _ => unsent > 0,
        }
    }

    /// The next call; none when the head could not be read, and the callers have been told.
    async fn next_call(&mut self) -> Option<BoxFuture<'static, Result<Reply, redis_pool::Error>>> {
        let first = self.under_way();
        let count = self.waiting.fitting(first, &self.config);
        let before = self.sent.back().map(|sent| sent.new_head);
        // A head that was only observed is looked at before anything is chained to it.
        if before.is_none()
            && (std::mem::take(&mut self.stale) || self.log.memory().is_behind())
            && let Some(why) = self.why_not().await
        {
            self.stale = true;
            self.refuse_front(count, &why);
            return None;
        }
        let expected = before.or_else(|| self.log.memory().seen());
        let Some(new_head) = self.waiting.chain(first, count, expected.unwrap_or(self.log.genesis())) else {
            self.waiting.refuse_behind(first, count, &AppendFault::Full.into());
            return None;
        };
        let entries = self.waiting.entries(first, count);
        let call = script::call(&self.config.guard, IdMemory::PUBLIC, expected, new_head, &entries, "");
        self.sent.push_back(Sent { count, expected, new_head, ahead: before.is_some() });
        let pool = self.pool.clone();
        Some(Box::pin(async move { script::send(call, &pool).await }))
    }

    /// Looks at the end of the chain: why nothing can be appended there.
    async fn why_not(&self) -> Option<AppendError> {
        match self.log.end().await {
            Ok(end) => end.fault.map(Into::into),
            Err(error) => Some(from_read(error)),
        }
    }

    /// Answers the callers of the first call under way, or lets them wait on. What was sent behind a call that was not written is
    /// waited for and taken back first.
    async fn settle(&mut self, reply: Result<Reply, redis_pool::Error>, calls: &mut Calls) {
        let Some(sent) = self.sent.pop_front() else { return };
        let count = sent.count;
        if matches!(reply, Ok(Reply::Written)) {
            return self.written(&sent);
        }
        if reply.is_err() {
            // A breaker that lets through one probe at a time would refuse the call behind it.
            self.calm = 0;
        }
        if self.take_back(&sent, calls).await {
            return;
        }
        match reply {
            Ok(Reply::Written) => {}
            Ok(Reply::Refused(refusals)) => {
                self.losses = 0;
                self.waiting.refused(count, &refusals);
            }
            Ok(Reply::HeadMoved(found)) => self.lost_race(&sent, found).await,
            Ok(Reply::GuardFails { check }) => self.refuse_front(count, &StateLoss::Guard { check }.into()),
            Ok(Reply::EndFault(fault)) => {
                self.stale = true;
                self.refuse_front(count, &fault.into());
            }
            Err(error) if error.maybe_applied() => {
                self.stale = true;
                self.waiting.in_doubt(0, count, &error);
            }
            Err(error) => self.refuse_front(count, &from_redis(error)),
        }
    }

    /// Waits for the calls behind `failed`. They expect the head that it was to write, so they were not written, and their
    /// entries wait again; unless one was after all: then `failed` was too, only its reply is lost. Says whether that is so.
    async fn take_back(&mut self, failed: &Sent, calls: &mut Calls) -> bool {
        let mut first = failed.count;
        while let Some(reply) = calls.next().await {
            let Some(behind) = self.sent.pop_front() else { break };
            match reply {
                Ok(Reply::Written) => {
                    self.written(failed);
                    self.written(&behind);
                    return true;
                }
                Err(error) if error.maybe_applied() => {
                    self.stale = true;
                    first = self.waiting.in_doubt(first, behind.count, &error);
                }
                _ => first += behind.count,
            }
        }
        false
    }

    fn written(&mut self, sent: &Sent) {
        self.log.memory().raise(sent.new_head);
        self.losses = 0;
        self.calm = self.calm.saturating_add(1);
        let had_fault = self.end_fault.take().is_some();
        if std::mem::take(&mut self.state_lost) || had_fault {
            tracing::info!(
                size = sent.new_head.size,
                "the audit chain is the one seen before again, appending goes on"
            );
        }
        self.waiting.written(sent.count, sent.new_head);
    }

    async fn lost_race(&mut self, sent: &Sent, found: Found) {
        self.metrics.conflict();
        self.calm = 0;
        if sent.ahead {
            // It may have been looked at before the call that it followed: what it found says nothing of the head now.
            self.stale = true;
        } else {
            let judge = |head| self.log.memory().accept(sent.expected, head, found.at_expected, found.fault);
            let judged = found.head.ok_or(StateLoss::NoHead).and_then(judge);
            let why = judged.map_err(AppendError::from).err().or(found.fault.map(Into::into));
            if let Some(why) = why {
                self.stale = true;
                return self.refuse_front(sent.count, &why);
            }
        }
        self.waiting.overtaken(sent.count);
        self.losses = self.losses.saturating_add(1);
        if let Some(step) = self.losses.checked_sub(2) {
            let pause = BACKOFF[(step as usize).min(BACKOFF.len() - 1)];
            self.stale = true;
            tokio::time::sleep(entropy::jittered(pause, BACKOFF_JITTER)).await;
        }
    }

    fn refuse_front(&mut self, count: usize, error: &AppendError) {
        if let AppendError::StateLost(why) = error
            && !std::mem::replace(&mut self.state_lost, true)
        {
            tracing::error!(%why, "the durable state is not the one seen before, refusing all appends");
        }
        if let AppendError::EndFault(why) = error
            && self.end_fault.replace(*why) != Some(*why)
        {
            tracing::error!(%why, "the audit chain does not end as its head says, refusing all appends");
        }
        self.waiting.refuse_all(count, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::script::PreparedEntry;
    use crate::chain::hash::genesis_prev;
    use crate::effect::Effect;
    use crate::event::{Event, NewEvent};
    use ambient::ManualClock;
    use redis_pool::{Config, Error, PoolMetrics, Reason};
    use std::num::NonZeroUsize;
    use tokio::sync::oneshot;

    type Answer = Result<crate::Appended, AppendError>;

    /// A worker with two calls of one event each under way, and where their callers wait. Nobody listens at its Redis.
    fn with_two_calls() -> (Worker, [oneshot::Receiver<Answer>; 2]) {
        let pool = RedisPool::new(
            Config {
                name: "test",
                url: "redis://127.0.0.1:1".parse().unwrap(),
                permits: NonZeroUsize::MIN,
                connections: NonZeroUsize::MIN,
                wait: Duration::from_millis(1),
                command_timeout: Duration::from_millis(1),
                open_for: redis_pool::OPEN_FOR,
            },
            Arc::new(ManualClock::new()),
            &PoolMetrics::default(),
        );
        let config = AppenderConfig::new("test", Vec::new());
        let (_, queue) = mpsc::channel(1);
        let log = AuditLog::new(pool, "test");
        let clock = Arc::new(ManualClock::new());
        let mut worker = Worker::new(log, queue, config, clock, AuditMetrics::default());
        let mut head = Head { size: 0, hash: genesis_prev("test") };
        let callers = std::array::from_fn(|number| {
            let what = NewEvent { resource: format!("tag/{number}"), ..NewEvent::sample() };
            let event = Event::new(0, ambient::uuid_v7(0), [0; 16], what).unwrap();
            let (answer, answered) = oneshot::channel();
            worker.waiting.push(Waiter::new(
                PreparedEntry::new(&event, Effect::none()),
                answer,
                Duration::ZERO,
            ));
            let (expected, ahead) = ((number > 0).then_some(head), number > 0);
            head = worker.waiting.chain(number, 1, head).unwrap();
            worker.sent.push_back(Sent { count: 1, expected, new_head: head, ahead });
            answered
        });
        (worker, callers)
    }

    fn calls(replies: impl IntoIterator<Item = Result<Reply, Error>>) -> Calls {
        let call = |reply| -> BoxFuture<'static, _> { Box::pin(std::future::ready(reply)) };
        replies.into_iter().map(call).collect()
    }

    fn no_reply() -> Result<Reply, Error> {
        let (reason, retry_after) = (Reason::Timeout(Duration::from_millis(1)), Duration::ZERO);
        Err(Error::Unavailable { reason, retry_after })
    }

    #[tokio::test]
    async fn a_second_call_that_was_written_tells_that_the_first_was_too() {
        let (mut worker, mut callers) = with_two_calls();
        worker.settle(no_reply(), &mut calls([Ok(Reply::Written)])).await;
        let seqs = callers.each_mut().map(|caller| caller.try_recv().unwrap().unwrap().seq);
        assert_eq!(seqs, [0, 1]);
        assert_eq!(worker.log.memory().seen().unwrap().size, 2);
    }

    #[tokio::test]
    async fn calls_without_a_reply_wait_once_and_are_then_told_that_it_is_not_known() {
        let (mut worker, mut callers) = with_two_calls();
        worker.calm = CALM;
        let sent = worker.sent.clone();
        worker.settle(no_reply(), &mut calls([no_reply()])).await;
        assert_eq!(worker.calm, 0, "one at a time until Redis answers again");
        assert_eq!((worker.waiting.len(), worker.sent.len(), worker.stale), (2, 0, true));
        worker.sent = sent;
        worker.settle(no_reply(), &mut calls([no_reply()])).await;
        for caller in &mut callers {
            let told = caller.try_recv().unwrap();
            assert!(matches!(told, Err(AppendError::Unavailable { maybe_written: true, .. })), "{told:?}");
        }
        assert_eq!(worker.waiting.len(), 0);
    }

    #[tokio::test]
    async fn a_head_that_a_call_sent_ahead_found_is_judged_by_nobody() {
        let (mut worker, mut callers) = with_two_calls();
        worker.settle(Ok(Reply::Written), &mut Calls::new()).await;
        // As if it had been read before the first call was: then there was no head yet.
        let moved = Reply::HeadMoved(Found { head: Some(None), at_expected: None, fault: None });
        worker.settle(Ok(moved), &mut Calls::new()).await;
        assert_eq!(callers[0].try_recv().unwrap().unwrap().seq, 0);
        assert!(callers[1].try_recv().is_err(), "it goes again");
        assert!(worker.stale && !worker.state_lost);
    }
}

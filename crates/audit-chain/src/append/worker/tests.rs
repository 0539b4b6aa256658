//! How replies of two calls in flight are handled, without a Redis.

use super::*;
use crate::append::appended::Appended;
use crate::append::entry::PreparedEntry;
use crate::chain::end::StoredHead;
use crate::chain::hash::genesis_prev;
use crate::effect::Effect;
use crate::event::Event;
use crate::event::new_event::NewEvent;
use ambient::ManualClock;
use redis_pool::{PoolConfig, PoolError, PoolMetrics, UnavailableReason};
use std::num::NonZeroUsize;
use tokio::sync::oneshot;

type AppendResult = Result<Appended, AppendError>;

/// A worker with two calls of one event each in flight, and the receivers of their callers. Its Redis does
/// not exist.
fn with_two_calls() -> (Worker, [oneshot::Receiver<AppendResult>; 2]) {
    let pool = RedisPool::new(
        PoolConfig {
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
    let (_, handed_in) = mpsc::channel(1);
    let log = AuditLog::new(pool, "test");
    let clock = Arc::new(ManualClock::new());
    let mut worker = Worker::new(log, handed_in, config, clock, AuditMetrics::default());
    let mut head = Head { size: 0, hash: genesis_prev("test") };
    let callers = std::array::from_fn(|number| {
        let what = NewEvent { resource: format!("tag/{number}"), ..NewEvent::sample() };
        let event = Event::new(0, ambient::uuid_v7(0), [0; 16], what).unwrap();
        let (answer, caller) = oneshot::channel();
        let entry = PreparedEntry::new(&event, Effect::none());
        let (waiting, span) = (AuditMetrics::default().wait(), tracing::Span::none());
        worker.queue.push(PendingAppend::new(entry, answer, Duration::ZERO, waiting, span));
        let (expected, sent_ahead) = ((number > 0).then_some(head), number > 0);
        head = worker.queue.chain(number, 1, head).unwrap();
        worker.in_flight.push_back(InFlightCall { count: 1, expected, new_head: head, sent_ahead });
        caller
    });
    (worker, callers)
}

fn replies(replies: impl IntoIterator<Item = Reply>) -> Replies {
    let ready = |reply| -> BoxFuture<'static, _> { Box::pin(std::future::ready(reply)) };
    replies.into_iter().map(ready).collect()
}

fn no_reply() -> Reply {
    let (reason, retry_after) = (UnavailableReason::Timeout(Duration::from_millis(1)), Duration::ZERO);
    Err(PoolError::Unavailable { reason, retry_after })
}

#[tokio::test]
async fn a_written_second_call_proves_that_the_first_was_written_too() {
    let (mut worker, mut callers) = with_two_calls();
    worker.handle_reply(no_reply(), &mut replies([Ok(AppendReply::Written)])).await;
    let seqs = callers.each_mut().map(|caller| caller.try_recv().unwrap().unwrap().seq);
    assert_eq!(seqs, [0, 1]);
    assert_eq!(worker.log.memory().seen().unwrap().size, 2);
}

#[tokio::test]
async fn calls_without_a_reply_are_repeated_once_and_then_fail_with_an_unknown_outcome() {
    let (mut worker, mut callers) = with_two_calls();
    worker.written_in_a_row = WRITTEN_BEFORE_SENDING_AHEAD;
    let in_flight = worker.in_flight.clone();
    worker.handle_reply(no_reply(), &mut replies([no_reply()])).await;
    assert_eq!(worker.written_in_a_row, 0, "one call at a time until Redis replies again");
    assert_eq!((worker.queue.len(), worker.in_flight.len(), worker.must_read_head), (2, 0, true));
    worker.in_flight = in_flight;
    worker.handle_reply(no_reply(), &mut replies([no_reply()])).await;
    for caller in &mut callers {
        let answer = caller.try_recv().unwrap();
        assert!(matches!(answer, Err(AppendError::Unavailable { maybe_written: true, .. })), "{answer:?}");
    }
    assert_eq!(worker.queue.len(), 0);
}

#[tokio::test]
async fn a_head_that_a_call_sent_ahead_found_is_not_judged() {
    let (mut worker, mut callers) = with_two_calls();
    worker.handle_reply(Ok(AppendReply::Written), &mut Replies::new()).await;
    // As if the second call had run before the first, when there was no head yet.
    let found = FoundEnd { head: StoredHead::Absent, hash_at_expected: None, fault: None };
    worker.handle_reply(Ok(AppendReply::HeadMoved(found)), &mut Replies::new()).await;
    assert_eq!(callers[0].try_recv().unwrap().unwrap().seq, 0);
    assert!(callers[1].try_recv().is_err(), "it is sent again");
    assert!(worker.must_read_head && !worker.is_state_lost);
}

//! The connection or Redis itself fails during an append, in both ways: *not persisted*, and *persisted, but
//! the reply was lost*. In both cases a repeat of the same event ends with exactly one entry and its effect.

use crate::support::{
    HASTY, PATIENT, appender, appender_with, config, event, trace_key, trace_of, verified_events,
};
use audit_chain::{AppendError, Effect, Event};
use redis::AsyncCommands;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use test_support::{FaultProxy, RedisServer, eventually};

fn maybe_written(answer: Result<audit_chain::Appended, AppendError>) -> bool {
    match answer {
        Err(AppendError::Unavailable { maybe_written, .. }) => maybe_written,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_that_never_reached_redis_is_written_by_a_repeat() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let appender = appender_with(&proxy.url(), HASTY, config());
    appender.append(&event("tag/0"), Effect::none()).await.unwrap();
    let lost = event("tag/1");
    proxy.stall();
    assert!(maybe_written(appender.append(&lost, trace_of(&lost)).await), "the outcome is unknown");
    proxy.cut();
    assert!(!redis.connection().await.exists::<_, bool>(trace_key(&lost)).await.unwrap());
    proxy.heal();
    let mut repeated = appender.append(&lost, trace_of(&lost)).await;
    while let Err(AppendError::Unavailable { .. }) = repeated {
        repeated = appender.append(&lost, trace_of(&lost)).await;
    }
    let repeated = repeated.unwrap();
    assert_eq!((repeated.seq, repeated.duplicate), (1, false));
    assert!(redis.connection().await.exists::<_, bool>(trace_key(&lost)).await.unwrap());
    assert_eq!(verified_events(&appender).await.len(), 2);
}

#[tokio::test]
async fn a_lost_reply_is_recovered_before_the_caller_is_answered() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let appender = appender_with(&proxy.url(), PATIENT, config());
    appender.append(&event("tag/0"), Effect::none()).await.unwrap();
    let events: Vec<Event> = (1..=5).map(|number| event(&format!("tag/{number}"))).collect();
    proxy.drop_replies_and_cut_after_next_request();
    let mut writers = tokio::task::JoinSet::new();
    for event in events.clone() {
        let appender = appender.clone();
        writers.spawn(async move { appender.append(&event, trace_of(&event)).await.unwrap() });
    }
    let answers = writers.join_all().await;
    let seqs: HashSet<u64> = answers.iter().map(|answer| answer.seq).collect();
    assert_eq!(seqs, (1..=5).collect());
    assert!(answers.iter().any(|answer| answer.duplicate), "the first call was carried out");
    assert_eq!(verified_events(&appender).await.len(), 6);
}

#[tokio::test]
async fn an_event_persisted_without_a_reply_is_found_by_a_repeat() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let appender = appender_with(&proxy.url(), HASTY, config());
    appender.append(&event("tag/0"), Effect::none()).await.unwrap();
    let unknown = event("tag/1");
    proxy.stall_replies();
    assert!(maybe_written(appender.append(&unknown, trace_of(&unknown)).await));
    assert!(redis.connection().await.exists::<_, bool>(trace_key(&unknown)).await.unwrap());
    proxy.heal();
    let repeated = appender.append(&unknown, trace_of(&unknown)).await.unwrap();
    assert_eq!((repeated.seq, repeated.duplicate), (1, true));
    assert_eq!(appender.append(&event("tag/2"), Effect::none()).await.unwrap().seq, 2);
    assert_eq!(verified_events(&appender).await.len(), 3);
}

#[tokio::test]
async fn a_late_call_does_not_write_an_event_twice() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let (slow, other) = (appender_with(&proxy.url(), HASTY, config()), appender(&redis.url()));
    slow.append(&event("tag/0"), Effect::none()).await.unwrap();
    let late = event("tag/1");
    proxy.stall();
    assert!(maybe_written(slow.append(&late, trace_of(&late)).await));
    let by_the_other = other.append(&late, trace_of(&late)).await.unwrap();
    assert_eq!((by_the_other.seq, by_the_other.duplicate), (1, false));
    proxy.heal();
    let repeated = slow.append(&late, trace_of(&late)).await.unwrap();
    assert_eq!((repeated.seq, repeated.duplicate), (1, true));
    assert_eq!(verified_events(&other).await.len(), 2);
}

#[tokio::test]
async fn an_append_to_an_unreachable_redis_is_known_not_to_be_written() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let appender = appender_with(&redis.url(), HASTY, config());
    assert!(!maybe_written(appender.append(&event("tag/0"), Effect::none()).await));
    redis.restart().await;
    eventually("the appender reconnects", Duration::from_secs(60), || async {
        appender.append(&event("tag/1"), Effect::none()).await.is_ok()
    })
    .await;
}

/// Appends until the first failure. Returns the acknowledged events and the one that failed.
async fn write_until_failure(
    appender: audit_chain::Appender,
    acknowledged: Arc<AtomicUsize>,
) -> (Vec<(u64, Event)>, Event) {
    let mut done = Vec::new();
    loop {
        let event = event("tag/1");
        match appender.append(&event, trace_of(&event)).await {
            Ok(appended) => done.push((appended.seq, event)),
            Err(_) => return (done, event),
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_keeps_every_acknowledged_event_with_its_effect() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let before = appender_with(&redis.url(), HASTY, config());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        writers.spawn(write_until_failure(before.clone(), Arc::clone(&acknowledged)));
    }
    eventually("500 events are acknowledged", Duration::from_secs(60), || async {
        acknowledged.load(Ordering::SeqCst) > 500
    })
    .await;
    redis.kill();
    let (done, open): (Vec<_>, Vec<_>) = writers.join_all().await.into_iter().unzip();
    redis.restart().await;

    let after = appender(&redis.url());
    let stored = verified_events(&after).await;
    for (seq, event) in done.into_iter().flatten() {
        assert_eq!(stored[usize::try_from(seq).unwrap()], event);
    }
    let mut direct = redis.connection().await;
    let traces: HashSet<Vec<u8>> =
        direct.keys::<_, Vec<Vec<u8>>>("trace:*").await.unwrap().into_iter().collect();
    assert_eq!(traces, stored.iter().map(trace_key).collect());

    for event in &open {
        let was_written = stored.contains(event);
        assert_eq!(after.append(event, trace_of(event)).await.unwrap().duplicate, was_written);
    }
    let all = verified_events(&after).await;
    assert!(open.iter().all(|event| all.iter().filter(|stored| *stored == event).count() == 1));
}

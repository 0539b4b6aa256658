//! Under load a second call is sent before the first is answered, chained to the head that the first is about
//! to write. However the first one ends, every event is in the chain once or its caller gets an error.

use crate::support::{PATIENT, appender, config, event, pool, trace_of, verified_events};
use ambient::{Clock, SystemClock};
use audit_chain::{AppendError, Appended, Appender, AuditMetrics, Effect, Event, Precondition};
use prometheus_client::registry::Registry;
use redis_pool::RedisPool;
use std::sync::Arc;
use std::time::Duration;
use test_support::{FaultProxy, RedisServer, eventually};
use tokio::task::JoinHandle;

/// A bound that only a hanging test reaches.
const SOON: Duration = Duration::from_secs(60);

/// An appender that has written enough calls without a race to send a second call ahead.
struct SendsAhead {
    appender: Appender,
    pool: RedisPool,
    registry: Registry,
    written: u64,
}

impl SendsAhead {
    async fn start(url: &str) -> Self {
        let mut registry = Registry::with_prefix("voketag");
        let metrics = AuditMetrics::register(&mut registry);
        let pool = pool(url, PATIENT);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let appender = Appender::start(pool.clone(), config(), clock, &metrics);
        let written = 5;
        for number in 0..written {
            appender.append(&event(&format!("tag/{number}")), Effect::none()).await.unwrap();
        }
        Self { appender, pool, registry, written }
    }

    /// Hands in one event and waits until `calls` calls are in flight.
    async fn hand_in(
        &self,
        event: &Event,
        effect: Effect,
        calls: usize,
    ) -> JoinHandle<Result<Appended, AppendError>> {
        let (appender, event) = (self.appender.clone(), event.clone());
        let answer = tokio::spawn(async move { appender.append(&event, effect).await });
        eventually("its call is in flight", SOON, || async { self.pool.stats().permits_in_use == calls })
            .await;
        answer
    }

    fn conflicts(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("voketag_audit_head_conflicts_total "));
        line.unwrap().to_owned()
    }
}

async fn seq(answer: JoinHandle<Result<Appended, AppendError>>) -> u64 {
    answer.await.unwrap().unwrap().seq
}

#[tokio::test]
async fn a_second_call_is_sent_before_the_first_is_answered() {
    let redis = RedisServer::start().await;
    let sends = SendsAhead::start(&redis.url()).await;
    let (one, two) = (event("tag/one"), event("tag/two"));
    redis.pause();
    let first = sends.hand_in(&one, trace_of(&one), 1).await;
    let second = sends.hand_in(&two, trace_of(&two), 2).await;
    redis.resume();
    assert_eq!((seq(first).await, seq(second).await), (sends.written, sends.written + 1));
    assert_eq!(verified_events(&sends.appender).await[5..], [one, two]);
    assert_eq!(sends.conflicts(), "0");
}

#[tokio::test]
async fn a_call_sent_ahead_is_repeated_after_a_rejected_one() {
    let redis = RedisServer::start().await;
    let sends = SendsAhead::start(&redis.url()).await;
    let (impossible, possible) = (event("tag/one"), event("tag/two"));
    let fails = Effect::none().check(Precondition::Equals { key: "nothing".into(), value: "there".into() });
    redis.pause();
    let first = sends.hand_in(&impossible, fails, 1).await;
    let second = sends.hand_in(&possible, trace_of(&possible), 2).await;
    redis.resume();
    assert!(matches!(first.await.unwrap(), Err(AppendError::Precondition { check: 0 })));
    assert_eq!(seq(second).await, sends.written);
    assert_eq!(verified_events(&sends.appender).await[5..], [possible]);
}

#[tokio::test]
async fn another_appender_that_is_first_only_delays_both() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let sends = SendsAhead::start(&proxy.url()).await;
    let rival = appender(&redis.url());
    let (one, two, theirs) = (event("tag/one"), event("tag/two"), event("tag/theirs"));
    proxy.stall();
    let first = sends.hand_in(&one, trace_of(&one), 1).await;
    let second = sends.hand_in(&two, trace_of(&two), 2).await;
    rival.append(&theirs, Effect::none()).await.unwrap();
    proxy.heal();
    assert_eq!((seq(first).await, seq(second).await), (sends.written + 1, sends.written + 2));
    assert_eq!(verified_events(&sends.appender).await[5..], [theirs, one, two]);
    assert_eq!(sends.conflicts(), "1");
    // While another appender competes, one call is sent at a time.
    redis.pause();
    let (third, fourth) = (event("tag/three"), event("tag/four"));
    let third = sends.hand_in(&third, Effect::none(), 1).await;
    let fourth = {
        let appender = sends.appender.clone();
        tokio::spawn(async move { appender.append(&fourth, Effect::none()).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(sends.pool.stats().permits_in_use, 1);
    redis.resume();
    assert_eq!((seq(third).await, seq(fourth).await), (sends.written + 3, sends.written + 4));
}

#[tokio::test]
async fn two_lost_replies_are_recovered() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let sends = SendsAhead::start(&proxy.url()).await;
    let (one, two) = (event("tag/one"), event("tag/two"));
    proxy.stall_replies();
    let first = sends.hand_in(&one, trace_of(&one), 1).await;
    let second = sends.hand_in(&two, trace_of(&two), 2).await;
    let direct = appender(&redis.url());
    eventually("both calls are carried out", SOON, || async {
        direct.log().head().await.is_ok_and(|head| head.size == sends.written + 2)
    })
    .await;
    proxy.cut();
    proxy.heal();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((first.seq, second.seq), (sends.written, sends.written + 1));
    assert!(first.duplicate && second.duplicate, "both calls were carried out");
    assert_eq!(verified_events(&sends.appender).await[5..], [one, two]);
}

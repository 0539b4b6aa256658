//! Under load a call is sent behind one that is not answered yet, chained to what that one is to write.
//! However the first one ends, every event is in the chain once, or its caller was told.

use crate::support::{PATIENT, appender, config, event, pool, trace_of, verified_events};
use ambient::{Clock, SystemClock};
use audit_chain::{AppendError, Appended, Appender, AuditMetrics, Effect, Event, Precondition};
use prometheus_client::registry::Registry;
use redis_pool::RedisPool;
use std::sync::Arc;
use std::time::Duration;
use test_support::{FaultProxy, RedisServer, eventually};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

/// An appender that has written enough in peace to send one call behind another.
struct Calm {
    appender: Appender,
    pool: RedisPool,
    registry: Registry,
    written: u64,
}

impl Calm {
    async fn on(url: &str) -> Self {
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

    /// Hands in one event and waits until so many calls are under way.
    async fn hand_in(
        &self,
        event: &Event,
        effect: Effect,
        calls: usize,
    ) -> JoinHandle<Result<Appended, AppendError>> {
        let (appender, event) = (self.appender.clone(), event.clone());
        let answer = tokio::spawn(async move { appender.append(&event, effect).await });
        eventually("its call is under way", SOON, || async { self.pool.stats().permits_in_use == calls })
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
async fn the_second_call_does_not_wait_for_the_first_ones_answer() {
    let redis = RedisServer::start().await;
    let calm = Calm::on(&redis.url()).await;
    let (one, two) = (event("tag/one"), event("tag/two"));
    redis.pause();
    let first = calm.hand_in(&one, trace_of(&one), 1).await;
    let second = calm.hand_in(&two, trace_of(&two), 2).await;
    redis.resume();
    assert_eq!((seq(first).await, seq(second).await), (calm.written, calm.written + 1));
    assert_eq!(verified_events(&calm.appender).await[5..], [one, two]);
    assert_eq!(calm.conflicts(), "0");
}

#[tokio::test]
async fn a_call_behind_one_that_is_refused_goes_again() {
    let redis = RedisServer::start().await;
    let calm = Calm::on(&redis.url()).await;
    let (impossible, possible) = (event("tag/one"), event("tag/two"));
    let fails = Effect::none().check(Precondition::Equals { key: "nothing".into(), value: "there".into() });
    redis.pause();
    let first = calm.hand_in(&impossible, fails, 1).await;
    let second = calm.hand_in(&possible, trace_of(&possible), 2).await;
    redis.resume();
    assert!(matches!(first.await.unwrap(), Err(AppendError::Precondition { check: 0 })));
    assert_eq!(seq(second).await, calm.written);
    assert_eq!(verified_events(&calm.appender).await[5..], [possible]);
}

#[tokio::test]
async fn a_rival_that_comes_before_both_only_delays_them() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let calm = Calm::on(&proxy.url()).await;
    let rival = appender(&redis.url());
    let (one, two, theirs) = (event("tag/one"), event("tag/two"), event("tag/theirs"));
    proxy.stall();
    let first = calm.hand_in(&one, trace_of(&one), 1).await;
    let second = calm.hand_in(&two, trace_of(&two), 2).await;
    rival.append(&theirs, Effect::none()).await.unwrap();
    proxy.heal();
    assert_eq!((seq(first).await, seq(second).await), (calm.written + 1, calm.written + 2));
    assert_eq!(verified_events(&calm.appender).await[5..], [theirs, one, two]);
    assert_eq!(calm.conflicts(), "1");
    // Among rivals one call at a time is sent: what follows waits.
    redis.pause();
    let (third, fourth) = (event("tag/three"), event("tag/four"));
    let third = calm.hand_in(&third, Effect::none(), 1).await;
    let fourth = {
        let appender = calm.appender.clone();
        tokio::spawn(async move { appender.append(&fourth, Effect::none()).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(calm.pool.stats().permits_in_use, 1);
    redis.resume();
    assert_eq!((seq(third).await, seq(fourth).await), (calm.written + 3, calm.written + 4));
}

#[tokio::test]
async fn replies_that_are_lost_to_both_are_made_good() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let calm = Calm::on(&proxy.url()).await;
    let (one, two) = (event("tag/one"), event("tag/two"));
    proxy.stall_replies();
    let first = calm.hand_in(&one, trace_of(&one), 1).await;
    let second = calm.hand_in(&two, trace_of(&two), 2).await;
    let direct = appender(&redis.url());
    eventually("both are carried out", Duration::from_secs(10), || async {
        direct.log().head().await.is_ok_and(|head| head.size == calm.written + 2)
    })
    .await;
    proxy.cut();
    proxy.heal();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((first.seq, second.seq), (calm.written, calm.written + 1));
    assert!(first.duplicate && second.duplicate, "both had been carried out");
    assert_eq!(verified_events(&calm.appender).await[5..], [one, two]);
}

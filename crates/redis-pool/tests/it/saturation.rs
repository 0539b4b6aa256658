//! More callers than permits.

use std::time::{Duration, Instant};

use redis_pool::Error;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::{echo, pool, text};

#[allow(clippy::disallowed_methods, reason = "the test measures how long callers really wait")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_redis_serves_150_callers_on_10_slots() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, 1_000);
    let calls = (0..150).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move { (n, pool.command(echo(&n.to_string())).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (n, reply) = call.await.unwrap();
        assert_eq!(text(reply.unwrap()), n.to_string());
    }
    let stats = pool.stats();
    assert_eq!((stats.permits_in_use, stats.waiting, stats.exhausted), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_overloads_and_every_caller_is_answered_within_wait_and_deadline() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 10, 2_000);
    pool.command(echo("warm")).await.unwrap();
    proxy.delay(Duration::from_millis(300));
    let calls = (0..150).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let begun = now();
            let outcome = pool.command(echo(&n.to_string())).await;
            (n, outcome, begun.elapsed())
        })
    });
    let (mut served, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        let (n, outcome, took) = call.await.unwrap();
        assert!(took < Duration::from_millis(100 + 2_000 + 500), "a caller waited {took:?}");
        match outcome {
            Ok(reply) => {
                assert_eq!(text(reply), format!("{n}"));
                served += 1;
            }
            Err(Error::Overloaded { .. }) => refused += 1,
            Err(other) => panic!("neither served nor overloaded: {other}"),
        }
    }
    assert_eq!((served, refused), (10, 140));
    assert_eq!(pool.stats().exhausted, 140);
}

#[tokio::test]
async fn running_out_of_slots_does_not_open_the_breaker() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 1, 2_000);
    pool.command(echo("warm")).await.unwrap();
    proxy.delay(Duration::from_millis(400));
    let holder = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command(echo("slow")).await }
    });
    eventually("the permit is taken", Duration::from_secs(2), || async { pool.stats().permits_in_use == 1 })
        .await;
    for _ in 0..8 {
        let crowd = (0..2).map(|_| pool.command(echo("x")));
        for refused in futures(crowd).await {
            assert!(matches!(refused, Err(Error::Overloaded { .. }) | Ok(_)), "{refused:?}");
        }
    }
    holder.await.unwrap().unwrap();
    assert_eq!(pool.stats().breaker, redis_pool::BreakerState::Closed);
}

async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    for future in all {
        outputs.push(future.await);
    }
    outputs
}

#[tokio::test]
async fn joined_slots_are_held_together_until_the_one_reply_is_read() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 5, 2_000);
    pool.command(echo("warm")).await.unwrap();
    proxy.delay(Duration::from_millis(200));
    let mut permits = pool.permit().await.unwrap();
    for _ in 0..3 {
        permits.join(pool.permit().await.unwrap());
    }
    let together = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command_with_permit(echo("together"), &permits, Duration::from_secs(2)).await }
    });
    assert_eq!(pool.stats().permits_in_use, 4);
    assert_eq!(text(together.await.unwrap().unwrap()), "together");
    assert_eq!(pool.stats().permits_in_use, 0);
    drop(pool.permit().await.unwrap());
    assert_eq!(pool.stats().permits_in_use, 0, "a permit that is not used goes back");
}

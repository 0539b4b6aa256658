//! More callers than permits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ambient::SystemClock;
use redis_pool::PoolError;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::{LONG_MS, PATIENCE, echo, patient, pool, text};

#[allow(clippy::disallowed_methods, reason = "the test measures how long callers really wait")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_redis_serves_150_callers_with_10_permits() {
    let redis = RedisServer::start().await;
    let pool = patient(&redis.url(), 10, LONG_MS, PATIENCE, Arc::new(SystemClock::new()));
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
async fn with_a_slow_redis_callers_are_rejected_after_the_wait_for_a_permit() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 10, 4 * LONG_MS);
    pool.command(echo("warm")).await.unwrap();
    proxy.stall_replies();
    let calls = (0..150).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let begun = now();
            let outcome = pool.command(echo(&n.to_string())).await;
            (n, outcome, begun.elapsed())
        })
    });
    let calls: Vec<_> = calls.collect();
    // No reply comes before the last refusal.
    eventually("all others are refused", PATIENCE, async || pool.stats().exhausted == 140).await;
    proxy.heal();
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        let (n, outcome, took) = call.await.unwrap();
        match outcome {
            Ok(reply) => {
                assert_eq!(text(reply), format!("{n}"));
                served += 1;
            }
            Err(PoolError::Overloaded { waited }) => {
                assert_eq!(waited, Duration::from_millis(100));
                assert!(took >= waited && took < PATIENCE, "a caller waited {took:?}");
                refused += 1;
            }
            Err(other) => panic!("neither served nor overloaded: {other}"),
        }
    }
    assert_eq!((served, refused), (10, 140));
}

#[tokio::test]
async fn a_lack_of_permits_does_not_open_the_breaker() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 1, LONG_MS);
    pool.command(echo("warm")).await.unwrap();
    proxy.stall_replies();
    let holder = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command(echo("slow")).await }
    });
    eventually("the permit is taken", PATIENCE, async || pool.stats().permits_in_use == 1).await;
    for _ in 0..8 {
        let refused = pool.command(echo("x")).await;
        assert!(matches!(refused, Err(PoolError::Overloaded { .. })), "{refused:?}");
    }
    proxy.heal();
    holder.await.unwrap().unwrap();
    assert_eq!(pool.stats().breaker, redis_pool::BreakerState::Closed);
}

#[tokio::test]
async fn joined_permits_are_held_until_the_reply_is_read() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 5, LONG_MS);
    pool.command(echo("warm")).await.unwrap();
    proxy.stall_replies();
    let mut permits = pool.permit().await.unwrap();
    for _ in 0..3 {
        permits.join(pool.permit().await.unwrap());
    }
    let together = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command_with_permit(echo("together"), &permits, PATIENCE).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(pool.stats().permits_in_use, 4);
    proxy.heal();
    assert_eq!(text(together.await.unwrap().unwrap()), "together");
    assert_eq!(pool.stats().permits_in_use, 0);
    drop(pool.permit().await.unwrap());
    assert_eq!(pool.stats().permits_in_use, 0, "a permit that is not used goes back");
}

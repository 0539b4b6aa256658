//! Redis stalled, cut off, restarted, or not there yet.

use std::time::Duration;

use redis_pool::{BreakerState, Error, Reason};
use test_support::{FaultProxy, RedisServer, eventually};

use crate::{echo, pool, text};

fn reason(outcome: Result<redis::Value, Error>) -> Reason {
    match outcome {
        Err(Error::Unavailable { reason, .. }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

async fn answers(pool: &redis_pool::RedisPool) -> bool {
    pool.command(echo("hello")).await.is_ok_and(|reply| text(reply) == "hello")
}

#[tokio::test]
async fn a_stalled_redis_is_a_timeout_and_five_open_the_breaker() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 100, 60);
    assert!(answers(&pool).await);
    redis.pause();
    for _ in 0..5 {
        assert!(matches!(
            reason(pool.command(echo("x")).await),
            Reason::Timeout(_) | Reason::NotConnected(_)
        ));
    }
    let rejected = pool.command(echo("x")).await;
    assert!(
        matches!(&rejected, Err(Error::Unavailable { reason: Reason::BreakerOpen, retry_after })
        if *retry_after > Duration::from_secs(7) && *retry_after <= Duration::from_secs(12)),
        "{rejected:?}"
    );
    assert_eq!(pool.stats().breaker, BreakerState::Open);
    redis.resume();
}

#[tokio::test]
async fn a_cut_link_is_told_at_once_and_mended_by_itself() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 10, 2_000);
    assert!(answers(&pool).await);
    proxy.stall_replies();
    let owed = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command(echo("owed")).await }
    });
    eventually("the command is under way", Duration::from_secs(2), || async {
        pool.stats().slots_in_use == 1
    })
    .await;
    proxy.cut();
    assert!(matches!(reason(owed.await.unwrap()), Reason::Broken(_)));
    proxy.heal();
    eventually("the pool has connected again", Duration::from_secs(10), || answers(&pool)).await;
}

#[tokio::test]
async fn a_restarted_redis_is_found_again() {
    let mut redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, 1_000);
    assert!(answers(&pool).await);
    redis.kill();
    eventually("the loss is noticed", Duration::from_secs(5), || async { pool.stats().connected == 0 }).await;
    assert!(pool.stats().trouble.is_some());
    redis.restart().await;
    eventually("the pool has connected again", Duration::from_secs(10), || answers(&pool)).await;
}

#[tokio::test]
async fn a_redis_that_comes_after_the_start_is_found_and_until_then_the_pool_says_why() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let pool = pool(&redis.url(), 10, 50);
    assert!(matches!(reason(pool.command(echo("x")).await), Reason::NotConnected(_)));
    eventually("the pool says why", Duration::from_secs(5), || async {
        pool.stats().trouble.is_some_and(|why| why.contains("refused"))
    })
    .await;
    redis.restart().await;
    eventually("the pool has connected", Duration::from_secs(10), || async { pool.stats().connected == 2 })
        .await;
    assert!(answers(&pool).await);
}

#[tokio::test]
async fn a_redis_that_is_loading_or_out_of_memory_counts_as_unavailable_and_a_fault_of_ours_does_not() {
    let redis = RedisServer::start_with(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]).await;
    let pool = pool(&redis.url(), 10, 1_000);
    let mut set = redis::cmd("SET");
    set.arg("k").arg(vec![b'x'; 3_000_000]);
    let _ = pool.command(set.clone()).await;
    assert!(matches!(reason(pool.command(set).await), Reason::Refusing("OOM")));
    for _ in 0..6 {
        let fault = pool.command(redis::cmd("NOSUCHCOMMAND")).await;
        assert!(matches!(fault, Err(Error::Server { .. })), "{fault:?}");
    }
    assert_eq!(pool.stats().breaker, BreakerState::Closed);
}

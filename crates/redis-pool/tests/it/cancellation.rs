//! Callers that are cancelled before their reply.

use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;

use redis_pool::PoolError;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::{LONG_MS, PATIENCE, echo, patient, pool, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cancelled_calls_leak_no_permit_and_mix_up_no_reply() {
    let redis = RedisServer::start().await;
    let pool = patient(&redis.url(), 16, LONG_MS, PATIENCE, Arc::new(SystemClock::new()));
    pool.command(echo("warm")).await.unwrap();
    for round in 0..100_u32 {
        let calls = (0..100_u32).map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let call = pool.command(echo(&format!("cancelled {round} {n}")));
                tokio::select! {
                    biased;
                    reply = call => assert_eq!(text(reply.unwrap()), format!("cancelled {round} {n}")),
                    () = yields(n % 7) => {}
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        let mine = format!("kept {round}");
        assert_eq!(text(pool.command(echo(&mine)).await.unwrap()), mine);
    }
    eventually("all permits are free again", PATIENCE, || async {
        let stats = pool.stats();
        stats.permits_in_use == 0 && stats.waiting == 0
    })
    .await;
}

async fn yields(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_permit_stays_acquired_until_the_reply_is_read_even_if_the_caller_was_cancelled() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 2, LONG_MS);
    pool.command(echo("warm")).await.unwrap();
    proxy.stall_replies();
    let left = tokio::time::timeout(Duration::from_millis(20), pool.command(echo("left"))).await;
    assert!(left.is_err(), "the caller was to leave before the reply");
    assert_eq!(pool.stats().permits_in_use, 1);
    proxy.heal();
    eventually("the reply is read and the permit free", PATIENCE, async || pool.stats().permits_in_use == 0)
        .await;
}

#[tokio::test]
async fn a_connection_that_owes_a_reply_too_long_is_closed_and_its_permits_are_released() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 4, 100);
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    proxy.stall();
    let stuck = pool.command(echo("stuck")).await;
    // Nothing else of this runtime has run since the caller gave up.
    assert_eq!(pool.stats().permits_in_use, 1, "what is in the pipe still counts");
    assert!(matches!(stuck, Err(PoolError::Unavailable { .. })), "{stuck:?}");
    eventually("the silent connection is closed", PATIENCE, async || pool.stats().permits_in_use == 0).await;
    assert!(pool.stats().connected < 2, "no new one is up while nothing passes");
    proxy.heal();
}

#[tokio::test]
async fn a_connection_that_stays_silent_is_closed() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 4, 100);
    // The first handle is on the first connection and the second on the second only if both are up before.
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    redis.pause();
    for _ in 0..2 {
        // What is owed keeps its handle, so the second command takes the other connection.
        assert!(pool.command(echo("stuck")).await.is_err());
    }
    // Nothing else can take them down: the server's end stays open.
    eventually("both are closed", PATIENCE, async || pool.stats().connected == 0).await;
    redis.resume();
}

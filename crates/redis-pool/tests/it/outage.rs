//! Redis stalled, cut off, restarted, or not there yet.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, ManualClock, SystemClock};
use redis_pool::{BreakerState, PoolError, UnavailableReason};
use test_support::{FaultProxy, RedisServer, eventually};

use crate::{LONG_MS, PATIENCE, echo, patient, pool, text};

fn reason(outcome: Result<redis::Value, PoolError>) -> UnavailableReason {
    match outcome {
        Err(PoolError::Unavailable { reason, .. }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

async fn answers(pool: &redis_pool::RedisPool) -> bool {
    pool.command(echo("hello")).await.is_ok_and(|reply| text(reply) == "hello")
}

#[tokio::test]
async fn a_stalled_redis_is_a_timeout_and_five_open_the_breaker() {
    let redis = RedisServer::start().await;
    // On its clock no time passes between the last failure and the look at the breaker.
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let pool = patient(&redis.url(), 100, 60, PATIENCE, clock);
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    redis.pause();
    for _ in 0..5 {
        // On a busy machine the silent connection is closed before the fifth call has waited.
        let reason = reason(pool.command(echo("x")).await);
        assert!(
            matches!(
                reason,
                UnavailableReason::Timeout(_)
                    | UnavailableReason::NotConnected(_)
                    | UnavailableReason::Broken(_)
            ),
            "{reason}"
        );
    }
    let rejected = pool.command(echo("x")).await;
    assert!(
        matches!(
            &rejected,
            Err(PoolError::Unavailable { reason: UnavailableReason::BreakerOpen, retry_after })
                if *retry_after >= Duration::from_secs(8) && *retry_after <= Duration::from_secs(12)
        ),
        "{rejected:?}"
    );
    assert_eq!(pool.stats().breaker, BreakerState::Open);
    redis.resume();
}

#[tokio::test]
async fn a_lost_connection_is_reported_at_once_and_replaced_automatically() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let pool = pool(&proxy.url(), 10, LONG_MS);
    assert!(answers(&pool).await);
    proxy.stall_replies();
    let owed = tokio::spawn({
        let pool = pool.clone();
        async move { pool.command(echo("owed")).await }
    });
    eventually("the command is under way", PATIENCE, || async { pool.stats().permits_in_use == 1 }).await;
    proxy.cut();
    assert!(matches!(reason(owed.await.unwrap()), UnavailableReason::Broken(_)));
    proxy.heal();
    eventually("the pool has connected again", PATIENCE, || answers(&pool)).await;
}

#[tokio::test]
async fn a_restarted_redis_is_found_again() {
    let mut redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    assert!(answers(&pool).await);
    redis.kill();
    eventually("the loss is noticed", PATIENCE, || async { pool.stats().connected == 0 }).await;
    assert!(pool.stats().last_error.is_some());
    redis.restart().await;
    eventually("the pool has connected again", PATIENCE, || answers(&pool)).await;
}

#[tokio::test]
async fn a_redis_that_starts_later_is_found_and_until_then_stats_name_the_reason() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let pool = pool(&redis.url(), 10, 50);
    assert!(matches!(reason(pool.command(echo("x")).await), UnavailableReason::NotConnected(_)));
    eventually("the pool says why", PATIENCE, || async {
        pool.stats().last_error.is_some_and(|why| why.contains("refused"))
    })
    .await;
    redis.restart().await;
    eventually("the pool has connected", PATIENCE, || async { pool.stats().connected == 2 }).await;
    eventually("it answers", PATIENCE, || answers(&pool)).await;
}

/// A write that a Redis in no state to serve refuses.
fn write() -> redis::Cmd {
    let mut set = redis::cmd("SET");
    set.arg("k").arg(vec![b'x'; 3_000_000]);
    set
}

/// Five refusals in a row open the breaker.
async fn assert_opened_by(pool: &redis_pool::RedisPool, code: &str) {
    for _ in 0..5 {
        let reason = reason(pool.command(write()).await);
        assert!(matches!(reason, UnavailableReason::Refusing(refusal) if refusal == code), "{reason}");
    }
    assert!(matches!(reason(pool.command(write()).await), UnavailableReason::BreakerOpen));
}

#[tokio::test]
async fn a_redis_out_of_memory_opens_the_breaker_and_a_wrong_command_does_not() {
    let redis = RedisServer::start_with(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]).await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    let _ = pool.command(write()).await;
    for _ in 0..6 {
        let fault = pool.command(redis::cmd("NOSUCHCOMMAND")).await;
        assert!(matches!(fault, Err(PoolError::Server { .. })), "{fault:?}");
    }
    assert_eq!(pool.stats().breaker, BreakerState::Closed);
    assert_opened_by(&pool, "OOM").await;
}

#[tokio::test]
async fn a_replica_opens_the_breaker() {
    let redis = RedisServer::start().await;
    // Each write but the first waits for another server until its deadline.
    let pool = pool(&redis.url(), 10, 1_000);
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    let mut replicate = redis::cmd("REPLICAOF");
    let () = replicate.arg("127.0.0.1").arg(1).query_async(&mut redis.connection().await).await.unwrap();
    assert_opened_by(&pool, "READONLY").await;
}

#[tokio::test]
async fn a_redis_that_asks_for_a_password_all_at_once_is_unavailable_until_it_no_longer_does() {
    let redis = RedisServer::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pool = patient(&redis.url(), 10, 1_000, PATIENCE, Arc::clone(&clock));
    eventually("it answers", PATIENCE, || answers(&pool)).await;
    let mut direct = redis.connection().await;
    let set = async |link: &mut redis::aio::MultiplexedConnection, password: &str| {
        let mut set = redis::cmd("CONFIG");
        let () = set.arg("SET").arg("requirepass").arg(password).query_async(link).await.unwrap();
    };
    let connections = async |link: &mut redis::aio::MultiplexedConnection| -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query_async(link).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    };
    set(&mut direct, "sesame").await;
    let since = clock.monotonic();
    let before = connections(&mut direct).await;
    let mut kill = redis::cmd("CLIENT");
    let () = kill
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .query_async(&mut direct)
        .await
        .unwrap();
    let says_why = || async { pool.stats().last_error.is_some_and(|why| why.contains("NOAUTH")) };
    eventually("the pool says why", PATIENCE, says_why).await;
    let refused = pool.command(echo("x")).await;
    assert!(matches!(reason(refused), UnavailableReason::NotConnected(_)));
    // Two links, each with pauses that grow from 50 ms to 2 s: not one attempt for each command.
    for _ in 0..200 {
        let _ = pool.command_within(echo("x"), Duration::from_millis(1)).await;
    }
    let attempts = connections(&mut direct).await - before;
    let took = (clock.monotonic() - since).as_secs();
    assert!(attempts < 40 + 4 * took, "{attempts} attempts in {took} s");
    set(&mut direct, "").await;
    eventually("the pool has connected again", PATIENCE, || answers(&pool)).await;
}

#[tokio::test]
async fn callers_that_wait_for_a_connection_take_the_first_that_comes_up() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let pool = pool(&redis.url(), 10, 10_000);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { answers(&pool).await })
        })
        .collect();
    redis.restart().await;
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
}

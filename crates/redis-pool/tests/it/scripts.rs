//! Scripts by digest.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, ManualClock};
use redis_pool::{BreakerState, PoolError, Script, UnavailableReason};
use test_support::{RedisServer, eventually};

use crate::{LONG_MS, PATIENCE, patient, pool};

#[tokio::test]
async fn a_script_runs_once_although_redis_has_forgotten_it() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    let script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for round in 1..=50_i64 {
        let sum: i64 = script.invoke().key("sum").arg(2).run(&pool).await.unwrap();
        assert_eq!(sum, round * 2, "each call runs exactly once");
        if round % 5 == 0 {
            pool.command(redis::cmd("SCRIPT").arg("FLUSH").clone()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn binary_keys_and_arguments_pass_unchanged() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    let bytes: Vec<u8> = (0..=255).collect();
    let script = Script::new("echo", "return {KEYS[1], ARGV[1], #ARGV}");
    let (key, arg, count): (Vec<u8>, Vec<u8>, i64) =
        script.invoke().key(&bytes[..]).arg(&bytes[..]).arg("").run(&pool).await.unwrap();
    assert_eq!((key, arg, count), (bytes.clone(), bytes, 2));
}

#[tokio::test]
async fn a_script_error_and_a_reply_of_another_form_are_different_errors() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    let broken: Result<i64, _> = Script::new("broken", "return nil + 1").invoke().run(&pool).await;
    assert!(matches!(broken, Err(PoolError::Server { .. })), "{broken:?}");
    let shape: Result<i64, _> = Script::new("text", "return 'no number'").invoke().run(&pool).await;
    assert!(matches!(shape, Err(PoolError::Reply { .. })), "{shape:?}");
}

#[tokio::test]
async fn the_wait_for_a_permit_does_not_shorten_the_deadline_of_a_script() {
    let redis = RedisServer::start().await;
    let clock = Arc::new(ManualClock::new());
    let pool = patient(&redis.url(), 1, LONG_MS, PATIENCE, Arc::clone(&clock) as Arc<dyn Clock>);
    let permit = pool.permit().await.unwrap();
    let call = tokio::spawn({
        let pool = pool.clone();
        async move { Script::new("one", "return 1").invoke().run::<i64>(&pool).await }
    });
    eventually("the call waits", PATIENCE, || async { pool.stats().waiting == 1 }).await;
    // What the call spends waiting: counted from there, nothing would be left for the call with the source.
    clock.advance(Duration::from_secs(10));
    drop(permit);
    assert_eq!(call.await.unwrap().unwrap(), 1);
    assert_eq!(pool.stats().permits_in_use, 0);
}

#[tokio::test]
async fn a_forgotten_script_counts_as_neither_success_nor_failure() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS);
    redis.tell("CONFIG SET maxmemory 1").await;
    for round in 0..5 {
        // Each is a script of its own, so each is answered NOSCRIPT first.
        let source = format!("return redis.call('SET', 'k', {round})");
        let refused = Script::new("set", source).invoke().run::<i64>(&pool).await;
        assert!(matches!(
            refused,
            Err(PoolError::Unavailable { reason: UnavailableReason::Refusing("OOM"), .. })
        ));
    }
    assert_eq!(pool.stats().breaker, BreakerState::Open);
    let at_once = pool.permit().await;
    assert!(
        matches!(at_once, Err(PoolError::Unavailable { reason: UnavailableReason::BreakerOpen, .. })),
        "nobody waits for a permit"
    );
}

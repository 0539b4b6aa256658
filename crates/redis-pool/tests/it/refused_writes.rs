//! A Redis that refuses writes and goes on reading.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use redis_pool::{BreakerState, PoolConfig, PoolError, PoolMetrics, RedisPool};
use test_support::{RedisServer, WriteRefusal, eventually};

use crate::PATIENCE;

const KEYS: &[&str] =
    &["vt1:write-probe", "vt1:write-probe:list", "vt1:write-probe:hash", "vt1:write-probe:zset"];

/// A pool whose breaker is open for a second at a time.
fn watched(url: &str) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().expect("a url"),
        permits: NonZeroUsize::new(10).expect("not zero"),
        connections: NonZeroUsize::new(2).expect("not zero"),
        wait: PATIENCE,
        command_timeout: Duration::from_secs(1),
        open_for: Duration::from_secs(1),
    };
    let pool = RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default());
    pool.watch_writes(KEYS);
    pool
}

async fn write(pool: &RedisPool) -> Result<redis::Value, PoolError> {
    pool.command(redis::cmd("SET").arg("vt1:k").arg("v").clone()).await
}

async fn read(pool: &RedisPool) -> Result<redis::Value, PoolError> {
    pool.command(redis::cmd("GET").arg("vt1:k").clone()).await
}

async fn in_state(refusal: WriteRefusal) {
    let redis = RedisServer::start().await;
    let pool = watched(&redis.with_documented_rights().await);
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    write(&pool).await.expect("a write");
    refusal.begin(&redis).await;
    let connections = redis.info_number("total_connections_received").await;
    // Between two writes there are reads, which succeed, but on what has become a replica.
    eventually("the breaker is open", PATIENCE, async || {
        let written = write(&pool).await;
        assert!(written.is_err(), "{refusal:?}: {written:?}");
        let _ = read(&pool).await;
        let _ = read(&pool).await;
        pool.stats().breaker == BreakerState::Open
    })
    .await;
    assert_eq!(pool.stats().refuses_writes, Some(refusal.code()));
    // This look is one connection more.
    let made = redis.info_number("total_connections_received").await - connections - 1;
    let leads_elsewhere = matches!(refusal, WriteRefusal::Replica | WriteRefusal::NoReplicas);
    assert_eq!(made > 0, leads_elsewhere, "{refusal:?}: {made} connections");
    // Half-open, reads alone do not close it.
    let clock = SystemClock::new();
    while clock.monotonic() < Duration::from_secs(3) {
        let _ = read(&pool).await;
        assert_ne!(pool.stats().breaker, BreakerState::Closed, "{refusal:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    refusal.end(&redis).await;
    eventually("writes succeed again", PATIENCE, async || write(&pool).await.is_ok()).await;
    eventually("it is known", PATIENCE, async || {
        pool.stats().refuses_writes.is_none() && pool.stats().breaker == BreakerState::Closed
    })
    .await;
    let mut direct = redis.connection().await;
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut direct).await.expect("keys");
    assert_eq!(left, ["vt1:k"], "a probe leaves nothing");
    if refusal != WriteRefusal::Rights {
        let refused = redis.refused_for_want_of_rights().await;
        assert!(refused.is_empty(), "the documented rights suffice: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_writes_open_the_breaker_whatever_reads_do_and_its_probe_is_a_write() {
    let states = WriteRefusal::ALL.map(|refusal| tokio::spawn(in_state(refusal)));
    for state in states {
        state.await.unwrap();
    }
}

#[tokio::test]
async fn it_is_noticed_by_a_pool_that_is_not_used() {
    let redis = RedisServer::start().await;
    let pool = watched(&redis.url());
    write(&pool).await.unwrap();
    redis.tell("CONFIG SET maxmemory 1").await;
    let noticed = async || pool.stats().refuses_writes == Some("OOM");
    eventually("it is noticed", PATIENCE, noticed).await;
    redis.tell("CONFIG SET maxmemory 0").await;
    eventually("so is the end of it", PATIENCE, async || pool.stats().refuses_writes.is_none()).await;
}

#[tokio::test]
async fn a_user_that_may_not_read_settings_may_write() {
    let redis = RedisServer::start().await;
    let url = redis.with_documented_rights().await;
    redis.tell("ACL SETUSER voketag -config").await;
    let pool = watched(&url);
    for _ in 0..8 {
        let refused = pool.command(redis::cmd("CONFIG").arg("GET").arg("maxmemory").clone()).await;
        assert!(matches!(refused, Err(PoolError::Server { .. })), "{refused:?}");
    }
    write(&pool).await.unwrap();
    assert_eq!((pool.stats().refuses_writes, pool.stats().breaker), (None, BreakerState::Closed));
}

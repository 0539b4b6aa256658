//! A primary that is demoted and lives on: its connections are left for those of its successor.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ambient::{Clock, SystemClock};
use redis_pool::{BreakerState, PoolConfig, PoolError, PoolMetrics, RedisPool, UnavailableReason};
use test_support::{Failover, FaultProxy, RedisServer, eventually};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::{LONG_MS, PATIENCE, config, echo, patient, pool};

const KEYS: &[&str] = &["vt1:write-probe"];
/// No test lasts as long, so a breaker that has opened is closed by nothing but another server.
const FOR_GOOD: Duration = Duration::from_hours(24);

async fn write(pool: &RedisPool) -> Result<redis::Value, PoolError> {
    pool.command(redis::cmd("SET").arg("k").arg("v").clone()).await
}

async fn port_behind(pool: &RedisPool) -> Option<String> {
    let asked = pool.command(redis::cmd("CONFIG").arg("GET").arg("port").clone()).await.ok()?;
    redis::from_redis_value::<HashMap<String, String>>(asked).expect("a map").remove("port")
}

async fn writes_until_the_breaker_opens(pool: &RedisPool) {
    eventually("the breaker is open", PATIENCE, async || {
        let written = write(pool).await;
        assert!(written.is_err(), "a replica took a write: {written:?}");
        pool.stats().breaker == BreakerState::Open
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_is_left_for_its_successor_which_starts_with_a_closed_breaker() {
    let mut redis = Failover::of(RedisServer::start().await).await;
    let config =
        PoolConfig { open_for: FOR_GOOD, ..config(redis.proxy.url().parse().expect("a url"), 10, 1_000) };
    let pool = RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default());
    pool.watch_writes(KEYS);
    eventually("it is written", PATIENCE, async || write(&pool).await.is_ok()).await;
    // And back again.
    for _ in 0..2 {
        redis.demote().await;
        writes_until_the_breaker_opens(&pool).await;
        assert_eq!(pool.stats().refuses_writes, Some("READONLY"));
        redis.promote().await;
        eventually("writes reach the successor", PATIENCE, async || write(&pool).await.is_ok()).await;
        assert_eq!((pool.stats().breaker, pool.stats().refuses_writes), (BreakerState::Closed, None));
        for _ in 0..50 {
            write(&pool).await.expect("no connection to the former primary is used");
        }
    }
}

#[tokio::test]
async fn a_successor_is_found_by_a_pool_that_writes_nothing_itself() {
    let (successor, demoted) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(demoted.addr()).await;
    let pool = pool(&proxy.url(), 10, 1_000);
    pool.watch_writes(KEYS);
    eventually("it answers", PATIENCE, async || pool.command(echo("x")).await.is_ok()).await;
    proxy.lead_to(successor.addr());
    demoted.tell("REPLICAOF 127.0.0.1 1").await;
    let port = Some(successor.port().to_string());
    eventually("the successor answers", PATIENCE, async || port_behind(&pool).await == port).await;
}

/// Reads, on a pool that tries no writes, until the server behind the proxy answers `code`, and then another
/// server takes over.
async fn left_by_a_read(code: &'static str, make_it_answer_that: impl AsyncFnOnce(&RedisServer)) {
    let (successor, former) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(former.addr()).await;
    let pool = pool(&proxy.url(), 10, LONG_MS);
    let read = async || pool.command(redis::cmd("GET").arg("k").clone()).await;
    read().await.expect("a read");
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    make_it_answer_that(&former).await;
    // The links that are open lead on to the former.
    proxy.lead_to(successor.addr());
    let refused = read().await;
    let is_refused = matches!(
        &refused,
        Err(PoolError::Unavailable { reason: UnavailableReason::Refusing(told), .. }) if *told == code
    );
    assert!(is_refused, "{code}: {refused:?}");
    // One read was refused on one connection: the other is left because the new one leads to another server.
    let port = Some(successor.port().to_string());
    eventually("the successor answers", PATIENCE, async || port_behind(&pool).await == port).await;
    eventually("both are up again", PATIENCE, async || pool.stats().connected == 2).await;
    for _ in 0..20 {
        assert_eq!(port_behind(&pool).await, port, "{code}");
    }
}

#[tokio::test]
async fn a_replica_without_its_primary_is_left_by_a_pool_that_only_reads() {
    left_by_a_read("MASTERDOWN", async |redis| {
        redis.tell("CONFIG SET replica-serve-stale-data no").await;
        redis.tell("REPLICAOF 127.0.0.1 1").await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_left() {
    left_by_a_read("LOADING", async |redis| {
        // A millisecond for each key: longer than the test lasts.
        redis.tell("DEBUG POPULATE 100000").await;
        redis.tell("CONFIG SET key-load-delay 1000").await;
        redis.tell("CONFIG SET loading-process-events-interval-bytes 1024").await;
        let mut link = redis.connection().await;
        tokio::spawn(async move {
            let _ = redis::cmd("DEBUG").arg("RELOAD").query_async::<redis::Value>(&mut link).await;
        });
        eventually("it loads", PATIENCE, async || {
            let mut look = redis.connection().await;
            let info = redis::cmd("INFO").arg("persistence").query_async::<String>(&mut look).await;
            info.is_ok_and(|info| info.contains("\nloading:1"))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stays_a_replica_is_connected_to_at_a_bounded_rate() {
    let redis = RedisServer::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pool = patient(&redis.url(), 10, 1_000, PATIENCE, Arc::clone(&clock));
    pool.watch_writes(KEYS);
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    let mut look = redis.connection().await;
    let mut attempts = async || -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut look).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    };
    redis.tell("REPLICAOF 127.0.0.1 1").await;
    let (since, before) = (clock.monotonic(), attempts().await);
    let (mut seen, mut took) = (0, Duration::ZERO);
    while seen < 12 || took < Duration::from_secs(4) {
        let _ = write(&pool).await;
        seen = attempts().await - before;
        took = clock.monotonic() - since;
        // Two links, each with pauses that grow from 50 ms to 2 s, less at most 60 %.
        assert!(seen < 30 + 3 * took.as_secs(), "{seen} attempts in {took:?}");
        assert!(took < PATIENCE, "only {seen} attempts");
    }
    redis.tell("REPLICAOF NO ONE").await;
    eventually("writes succeed again", PATIENCE, async || write(&pool).await.is_ok()).await;
}

/// A port that leads each connection to the next of `servers`, and how many it has taken.
async fn in_turn(servers: [SocketAddr; 3]) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (addr, taken) = (listener.local_addr().expect("it is bound"), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        for server in servers.into_iter().cycle() {
            let Ok((mut client, _)) = listener.accept().await else { return };
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (addr, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_primaries_behind_one_name_are_connected_to_at_a_bounded_rate() {
    // Of two, both connections could come to lead to the same one.
    let servers = (RedisServer::start().await, RedisServer::start().await, RedisServer::start().await);
    let (addr, taken) = in_turn([servers.0.addr(), servers.1.addr(), servers.2.addr()]).await;
    let clock = SystemClock::new();
    let pool = pool(&format!("redis://{addr}"), 10, 1_000);
    // Each new connection leads to another server than the last, which the pool takes for a failover.
    eventually("some connections were made", PATIENCE, async || {
        let (attempts, took) = (taken.load(Ordering::Relaxed), clock.monotonic());
        assert!(attempts < 40 + 3 * took.as_secs(), "{attempts} attempts in {took:?}");
        attempts >= 4 && took > Duration::from_secs(4)
    })
    .await;
    drop(pool);
}

#[tokio::test]
async fn what_a_retired_connection_owes_is_still_read() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, LONG_MS).in_order();
    eventually("both are up", PATIENCE, async || pool.stats().connected == 2).await;
    let warm = tokio::join!(pool.command(echo("a")), pool.command(echo("b")));
    assert!(warm.0.is_ok() && warm.1.is_ok(), "{warm:?}");
    redis.tell("REPLICAOF 127.0.0.1 1").await;
    let mut slow = redis::cmd("XREAD");
    // Is behind the refused write on the same connection, and answered (with nothing) half a second later.
    slow.arg(&["BLOCK", "500", "STREAMS", "nothing", "$"]);
    let refused = async { (write(&pool).await, pool.stats().draining) };
    let ((refused, draining), slow) = tokio::join!(biased; refused, pool.command(slow));
    assert_eq!(draining, 1, "the connection is open until the reply is read");
    assert!(matches!(
        refused,
        Err(PoolError::Unavailable { reason: UnavailableReason::Refusing("READONLY"), .. })
    ));
    assert_eq!(slow.expect("its reply is read"), redis::Value::Nil);
    redis.tell("REPLICAOF NO ONE").await;
    // A permit that still has the old connection lets go of it at its next use.
    let is_closed = async || pool.command(echo("c")).await.is_ok() && pool.stats().draining == 0;
    eventually("the connection is closed", PATIENCE, is_closed).await;
}

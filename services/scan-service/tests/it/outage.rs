//! The durable Redis is unavailable, slow or rejects commands: a scan is 503, and never served from memory.

use std::sync::Arc;
use std::time::Duration;

use ambient::ManualClock;
use serde_json::json;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::app::{App, WAIT_LIMIT, open, open_at, spawn, spawn_with_clock};
use crate::shop::Shop;

const SHORT_TIMEOUT: (&str, &str) = ("REDIS_COMMAND_TIMEOUT_MS", "500");
const BREAKER: &str = "voketag_circuit_breaker_state{pool=\"durable\"}";
const CLOSED: u64 = 0;
const OPEN: u64 = 2;

async fn scan_succeeds(app: &App, shop: &Shop) -> bool {
    app.scan(shop.tag(0)).await.status == 200
}

#[tokio::test]
async fn a_scan_is_rejected_although_its_batch_is_cached() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[SHORT_TIMEOUT]).await;
    for _ in 0..2 {
        assert!(scan_succeeds(&app, &shop).await);
    }
    shop.redis.kill();
    for _ in 0..3 {
        let rejected = app.scan(shop.tag(0)).await;
        rejected.assert_problem(503, "redis-unavailable");
        assert!((1..=12).contains(&rejected.retry_after()), "{}", rejected.retry_after());
        assert!(!rejected.has_rate());
    }
    app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(503);
    app.get("/v1/region").await.assert_problem(503, "redis-unavailable");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(503, "redis-unavailable");
    assert_eq!(app.scans("unavailable").await, 4);
}

#[tokio::test]
async fn the_breaker_opens_and_closes_again_by_probes() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let clock = Arc::new(ManualClock::new());
    clock.set_unix_millis(1_771_243_200_000);
    let url = proxy.url();
    let app = spawn_with_clock(&[("REDIS_URL", url.as_str()), SHORT_TIMEOUT], clock.clone()).await;
    eventually("the first scan passes", WAIT_LIMIT, || scan_succeeds(&app, &shop)).await;
    assert_eq!(app.metric(BREAKER).await, CLOSED);

    proxy.cut();
    eventually("the breaker is open", WAIT_LIMIT, || async {
        app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
        app.metric(BREAKER).await == OPEN
    })
    .await;
    let rejected = app.scan(shop.tag(0)).await;
    rejected.assert_problem(503, "redis-unavailable");
    assert!((8..=12).contains(&rejected.retry_after()), "10 s ± 20 %: {}", rejected.retry_after());

    proxy.heal();
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    assert_eq!(app.metric(BREAKER).await, OPEN, "the breaker stays open until its time is over");
    eventually("probes close the breaker", WAIT_LIMIT, || async {
        // A probe before the connection is restored opens the breaker again.
        clock.advance(Duration::from_secs(12));
        app.scan(shop.tag(0)).await;
        app.metric(BREAKER).await == CLOSED
    })
    .await;
    assert!(scan_succeeds(&app, &shop).await);
}

#[tokio::test]
async fn a_stalled_redis_fails_at_the_command_timeout() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let app = open_at(&proxy.url(), &[SHORT_TIMEOUT]).await;
    assert!(scan_succeeds(&app, &shop).await);
    proxy.stall();
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    let not_ready = app.get("/v1/ready").await;
    not_ready.assert_problem(503, "not-ready");
    proxy.heal();
    eventually("scans pass again", WAIT_LIMIT, || scan_succeeds(&app, &shop)).await;
}

#[tokio::test]
async fn a_paused_redis_is_unavailable_until_it_resumes() {
    let shop = Shop::open().await;
    let app = open(&shop, &[SHORT_TIMEOUT]).await;
    shop.redis.pause();
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    shop.redis.resume();
    eventually("scans pass again", WAIT_LIMIT, || scan_succeeds(&app, &shop)).await;
}

#[tokio::test]
async fn the_service_waits_for_a_redis_that_is_absent_at_the_start() {
    let mut shop = Shop::open_in(RedisServer::start_with(&["--appendonly", "yes"]).await).await;
    shop.redis.kill();
    let app = spawn(&[("REDIS_URL", &shop.redis.url()), SHORT_TIMEOUT]).await;
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(503, "redis-unavailable");
    app.get("/v1/ready").await.assert_problem(503, "not-ready");
    assert_eq!(app.get("/v1/health").await.status, 200);
    shop.redis.restart().await;
    app.until_ready().await;
    assert!(scan_succeeds(&app, &shop).await);
}

#[tokio::test]
async fn a_redis_that_rejects_commands_is_unavailable_and_not_lost_state() {
    // A replica that never reached its master responds MASTERDOWN to all commands. Its role is checked
    // earlier.
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    for words in [&["CONFIG", "SET", "replica-serve-stale-data", "no"][..], &["REPLICAOF", "127.0.0.1", "1"]]
    {
        let mut command = redis::cmd(words[0]);
        let () = command.arg(&words[1..]).query_async(&mut connection).await.unwrap();
    }
    let app = spawn(&[("REDIS_URL", &redis.url())]).await;
    let shop = Shop::open().await;
    eventually("readiness states the reason", WAIT_LIMIT, || async {
        let body = app.get("/v1/ready").await.text;
        body.contains("READONLY: the server is a replica")
    })
    .await;
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(503, "redis-unavailable");
}

#[tokio::test]
async fn health_needs_no_dependency() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    shop.redis.kill();
    let alive = app.get("/v1/health").await;
    assert_eq!(alive.verdict()["status"], "alive");
}

//! Limiters in separate Redis servers, and what holds while one of them is unavailable.

use reqwest::Method;
use serde_json::json;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::app::{App, WAIT_LIMIT, open, open_at, send};
use crate::shop::{Shop, keys};

/// Short timeouts, so that an outage shows soon.
const SHORT_TIMEOUT: [(&str, &str); 1] = [("REDIS_COMMAND_TIMEOUT_MS", "500")];

async fn check(app: &App, name: &str) -> (u16, serde_json::Value) {
    let answer = app.get("/v1/ready").await;
    let body = answer.json();
    let row = body["checks"].as_array().unwrap().iter().find(|row| row["name"] == name);
    (answer.status, row.unwrap_or_else(|| panic!("no {name} in {body}")).clone())
}

#[tokio::test]
async fn limiter_state_is_in_the_limiter_redis() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let settings = [("RATE_LIMIT_REDIS_URL", limiter.url()), ("RATE_LIMIT_IP_PER_MINUTE", "2".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().remaining, 1);
    assert_eq!(app.scan(shop.tag(0)).await.rate().remaining, 0);
    let denied = app.scan(shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    assert!(denied.rate().reset_after > 0);
    assert_eq!(keys(&limiter, "vtrl1:*").await.len(), 2, "the birth record and one caller");
    assert_eq!(keys(&shop.redis, "vtrl1:*").await, Vec::<String>::new());
    let (status, row) = check(&app, "limiter_redis").await;
    assert_eq!((status, row), (200, json!({"name": "limiter_redis", "ok": true})));
}

#[tokio::test]
async fn without_the_limiter_a_scan_is_rejected_and_counts_nothing() {
    let (shop, mut limiter) = (Shop::open().await, RedisServer::start().await);
    let url = limiter.url();
    let app = open(&shop, &[("RATE_LIMIT_REDIS_URL", url.as_str()), SHORT_TIMEOUT[0]]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    limiter.kill();
    for _ in 0..3 {
        let rejected = app.scan(shop.tag(0)).await;
        rejected.assert_problem(503, "redis-unavailable");
        assert!(!rejected.has_rate());
    }
    app.post_json("/v1/report", &json!({"tag_id": shop.tag(0).to_string(), "reason": "other"}))
        .await
        .assert_problem(503, "redis-unavailable");
    let (status, row) = check(&app, "limiter_redis").await;
    assert_eq!((status, &row["ok"]), (503, &json!(false)), "{row}");
    limiter.restart().await;
    eventually("scans pass again", WAIT_LIMIT, || async { app.scan(shop.tag(0)).await.status == 200 }).await;
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 3, "rejected scans were not counted");
}

#[tokio::test]
async fn a_limiter_that_does_not_respond_is_not_ready() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let proxy = FaultProxy::start(limiter.addr()).await;
    let app = open(&shop, &[("RATE_LIMIT_REDIS_URL", proxy.url().as_str()), SHORT_TIMEOUT[0]]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    proxy.stall();
    app.scan(shop.tag(0)).await.assert_problem(503, "redis-unavailable");
    let (status, row) = check(&app, "limiter_redis").await;
    assert_eq!((status, &row["ok"]), (503, &json!(false)), "{row}");
    proxy.heal();
    app.until_ready().await;
}

#[tokio::test]
async fn the_fallback_limits_in_the_process() {
    let (shop, mut limiter) = (Shop::open().await, RedisServer::start().await);
    let url = limiter.url();
    let settings = [
        ("RATE_LIMIT_REDIS_URL", url.as_str()),
        ("RATE_LIMIT_ON_REDIS_DOWN", "local"),
        ("RATE_LIMIT_IP_PER_MINUTE", "6"),
        SHORT_TIMEOUT[0],
    ];
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 6);
    limiter.kill();
    for remaining in [2, 1, 0] {
        let answer = app.scan(shop.tag(0)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!((answer.rate().quota, answer.rate().remaining), (3, remaining), "the cold-start size");
    }
    let denied = app.scan(shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    assert!((1..=60).contains(&denied.retry_after()));
    let (status, row) = check(&app, "limiter_redis").await;
    assert_eq!((status, &row["ok"], &row["warn"]), (200, &json!(true), &json!(true)), "{row}");
}

#[tokio::test]
async fn the_global_limit_denies_across_regions_and_returns_the_regional_quota() {
    let (shop, global) = (Shop::open().await, RedisServer::start().await);
    let url = global.url();
    let settings =
        |region| [("REGION", region), ("GLOBAL_REDIS_URL", url.as_str()), ("RATE_LIMIT_IP_PER_MINUTE", "2")];
    let (a, b, c) = (
        open(&shop, &settings("a")).await,
        open(&shop, &settings("b")).await,
        open(&shop, &settings("c")).await,
    );
    for (app, left) in [(&a, 3), (&a, 2), (&b, 1), (&b, 0)] {
        let rates = app.scan(shop.tag(0)).await.rates();
        assert_eq!(rates.iter().map(|rate| rate.name.as_str()).collect::<Vec<_>>(), ["ip", "global"]);
        assert_eq!((rates[1].quota, rates[1].remaining), (4, left), "twice the regional limit");
    }
    for _ in 0..3 {
        let denied = c.scan(shop.tag(0)).await;
        denied.assert_problem(429, "rate-limited");
        let rates = denied.rates();
        assert_eq!((rates[0].remaining, rates[1].remaining), (2, 0), "the region's quota was returned");
        assert!((1..=60).contains(&denied.retry_after()));
    }
    let denied = a.scan(shop.tag(0)).await;
    assert_eq!(
        (denied.status, denied.rates().len()),
        (429, 1),
        "the region denies first, without a call to the global limiter"
    );
    let other = open(&shop, &[]).await;
    assert_eq!(other.scan(shop.tag(0)).await.verdict()["scan_count"], 5, "denied scans were not counted");
}

#[tokio::test]
async fn the_global_limit_is_never_halved() {
    let (shop, global) = (Shop::open().await, RedisServer::start().await);
    let url = global.url();
    let app = open(&shop, &[("GLOBAL_REDIS_URL", url.as_str()), ("COLD_START_SECS", "300")]).await;
    let rates = app.scan(shop.tag(0)).await.rates();
    assert_eq!((rates[0].quota, rates[1].quota), (50, 200));
}

#[tokio::test]
async fn without_the_global_redis_only_the_region_limits() {
    let (shop, mut global) = (Shop::open().await, RedisServer::start().await);
    let url = global.url();
    let settings = [("GLOBAL_REDIS_URL", url.as_str()), ("RATE_LIMIT_IP_PER_MINUTE", "3"), SHORT_TIMEOUT[0]];
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.rates().len(), 2);
    global.kill();
    for remaining in [1, 0] {
        let answer = app.scan(shop.tag(0)).await;
        assert_eq!((answer.status, answer.rate().remaining), (200, remaining), "{}", answer.text);
    }
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
    assert_eq!(app.metric("voketag_rate_limit_global_degraded_total").await, 2);
    let (status, row) = check(&app, "global_redis").await;
    assert_eq!((status, &row["ok"], &row["warn"]), (200, &json!(true), &json!(true)), "{row}");
}

#[tokio::test]
async fn while_the_durable_redis_is_unavailable_or_busy_no_quota_is_spent() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let (durable, limiter) = (proxy.url(), limiter.url());
    let settings = [
        ("RATE_LIMIT_REDIS_URL", limiter.as_str()),
        ("RATE_LIMIT_IP_PER_MINUTE", "1000"),
        ("REDIS_POOL_SIZE", "1"),
        ("REDIS_POOL_WAIT_MS", "1"),
        ("REDIS_COMMAND_TIMEOUT_MS", "500"),
    ];
    let app = open_at(&durable, &settings).await;
    proxy.stall_replies();
    // The first request takes the only permit, and all others are overloaded.
    let held = tokio::spawn(send(app.request(Method::GET, &format!("/v1/scan/{}", shop.tag(0)))));
    let busy = async || app.scan(shop.tag(0)).await.status == 429;
    eventually("the permit is taken", WAIT_LIMIT, busy).await;
    let rejected = app.scan(shop.tag(0)).await;
    rejected.assert_problem(429, "service-overloaded");
    assert!(!rejected.has_rate(), "the limiter was not called");
    drop(held.await);
    proxy.cut();
    let opened = async || {
        app.scan(shop.tag(0)).await;
        app.metric("voketag_circuit_breaker_state{pool=\"durable\"}").await == 2
    };
    eventually("the breaker opens", WAIT_LIMIT, opened).await;
    let rejected = app.scan(shop.tag(0)).await;
    rejected.assert_problem(503, "redis-unavailable");
    assert!(!rejected.has_rate(), "the limiter was not called");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    let rejected = app.post_json("/v1/report", &report).await;
    rejected.assert_problem(503, "redis-unavailable");
    assert!(!rejected.has_rate());
}

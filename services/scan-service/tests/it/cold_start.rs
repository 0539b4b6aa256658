//! A new or emptied region has half of its limits until it is warm.

use ambient::{Clock, SystemClock};
use redis::AsyncCommands;
use serde_json::json;
use test_support::RedisServer;

use crate::app::{App, open};
use crate::shop::{Shop, flush};

const BORN: &str = "vtrl1:{default}:born";
const LOST: &str = "voketag_rate_limit_state_lost_total";

/// Moves the region's birth into the past, as if `ms` had passed.
async fn age(redis: &RedisServer, ms: u64) {
    let mut connection = redis.connection().await;
    let born: u64 = connection.get(BORN).await.unwrap();
    let () = connection.set(BORN, born - ms).await.unwrap();
}

async fn cold_gauge(app: &App) -> u64 {
    app.metric("voketag_rate_limit_region_cold").await
}

#[tokio::test]
async fn limits_are_halved_for_300_seconds_and_then_full_again() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("COLD_START_SECS", "300")]).await;
    let first = app.scan(shop.tag(0)).await.rate();
    assert_eq!((first.quota, first.remaining), (50, 49));
    assert_eq!(cold_gauge(&app).await, 1);
    age(&shop.redis, 280_000).await;
    let still_cold = app.scan(shop.tag(0)).await.rate();
    assert_eq!((still_cold.quota, still_cold.remaining), (50, 48));
    assert!(still_cold.reset_after <= 20, "the end of the cold phase comes first: {still_cold:?}");
    age(&shop.redis, 20_000).await;
    let warm = app.scan(shop.tag(0)).await.rate();
    assert_eq!((warm.quota, warm.remaining), (100, 97));
    assert_eq!(cold_gauge(&app).await, 0);
}

#[tokio::test]
async fn the_retry_after_of_a_cold_region_is_the_end_of_the_cold_phase() {
    let shop = Shop::open().await;
    let settings = [("COLD_START_SECS", "300"), ("RATE_LIMIT_IP_PER_MINUTE", "2")];
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 1);
    let denied = app.scan(shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    assert!((2..=60).contains(&denied.retry_after()), "the window ends first: {}", denied.retry_after());
    // A process without cached denials reads the changed time.
    age(&shop.redis, 290_000).await;
    let app = open(&shop, &settings).await;
    let denied = app.scan(shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    assert!((1..=10).contains(&denied.retry_after()), "the cold phase ends first: {}", denied.retry_after());
    age(&shop.redis, denied.retry_after() * 1_000).await;
    let app = open(&shop, &settings).await;
    let passed = app.scan(shop.tag(0)).await;
    assert_eq!(passed.status, 200);
    assert_eq!((passed.rate().quota, passed.rate().remaining), (2, 0), "denied requests are not charged");
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_new_process_in_a_warm_region_is_not_cold() {
    let shop = Shop::open().await;
    let settings = [("COLD_START_SECS", "300")];
    let first = open(&shop, &settings).await;
    assert_eq!(first.scan(shop.tag(0)).await.rate().quota, 50);
    age(&shop.redis, 300_000).await;
    drop(first);
    let second = open(&shop, &settings).await;
    assert_eq!(second.scan(shop.tag(0)).await.rate().quota, 100);
    assert_eq!(second.metric(LOST).await, 0);
}

#[tokio::test]
async fn a_flushed_limiter_redis_is_cold_at_once() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let settings = [("COLD_START_SECS", "300"), ("RATE_LIMIT_REDIS_URL", &limiter.url())];
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 50);
    age(&limiter, 300_000).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 100);
    let lost = app.metric(LOST).await;
    flush(&limiter).await;
    let emptied = app.scan(shop.tag(0)).await;
    assert_eq!(emptied.verdict()["scan_count"], 3);
    assert_eq!(emptied.rate().quota, 50);
    assert_eq!(cold_gauge(&app).await, 1);
    assert_eq!(app.metric(LOST).await, lost + 1);
}

#[tokio::test]
async fn the_region_route_shows_the_state_of_the_region() {
    let shop = Shop::open().await;
    let settings = [("COLD_START_SECS", "300"), ("REGION", "default"), ("RATE_LIMIT_IP_PER_MINUTE", "7")];
    let app = open(&shop, &settings).await;
    let unborn = app.get("/v1/region").await.verdict();
    assert_eq!((&unborn["born_at"], &unborn["state"]), (&json!(null), &json!("cold")));
    let mut connection = shop.redis.connection().await;
    assert!(
        !connection.exists::<_, bool>(BORN).await.unwrap(),
        "reading the region does not create its birth record"
    );

    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    let cold = app.get("/v1/region").await.verdict();
    assert_eq!((&cold["region"], &cold["state"]), (&json!("default"), &json!("cold")));
    assert_eq!((&cold["factor"], &cold["age_s"].as_u64().map(|age| age < 60)), (&json!(0.5), &Some(true)));
    let limits = |ip: u32, key: u32| {
        json!([
            {"name": "ip", "limit": ip, "full_limit": 7, "window_s": 60},
            {"name": "key", "limit": key, "full_limit": 1_000, "window_s": 60},
        ])
    };
    assert_eq!(cold["limits"], limits(3, 500));
    let born = time::OffsetDateTime::parse(
        cold["born_at"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    )
    .unwrap();
    let now_ms = i128::from(SystemClock::new().unix_millis());
    assert!((now_ms - born.unix_timestamp_nanos() / 1_000_000).abs() < 60_000, "{born}");

    age(&shop.redis, 300_000).await;
    let warm = app.get("/v1/region").await.verdict();
    assert_eq!((&warm["state"], &warm["factor"]), (&json!("warm"), &json!(1.0)));
    assert!(warm["age_s"].as_u64().unwrap() >= 300);
    assert_eq!(warm["limits"], limits(7, 1_000));
}

#[tokio::test]
async fn a_region_born_while_the_clock_was_behind_is_cold_once_more() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let own = limiter.url();
    for (redis, settings) in
        [(&shop.redis, &[][..]), (&limiter, &[("RATE_LIMIT_REDIS_URL", own.as_str())][..])]
    {
        let settings = [&[("COLD_START_SECS", "300")], settings].concat();
        let app = open(&shop, &settings).await;
        // The value that Redis stores while its clock is in 1970.
        let () = redis.connection().await.set(BORN, 5_000_000).await.unwrap();
        let region = app.get("/v1/region").await.verdict();
        assert_eq!((&region["state"], &region["born_at"]), (&json!("cold"), &json!(null)));
        assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 50, "not warm at once");
        assert_eq!(app.metric(LOST).await, 1);
        assert_eq!(app.scan(shop.tag(0)).await.rate().quota, 50);
        assert_eq!(app.metric(LOST).await, 1, "counted once");
        let region = app.get("/v1/region").await.verdict();
        assert!(region["state"] == "cold" && region["born_at"].is_string(), "{region}");
    }
}

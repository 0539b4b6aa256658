//! More concurrent requests than permits: rejected at once with a `Retry-After`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::{FaultProxy, RedisServer, eventually};

use crate::app::{App, WAIT_LIMIT, open_at, send};
use crate::shop::Shop;

const IN_USE: &str = "voketag_redis_pool_slots{pool=\"durable\",state=\"in_use\"}";
const SETTINGS: [(&str, &str); 3] =
    [("REDIS_POOL_SIZE", "1"), ("REDIS_POOL_WAIT_MS", "20"), ("REDIS_COMMAND_TIMEOUT_MS", "10000")];

/// Waits until a request without a reply holds the only permit.
async fn until_full(app: &App) {
    eventually("the permit is in use", WAIT_LIMIT, || async { app.metric(IN_USE).await == 1 }).await;
}

#[tokio::test]
async fn a_request_without_a_permit_gets_a_retry_after_of_1_to_5_seconds() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let app = open_at(&proxy.url(), &SETTINGS).await;
    proxy.stall_replies();
    let path = format!("/v1/scan/{}", shop.tag(0));
    let held = tokio::spawn(send(app.request(Method::GET, &path)));
    until_full(&app).await;
    for _ in 0..8 {
        let rejected = app.scan(shop.tag(0)).await;
        rejected.assert_problem(429, "service-overloaded");
        assert!((1..=5).contains(&rejected.retry_after()), "{}", rejected.retry_after());
        assert!(!rejected.has_rate(), "the limiter was not called");
    }
    app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(429);
    app.get("/v1/region").await.assert_problem(429, "service-overloaded");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(429, "service-overloaded");
    assert!(app.metric("voketag_redis_pool_exhausted_total{pool=\"durable\"}").await >= 11);
    assert_eq!(
        app.metric("voketag_circuit_breaker_state{pool=\"durable\"}").await,
        0,
        "overload does not open the breaker"
    );
    proxy.heal();
    assert!(
        matches!(held.await.unwrap().status, 200 | 429),
        "it held the permit, or the background refresh did"
    );
    eventually("scans pass again", WAIT_LIMIT, || async { app.scan(shop.tag(0)).await.status == 200 }).await;
}

#[tokio::test]
async fn under_load_on_a_slow_redis_each_scan_succeeds_or_is_rejected_and_none_is_lost() {
    const CALLERS: usize = 40;
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let app = open_at(&proxy.url(), &SETTINGS).await;
    proxy.delay(Duration::from_millis(30));
    let path = format!("/v1/scan/{}", shop.tag(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        running.spawn(send(app.request(Method::GET, &path)));
    }
    let answers = running.join_all().await;
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    for rejected in answers.iter().filter(|answer| answer.status != 200) {
        rejected.assert_problem(429, "service-overloaded");
    }
    assert!(answered < CALLERS, "one permit and a wait of 20 ms cannot serve {CALLERS} callers");
    proxy.heal();
    eventually("scans pass again", WAIT_LIMIT, || async {
        let answer = app.scan(shop.tag(0)).await;
        answer.status == 200 && answer.json()["scan_count"] == answered + 1
    })
    .await;
}

#[tokio::test]
async fn one_permit_suffices_for_requests_with_several_redis_calls() {
    const EACH: usize = 8;
    let (shop, global) = (Shop::open().await, RedisServer::start().await);
    let settings =
        [("REDIS_POOL_SIZE", "1"), ("REDIS_POOL_WAIT_MS", "10000"), ("REDIS_COMMAND_TIMEOUT_MS", "10000")];
    // The limiter is in the durable Redis and needs a separate call: for a report, and before a global limit.
    for more in [&[][..], &[("GLOBAL_REDIS_URL", global.url().as_str())]] {
        let app = open_at(&shop.redis.url(), &[&settings[..], more].concat()).await;
        let path = format!("/v1/scan/{}", shop.tag(0));
        let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..EACH {
            running.spawn(send(app.request(Method::GET, &path)));
            running.spawn(send(app.request(Method::POST, "/v1/report").json(&report)));
        }
        let statuses: Vec<u16> = running.join_all().await.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 202)), "{statuses:?}");
    }
}

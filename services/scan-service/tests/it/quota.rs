//! The quota of a client, and the headers that describe it.

use std::sync::Arc;

use ambient::{Clock, SystemClock};
use serde_json::json;

use crate::app::{Rate, open};
use crate::shop::Shop;

fn rate(quota: u64, remaining: u64, reset_after: u64) -> Rate {
    Rate { name: "ip".to_owned(), quota, window: 60, remaining, reset_after }
}

#[tokio::test]
async fn headers_count_down_and_a_denial_has_the_time_of_the_next_admission() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "3")]).await;
    let began = SystemClock::new();
    for remaining in [2, 1, 0] {
        let answer = app.scan(shop.tag(0)).await;
        assert_eq!(answer.status, 200);
        let shown = answer.rate();
        assert_eq!(shown, rate(3, remaining, shown.reset_after));
        assert!((1..=60).contains(&shown.reset_after), "{shown:?}");
    }
    let denied = app.scan(shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    let elapsed = began.monotonic().as_secs() + 1;
    assert!((60 - elapsed..=60).contains(&denied.retry_after()), "{}", denied.retry_after());
    assert_eq!(denied.rate(), rate(3, 0, denied.retry_after()), "t and Retry-After are equal");
    assert_eq!(app.scans("rate_limited").await, 1);
    let denials = "voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}";
    assert_eq!(app.metric(denials).await, 1);
}

#[tokio::test]
async fn a_denied_scan_counts_nothing_on_the_tag() {
    let shop = Shop::open().await;
    let small = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "1"), ("REGION", "small")]).await;
    assert_eq!(small.scan(shop.tag(0)).await.status, 200);
    for _ in 0..3 {
        small.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
    }
    let other = open(&shop, &[("REGION", "other")]).await;
    let verdict = other.scan(shop.tag(0)).await;
    assert_eq!(verdict.verdict()["scan_count"], 2);
    assert_eq!(verdict.rate().remaining, 99, "quotas are per region");
}

#[tokio::test]
async fn every_way_to_scan_spends_the_same_quota_and_invalid_ids_spend_none() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "4")]).await;
    let tag = shop.tag(0).to_string();
    assert!(!app.scan("nonsense").await.has_rate());
    assert_eq!(app.scan(&tag).await.rate().remaining, 3);
    assert_eq!(app.get(&format!("/t/{tag}")).await.rate().remaining, 2);
    assert_eq!(app.post_json("/v1/scan", &json!({"tag_id": tag})).await.rate().remaining, 1);
    let report = app.post_json("/v1/report", &json!({"tag_id": tag, "reason": "other"})).await;
    assert_eq!((report.status, report.rate().remaining), (202, 0));
    app.get(&format!("/v1/scan?tag_id={tag}")).await.assert_problem(429, "rate-limited");
    app.get(&format!("/t/{tag}")).await.assert_page(429);
    let denied = app.post_json("/v1/report", &json!({"tag_id": tag, "reason": "other"})).await;
    denied.assert_problem(429, "rate-limited");
    assert_eq!(denied.rate().remaining, 0);
}

#[tokio::test]
async fn two_instances_share_one_quota() {
    let shop = Shop::open().await;
    let settings = [("RATE_LIMIT_IP_PER_MINUTE", "2")];
    let (one, other) = (open(&shop, &settings).await, open(&shop, &settings).await);
    assert_eq!(one.scan(shop.tag(0)).await.rate().remaining, 1);
    assert_eq!(other.scan(shop.tag(0)).await.rate().remaining, 0);
    assert_eq!(one.scan(shop.tag(0)).await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_one_address_get_exactly_its_limit_when_scans_are_batched() {
    let shop = Shop::open().await;
    let app = Arc::new(open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "50")]).await);
    app.scan(shop.tag(0)).await.verdict();
    let scans: Vec<_> = (0..200)
        .map(|n| {
            let (app, tag) = (Arc::clone(&app), shop.tag(1 + n % 3).to_string());
            tokio::spawn(async move { app.scan(tag).await.status })
        })
        .collect();
    let mut admitted = 0;
    for scan in scans {
        match scan.await.unwrap() {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(admitted, 49, "one of the 50 was spent before");
}

//! The metrics of scans and reports, and the bound on the number of series.

use std::collections::BTreeSet;

use serde_json::json;

use crate::app::{App, open, send, spawn};
use crate::shop::Shop;

/// Returns every series of a scrape, without the values.
async fn series(app: &App) -> BTreeSet<String> {
    let text = app.metrics().await;
    test_support::assert_sound_exposition(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test]
async fn every_metric_is_documented() {
    let all = [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("RATE_LIMIT_REDIS_URL", "redis://127.0.0.1:2"),
        ("GLOBAL_REDIS_URL", "redis://127.0.0.1:3"),
    ];
    let app = spawn(&all).await;
    let write = std::env::var_os("VOKETAG_WRITE_DOCS").is_some();
    test_support::assert_metrics_documented("scan-service", &app.metrics().await, write);
}

#[tokio::test]
async fn every_series_that_alerts_use_is_at_zero_before_redis_answers() {
    let app = spawn(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    for series in [
        r#"voketag_http_requests_total{route="/v1/scan/{tag_id}",method="GET",status="200",problem="none"}"#,
        concat!(
            r#"voketag_http_requests_total{route="/v1/scan",method="POST",status="429","#,
            r#"problem="service-overloaded"}"#
        ),
        r#"voketag_http_requests_total{route="/v1/report",method="POST",status="503",problem="state-lost"}"#,
        r#"voketag_scan_verdicts_total{verdict="active",risk="high",counted="true"}"#,
        r#"voketag_reports_total{result="received"}"#,
        r#"voketag_redis_errors_total{pool="durable",code="OOM"}"#,
        r#"voketag_redis_connections{pool="durable",state="connected"}"#,
        r#"voketag_redis_writes_refused{pool="durable"}"#,
        r#"voketag_redis_storage_warnings{pool="durable",concern="fsync"}"#,
        r"voketag_audit_appends_waiting",
        r"voketag_audit_append_group_size_count",
    ] {
        assert_eq!(app.metric(series).await, 0, "{series}");
    }
}

#[tokio::test]
async fn verdicts_and_reports_are_counted_by_their_result() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    app.scan(shop.tag(0)).await.verdict();
    let verdicts = r#"voketag_scan_verdicts_total{verdict="active",risk="low",counted="true"}"#;
    assert_eq!(app.metric(verdicts).await, 1);
    let machine = app.request(reqwest::Method::GET, &format!("/v1/scan/{}", shop.tag(0)));
    send(machine.header("sec-purpose", "prefetch")).await.verdict();
    let verdicts = r#"voketag_scan_verdicts_total{verdict="active",risk="low",counted="false"}"#;
    assert_eq!(app.metric(verdicts).await, 1);

    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    assert_eq!(app.post_form("/t/nothing/report", &[("reason", "other")]).await.status, 202);
    for result in ["received", "unproven"] {
        assert_eq!(app.metric(&format!("voketag_reports_total{{result=\"{result}\"}}")).await, 1, "{result}");
    }
}

/// The requests vary in everything that a client chooses. Each new combination of method, status and problem
/// of a route may create a series, but no path, tag, key, address or header may.
#[tokio::test]
async fn hostile_requests_create_no_series_beyond_a_fixed_number() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let fresh = series(&app).await;
    let send_all = async |round: usize| {
        for method in
            ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW", &format!("M{round}")]
        {
            for path in [
                format!("/v1/scan/{round}"),
                format!("/v1/scan/{}", uuid::Uuid::from_u128(round as u128)),
                format!("/v1/scan?tag_id={round}"),
                format!("/v1/scan?x{round}={round}"),
                "/v1/report".to_owned(),
                format!("/t/{round}"),
                format!("/t/{round}/report"),
                format!("/nowhere/{round}"),
            ] {
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let request = app.request(method, &path).header("x-api-key", format!("key-{round}"));
                let request = request.header("x-request-id", format!("id-{round}"));
                let request =
                    request.header("content-type", format!("text/x{round}")).body(format!("{round}"));
                send(request.header("x-forwarded-for", format!("192.0.2.{round}"))).await;
            }
        }
    };
    send_all(1).await;
    let after_one = series(&app).await;
    for round in 2..12 {
        send_all(round).await;
    }
    let after_all = series(&app).await;
    let added: Vec<_> = after_all.difference(&after_one).collect();
    // The quota of the address may be used up meanwhile: one more status of each route.
    assert!(added.iter().all(|series| series.contains(r#"status="429""#)), "{added:#?}");
    assert!(after_all.len() - fresh.len() < 300, "{} series were added", after_all.len() - fresh.len());
    assert!(after_all.len() < 1_500, "{} series", after_all.len());
}

//! Programs that prefetch get the normal response and are not counted. Reloads do not count as another
//! client.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, open, send};
use crate::partners::{Partner, both};
use crate::shop::Shop;

const PREFETCHES: [(&str, &str); 8] = [
    ("sec-purpose", "prefetch;prerender"),
    ("sec-purpose", "preview"),
    ("purpose", "prefetch"),
    ("purpose", "prerender"),
    ("x-moz", "prefetch"),
    ("x-purpose", "preview"),
    ("user-agent", "WhatsApp/2.23.20.0 A"),
    ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
];

async fn prefetch(app: &App, path: &str, (name, value): (&str, &str)) -> crate::app::Answer {
    send(app.request(Method::GET, path).header(name, value)).await
}

async fn by(app: &App, address: &str, path: &str) -> crate::app::Answer {
    send(app.request(Method::GET, path).header("x-forwarded-for", address)).await
}

#[tokio::test]
async fn a_prefetch_gets_a_response_and_is_charged_but_not_counted() {
    let shop = Shop::open().await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for (tag, app) in [(0, &combined), (1, &separate)] {
        let (json_path, page) = (format!("/v1/scan/{}", shop.tag(tag)), format!("/t/{}", shop.tag(tag)));
        let mut left = app.scan(shop.tag(9)).await.rate().remaining;
        for header in PREFETCHES {
            let answer = prefetch(app, &json_path, header).await;
            let verdict = answer.verdict();
            let shown = (&verdict["counted"], &verdict["scan_count"], &verdict["first_scan_at"]);
            assert_eq!(shown, (&json!(false), &json!(0), &Value::Null), "{header:?}");
            assert_eq!((&verdict["valid"], &verdict["seen_by_others"]), (&json!(true), &json!(false)));
            left -= 1;
            assert_eq!(answer.rate().remaining, left, "{header:?} is charged");
            let shown = prefetch(app, &page, header).await;
            shown.assert_page(200);
            assert!(shown.text.contains("Genuine") && shown.text.contains("not yet"), "{}", shown.text);
            left -= 1;
        }
        let first = app.scan(shop.tag(tag)).await.verdict();
        assert_eq!((&first["counted"], &first["scan_count"]), (&json!(true), &json!(1)));
        for header in PREFETCHES.iter().cycle().take(12) {
            let verdict = prefetch(app, &json_path, *header).await.verdict();
            assert_eq!((&verdict["counted"], &verdict["scan_count"]), (&json!(false), &json!(1)));
            assert_eq!(verdict["first_scan_at"], first["first_scan_at"]);
        }
        let second = app.scan(shop.tag(tag)).await.verdict();
        assert_eq!(
            (&second["scan_count"], &second["risk"]["score"]),
            (&json!(2), &json!(0)),
            "prefetches raise no risk"
        );
        assert_eq!(app.scans_counted("active", true).await, 3);
        assert_eq!(app.scans_counted("active", false).await, 2 * PREFETCHES.len() as u64 + 12);
    }
}

#[tokio::test]
async fn a_rejected_scan_is_not_counted() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "1")]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
    assert_eq!(
        (app.scans_counted("rate_limited", false).await, app.scans_counted("rate_limited", true).await),
        (1, 0)
    );
}

#[tokio::test]
async fn only_a_scan_by_another_client_suggests_a_copy() {
    let shop = Shop::open().await;
    let settings = [("TRUSTED_PROXIES", "127.0.0.0/8")];
    let (combined, separate, _limiter) = both(&shop, &settings).await;
    for (tag, app, again) in [(0, &combined, &separate), (1, &separate, &combined)] {
        let (path, page) = (format!("/v1/scan/{}", shop.tag(tag)), format!("/t/{}", shop.tag(tag)));
        for _ in 0..3 {
            assert_eq!(by(app, "203.0.113.7", &path).await.verdict()["seen_by_others"], false);
        }
        assert_eq!(
            by(again, "203.0.113.7", &path).await.verdict()["seen_by_others"],
            false,
            "other instances recognise the client"
        );
        assert!(!by(app, "203.0.113.7", &page).await.text.contains("Somebody else"));
        let v6 = "2001:db8:1:2::9";
        assert_eq!(by(app, v6, &path).await.verdict()["seen_by_others"], true);
        assert!(
            by(app, "203.0.113.7", &page).await.text.contains("Somebody else"),
            "the first client sees it too"
        );
    }
}

#[tokio::test]
async fn a_partner_key_is_one_client_with_any_user_agent() {
    let shop = Shop::open().await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    let (one, two) = (Partner::of(&shop).await, Partner::of(&shop).await);
    for (tag, app) in [(0, &combined), (1, &separate)] {
        let path = format!("/v1/scan/{}", shop.tag(tag));
        let scan = async |partner: &Partner| {
            let request = app.request(Method::GET, &path).bearer_auth(partner.key.reveal());
            send(request.header("user-agent", "python-requests/2.31")).await.verdict()
        };
        for _ in 0..2 {
            let verdict = scan(&one).await;
            assert_eq!(verdict["risk"], json!({"score": 0, "level": "low", "factors": []}));
            assert_eq!(verdict["seen_by_others"], false);
        }
        assert_eq!(scan(&two).await["seen_by_others"], true);
        let stranger =
            send(app.request(Method::GET, &path).header("user-agent", "python-requests/2.31")).await;
        let factors = stranger.verdict()["risk"]["factors"].to_string();
        assert!(factors.contains("suspicious_user_agent"), "{factors}");
    }
}

//! The headers of every response: CORS, `X-Request-Id` and `Cache-Control`.

use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, App, open, send};
use crate::shop::Shop;

#[track_caller]
fn assert_open_to_any_origin(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{} {}", answer.status, answer.text);
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"] {
        assert!(exposed.split(", ").any(|shown| shown == name), "{name} is not in {exposed}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

/// Returns one response of each kind on the scan's paths.
async fn answers(app: &App, shop: &Shop) -> Vec<(u16, Answer)> {
    let put = app.request(Method::PUT, "/v1/scan");
    let large = app.request(Method::POST, "/v1/scan").header("content-type", "application/json");
    vec![
        (200, app.scan(shop.tag(0)).await),
        (200, app.get(&format!("/v1/scan?tag_id={}", shop.tag(0))).await),
        (400, app.scan("nonsense").await),
        (400, app.get("/v1/scan").await),
        (404, app.scan("00000000-0000-0000-0000-000000000000").await),
        (404, app.get("/v1/scan/a/b").await),
        (405, send(put).await),
        (413, send(large.body(vec![b' '; 100_000])).await),
        (415, send(app.request(Method::POST, "/v1/scan").body("x")).await),
        (429, app.scan(shop.tag(0)).await),
    ]
}

#[tokio::test]
async fn any_origin_may_read_a_scan_and_its_errors() {
    let shop = Shop::open().await;
    let settings = [("RATE_LIMIT_IP_PER_MINUTE", "2"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = open(&shop, &settings).await;
    let mut all = answers(&app, &shop).await;
    shop.flush().await;
    // A client with quota left: a cached denial would be returned before any call to Redis.
    let another = app.request(Method::GET, &format!("/v1/scan/{}", shop.tag(0)));
    all.push((503, send(another.header("x-forwarded-for", "203.0.113.7")).await));
    for (status, answer) in all {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_open_to_any_origin(&answer);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{status}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{status}");
    }
}

#[tokio::test]
async fn a_browser_may_post_json_after_a_preflight() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for path in ["/v1/scan".to_owned(), format!("/v1/scan/{}", shop.tag(0))] {
        let asked = app
            .request(Method::OPTIONS, &path)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-api-key");
        let answer = send(asked).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let listed = |name, value: &str| {
            let list = answer.header(name).unwrap_or_default().to_ascii_lowercase();
            list.split(", ").any(|item| item == value)
        };
        assert!(listed("access-control-allow-methods", "post"));
        assert!(listed("access-control-allow-methods", "get"));
        for header in ["content-type", "authorization", "x-api-key"] {
            assert!(listed("access-control-allow-headers", header), "{header}");
        }
        assert!(!answer.has_rate());
    }
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 1, "a preflight is not counted");
}

#[tokio::test]
async fn other_routes_do_not_allow_other_origins() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0);
    for path in ["/v1/region", "/v1/health", "/metrics", "/v1/scanner", &format!("/t/{tag}")] {
        assert_eq!(app.get(path).await.header("access-control-allow-origin"), None, "{path}");
    }
    let report = app.post_json("/v1/report", &json!({"tag_id": tag.to_string(), "reason": "other"})).await;
    assert_eq!((report.status, report.header("access-control-allow-origin")), (202, None));
}

#[tokio::test]
async fn a_valid_request_id_is_returned_and_any_other_is_replaced() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let with = |id: &str, path: &str| app.request(Method::GET, path).header("x-request-id", id);
    let scan = format!("/v1/scan/{}", shop.tag(0));
    assert_eq!(send(with("shop-7.a_b", &scan)).await.header("x-request-id"), Some("shop-7.a_b"));
    let rejected = send(with("shop-8", "/v1/scan/nonsense")).await;
    rejected.assert_problem(400, "invalid-tag-id");
    assert_eq!(rejected.json()["request_id"], "shop-8");
    for odd in ["a b", "<b>", &"x".repeat(129)] {
        let made = send(with(odd, &scan)).await;
        let id: uuid::Uuid = made.header("x-request-id").unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7, "{odd}");
    }
    assert_ne!(
        app.get("/v1/health").await.header("x-request-id"),
        app.get("/v1/health").await.header("x-request-id")
    );
}

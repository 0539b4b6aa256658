//! A foreign web page cannot act in its visitor's name: by the form, by images or by reports of a script.

use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, App, open, send};
use crate::shop::Shop;

const SHOP: &str = "https://shop.example";

async fn form(app: &App, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(Method::POST, path).form(&[("reason", "other")]);
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn only_our_own_page_may_send_the_form() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("PUBLIC_BASE_URL", "https://tags.example/below")]).await;
    let path = format!("/t/{}/report", shop.tag(0));
    let own = format!("http://{}", app.addr);
    let other_port = format!("http://{}:1", app.addr.ip());
    for (status, headers) in [
        (202, &[][..]),
        (202, &[("sec-fetch-site", "same-origin")]),
        (202, &[("sec-fetch-site", "none")]),
        // `Sec-Fetch-Site` decides, even if a proxy changed `Host`.
        (202, &[("sec-fetch-site", "same-origin"), ("origin", "https://elsewhere.example")]),
        (202, &[("origin", own.as_str())]),
        (202, &[("origin", "https://tags.example")]),
        (202, &[("origin", "https://behind.example"), ("host", "behind.example")]),
        (403, &[("sec-fetch-site", "cross-site")]),
        (403, &[("sec-fetch-site", "same-site")]),
        (403, &[("sec-fetch-site", "Same-Origin")]),
        (403, &[("sec-fetch-site", "")]),
        (403, &[("sec-fetch-site", "cross-site"), ("origin", own.as_str())]),
        (403, &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]),
        (403, &[("origin", "null")]),
        (403, &[("origin", SHOP)]),
        (403, &[("origin", "http://tags.example")]),
        (403, &[("origin", "https://tags.example.evil.example")]),
        (403, &[("origin", other_port.as_str())]),
        (403, &[("origin", own.as_str()), ("origin", SHOP)]),
        (403, &[("origin", "")]),
    ] {
        let answer = form(&app, &path, headers).await;
        answer.assert_page(status);
        let explained = answer.text.contains("Another website sent this in your name");
        assert_eq!(explained, status == 403, "{headers:?}: {}", answer.text);
        assert_eq!(answer.has_rate(), status == 202, "{headers:?}: a rejected form spends no quota");
    }
    assert_eq!(app.metric("voketag_audit_appends_total{result=\"ok\"}").await, 7);
    let unproven = form(&app, "/t/nonsense/report", &[("sec-fetch-site", "cross-site")]).await;
    unproven.assert_page(403);
}

#[tokio::test]
async fn without_a_public_address_the_form_is_checked_by_its_host() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let path = format!("/t/{}/report", shop.tag(0));
    form(&app, &path, &[("origin", "http://127.0.0.1:8080")]).await.assert_page(403);
    form(&app, &path, &[("origin", &format!("http://{}", app.addr))]).await.assert_page(202);
}

#[tokio::test]
async fn an_embedded_scan_is_rejected_and_neither_counted_nor_charged() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "6")]).await;
    let tag = shop.tag(0);
    let paths = [
        format!("/t/{tag}"),
        format!("/t/{tag}/report"),
        format!("/v1/scan/{tag}"),
        format!("/v1/scan?tag_id={tag}"),
    ];
    for path in &paths {
        for (name, value) in [
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-dest", "embed"),
            ("sec-fetch-dest", "object"),
            // Sent with CORS, but not by a script.
            ("sec-fetch-dest", "image"),
            ("sec-fetch-dest", "font"),
            ("sec-fetch-dest", "script"),
            // The only header that Chromium sends with a socket.
            ("upgrade", "websocket"),
        ] {
            let answer = send(app.request(Method::GET, path).header(name, value)).await;
            if path.starts_with("/t/") {
                answer.assert_page(403);
            } else {
                answer.assert_problem(403, "forbidden");
            }
            assert!(!answer.has_rate(), "{path} {value}");
        }
    }
    for site in ["cross-site", "same-site"] {
        let by_script = app.request(Method::GET, &paths[0]).header("sec-fetch-mode", "cors");
        send(by_script.header("sec-fetch-site", site)).await.assert_page(403);
    }
    for path in ["/t/nonsense", "/v1/scan/nonsense"] {
        let answer = send(app.request(Method::GET, path).header("sec-fetch-mode", "no-cors")).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(app.scans("invalid_id").await, 0);
    for (index, mode) in ["navigate", "cors", "same-origin", ""].into_iter().enumerate() {
        let request = app.request(Method::GET, &paths[2]).header("sec-fetch-mode", mode);
        let request = request.header("sec-fetch-site", "cross-site");
        let verdict = send(request.header("sec-fetch-dest", "empty")).await.verdict();
        assert_eq!(verdict["scan_count"], index + 1, "{mode}");
    }
    let page = app.request(Method::GET, &paths[0]).header("sec-fetch-mode", "navigate");
    let page = send(page.header("sec-fetch-dest", "document").header("sec-fetch-site", "cross-site")).await;
    page.assert_page(200);
    assert_eq!(
        page.rate().remaining,
        1,
        "a link from another page is a scan, and nothing before was charged"
    );
}

async fn report(app: &App, shop: &Shop, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    let request = app.request(Method::POST, "/v1/report").json(&body);
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

async fn preflight(app: &App, origin: &str) -> Answer {
    let asked = app
        .request(Method::OPTIONS, "/v1/report")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    send(asked).await
}

#[tokio::test]
async fn only_allowed_origins_may_report() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for headers in [
        &[("origin", SHOP)][..],
        &[("origin", "null")],
        &[("origin", SHOP), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let rejected = report(&app, &shop, headers).await;
        rejected.assert_problem(403, "forbidden");
        assert!(!rejected.has_rate());
        assert_eq!(rejected.header("access-control-allow-origin"), None);
    }
    preflight(&app, SHOP).await.assert_problem(403, "forbidden");
    assert_eq!(app.metric("voketag_audit_appends_total{result=\"ok\"}").await, 0);
    for headers in
        [&[][..], &[("sec-fetch-site", "same-origin")], &[("origin", &format!("http://{}", app.addr))]]
    {
        assert_eq!(report(&app, &shop, headers).await.status, 202, "{headers:?}");
    }
}

#[tokio::test]
async fn an_allowed_origin_may_report_and_read_every_response() {
    let shop = Shop::open().await;
    let named = "https://SHOP.example:443, http://127.0.0.1:9";
    let app = open(&shop, &[("REPORT_CORS_ORIGINS", named), ("RATE_LIMIT_IP_PER_MINUTE", "1")]).await;
    let allowed = preflight(&app, SHOP).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(SHOP)));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("POST"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("Content-Type"));
    assert_eq!(allowed.header("vary"), Some("Origin"));
    assert_eq!(preflight(&app, "http://127.0.0.1:9").await.status, 204);
    for foreign in ["http://shop.example", "https://shop.example:8443", "https://evil.example", "null"] {
        let rejected = preflight(&app, foreign).await;
        rejected.assert_problem(403, "forbidden");
        assert_eq!(rejected.header("access-control-allow-origin"), None, "{foreign}");
        assert_eq!(rejected.header("vary"), Some("Origin"));
    }
    for status in [202, 429] {
        let answer = report(&app, &shop, &[("origin", SHOP), ("sec-fetch-site", "cross-site")]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(SHOP)));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Retry-After"), "{exposed}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let unread = app.request(Method::POST, "/v1/report").header("origin", SHOP).body("x");
    let unread = send(unread).await;
    assert_eq!((unread.status, unread.header("access-control-allow-origin")), (415, Some(SHOP)));
    let form = form(&app, &format!("/t/{}/report", shop.tag(0)), &[("origin", SHOP)]).await;
    form.assert_page(403);
}

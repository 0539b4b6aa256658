//! The headers of every response, and headers that a client must not be able to control.

use crate::app::{App, SHORT, routes};
use http_edge::{EdgeConfig, ServeConfig};

#[tokio::test]
async fn every_response_has_the_security_headers_and_is_not_stored() {
    let app = App::spawn().await;
    for path in ["/ok", "/nowhere", "/panic", "/metrics"] {
        let response = app.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.headers()[name], value, "{path}");
        }
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn headers_of_the_handler_are_kept() {
    let app = App::spawn().await;
    let response = app.get("/own-headers").await;
    assert_eq!(response.headers()["content-security-policy"], "default-src 'self'");
    assert_eq!(response.headers()["cache-control"], "max-age=60");
    assert_eq!(response.headers().get_all("cache-control").iter().count(), 1);
}

#[tokio::test]
async fn a_timeout_has_the_headers_of_its_path_policy() {
    let config = EdgeConfig { timeout: SHORT, ..EdgeConfig::default() };
    let app = App::spawn_with(routes(), config, ServeConfig::default()).await;
    let late = app.get("/open/never").await;
    assert_eq!(
        (late.status().as_u16(), late.headers()["access-control-allow-origin"].to_str().unwrap()),
        (503, "*")
    );
    assert!(!app.get("/ok").await.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn only_an_allowed_origin_may_read_also_a_timeout() {
    let config = EdgeConfig { timeout: SHORT, ..EdgeConfig::default() };
    let app = App::spawn_with(routes(), config, ServeConfig::default()).await;
    for (origin, allowed) in [
        (Some("https://a.example"), Some("https://a.example")),
        (Some("https://b.example"), None),
        (Some("null"), None),
        (None, None),
    ] {
        let mut request = reqwest::Client::new().get(app.url("/named/never"));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let late = request.send().await.unwrap();
        let header = late.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!((late.status().as_u16(), header), (503, allowed), "{origin:?}");
        assert_eq!(late.headers()["vary"], "Origin");
    }
}

#[tokio::test]
async fn a_valid_request_id_is_returned_and_the_handler_gets_it() {
    let app = App::spawn().await;
    let given = "Zm9v/YmFy+Cg==.a_b~c-1";
    let request = reqwest::Client::new().get(app.url("/id")).header("x-request-id", given);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], given);
    assert_eq!(response.text().await.unwrap(), given);
    let made = app.get("/id").await;
    let id = made.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(made.text().await.unwrap(), id);
    assert_eq!((id.len(), &id[14..15]), (36, "7"));
}

#[tokio::test]
async fn an_invalid_request_id_is_never_returned() {
    let app = App::spawn().await;
    let long = "x".repeat(129);
    let cases = [
        "a b",
        "<script>alert(1)</script>",
        "a%0d%0aset-cookie:b",
        "caf\u{e9}",
        "a,b",
        "\"a\"",
        "a;b",
        "",
        &long,
    ];
    for given in cases {
        let request =
            format!("GET /id HTTP/1.1\r\nhost: a\r\nx-request-id: {given}\r\nconnection: close\r\n\r\n");
        let response = app.raw(request.as_bytes()).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{response}");
        assert_eq!((body.len(), &body[14..15]), (36, "7"), "{given:?} gave {body}");
        assert!(head.contains(&format!("x-request-id: {body}")), "{response}");
    }
    let twice =
        b"GET /id HTTP/1.1\r\nhost: a\r\nx-request-id: xyz\r\nx-request-id: zyx\r\nconnection: close\r\n\r\n";
    let response = app.raw(twice).await;
    // No hexadecimal digits, so that a new id cannot contain them by chance.
    assert!(!response.contains("xyz") && !response.contains("zyx"), "{response}");
}

#[tokio::test]
async fn a_line_break_in_a_header_injects_nothing() {
    let app = App::spawn().await;
    for smuggled in ["a\r\n set-cookie: b=c", "a\rset-cookie: b=c", "a\nset-cookie: b=c", "a\0b"] {
        let request =
            format!("GET /ok HTTP/1.1\r\nhost: a\r\nx-request-id: {smuggled}\r\nconnection: close\r\n\r\n");
        let response = app.raw(request.as_bytes()).await;
        assert!(!response.to_lowercase().contains("set-cookie"), "{smuggled:?} gave {response}");
    }
}

#[tokio::test]
async fn the_handler_gets_the_address_of_the_peer() {
    let app = App::spawn().await;
    let mut stream = app.sent(b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let own = stream.local_addr().unwrap().to_string();
    let response = crate::app::to_end(&mut stream).await;
    assert!(response.ends_with(&own), "{response}");
}

//! Every error is a problem document with the request's id, whether a handler, the edge or axum makes it.

use crate::app::{App, problem};
use http_edge::EdgeConfig;
use std::time::Duration;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405_with_allow() {
    let app = App::spawn().await;
    problem(app.get("/nowhere").await, 404, "not-found").await;
    problem(app.get("/items").await, 404, "not-found").await;
    let wrong = app.post("/ok", JSON, "{}").await;
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
    problem(wrong, 405, "method-not-allowed").await;
    let head = reqwest::Client::new().head(app.url("/json")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test]
async fn invalid_request_targets_are_problems() {
    let app = App::spawn().await;
    for target in ["OPTIONS *", "CONNECT example.com:80", "BREW /ok", "GET //"] {
        let response =
            app.raw(format!("{target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 40"), "{target}: {response}");
        assert!(
            response.contains("application/problem+json") && response.contains("\"request_id\""),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_request_has_one_valid_host() {
    let app = App::spawn().await;
    for (head, why) in [
        ("HTTP/1.1", "missing"),
        ("HTTP/1.1\r\nhost: a\r\nhost: b", "more than once"),
        ("HTTP/1.0\r\nhost: a\r\nhost: a", "more than once"),
        ("HTTP/1.1\r\nhost: a b", "takes a host"),
    ] {
        let response = app.raw(format!("GET /ok {head}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(
            response.starts_with("HTTP/1.1 400") || response.starts_with("HTTP/1.0 400"),
            "{head}: {response}"
        );
        assert!(
            response.contains("urn:voketag:problem:invalid-request") && response.contains(why),
            "{head}: {response}"
        );
    }
    for head in ["HTTP/1.1\r\nhost: a:1", "HTTP/1.0"] {
        let response = app.raw(format!("GET /ok {head}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(response.contains(" 200 OK"), "{head}: {response}");
    }
}

#[tokio::test]
async fn json_that_cannot_be_read_is_400_and_names_the_field() {
    let app = App::spawn().await;
    for (body, named) in [
        (r#"{"name":"a","size":"x"}"#, "size: invalid type: string \"x\", expected u32"),
        (r#"{"name":"a","size":-1}"#, "size: invalid value"),
        (r#"{"name":"a"}"#, "missing field `size`"),
        (r#"{"name":"a","size":1,"more":2}"#, "unknown field `more`, expected `name` or `size`"),
        (r#"{"name":"a","name":"b","size":1}"#, "duplicate field `name`"),
        (r#"{"name":"a","size":1"#, "EOF while parsing"),
        (r#"{"name":"a","size":1} x"#, "trailing characters"),
        ("", "EOF while parsing"),
        ("null", "it takes an object"),
        (r#"["a",1]"#, "it takes an object"),
        (" \t\r\n[]", "it takes an object"),
        ("{\"name\":\"\u{0}\",\"size\":1}", "control character"),
    ] {
        let rejected = problem(app.post("/json", JSON, body).await, 400, "invalid-request").await;
        let detail = rejected["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{body} gave {detail}");
    }
    let not_utf8 = app.post("/json", JSON, &b"{\"name\":\"\xff\",\"size\":1}"[..]).await;
    problem(not_utf8, 400, "invalid-request").await;
    let deep = "[".repeat(10_000);
    problem(app.post("/json", JSON, deep).await, 400, "invalid-request").await;
    let good =
        app.post("/json", "application/vnd.item+json; charset=utf-8", r#"{"name":"a","size":1}"#).await;
    assert_eq!(good.text().await.unwrap(), "a 1");
    let spaced = app.post("/json", JSON, " \t\r\n{\"name\":\"a\",\"size\":1}\n").await;
    assert_eq!(spaced.text().await.unwrap(), "a 1");
}

#[tokio::test]
async fn a_wrong_media_type_or_content_coding_is_415() {
    let app = App::spawn().await;
    problem(app.post("/json", "text/plain", r#"{"name":"a","size":1}"#).await, 415, "unsupported-media-type")
        .await;
    problem(app.post("/form", JSON, "name=a&size=1").await, 415, "unsupported-media-type").await;
    let untyped = reqwest::Client::new().post(app.url("/json")).body("{}").send().await.unwrap();
    problem(untyped, 415, "unsupported-media-type").await;
    let typed = || {
        reqwest::Client::new()
            .post(app.url("/json"))
            .header("content-type", JSON)
            .body(r#"{"name":"a","size":1}"#)
    };
    let packed = typed().header("content-encoding", "gzip").send().await.unwrap();
    problem(packed, 415, "unsupported-media-type").await;
    assert_eq!(typed().header("content-encoding", "identity").send().await.unwrap().status().as_u16(), 200);
    let twice = typed().header("content-type", "text/plain").send().await.unwrap();
    problem(twice, 400, "invalid-request").await;
}

#[tokio::test]
async fn a_query_or_form_that_cannot_be_read_is_400_and_names_the_field() {
    let app = App::spawn().await;
    for (query, named) in [
        ("limit=x", "limit in the query is \"x\"; it takes a whole number from 1 to 100, e.g. limit=50"),
        ("limit=256", "limit in the query is \"256\"; it takes"),
        ("limit=1&limit=2", "limit more than once"),
        ("limit=1&l%69mit=2", "limit more than once"),
        ("colour=red", "unknown field `colour`, expected `cursor` or `limit`"),
        ("cursor=%ff", "cursor in the query takes UTF-8"),
        ("%ff=1", "not UTF-8"),
    ] {
        let rejected = problem(app.get(&format!("/query?{query}")).await, 400, "invalid-request").await;
        let detail = rejected["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{query} gave {detail}");
    }
    assert_eq!(app.get("/query?cursor=%C3%A9+b").await.text().await.unwrap(), "Some(\"é b\") None");
    assert_eq!(app.get("/query").await.text().await.unwrap(), "None None");
    for (form, named) in [
        ("name=a", "missing field `size`"),
        ("name=a&size=x", "size: invalid digit"),
        ("name=a&size=1&size=1", "size more than once"),
        ("name=%ff&size=1", "name in the form takes UTF-8"),
    ] {
        let rejected = problem(app.post("/form", FORM, form).await, 400, "invalid-request").await;
        let detail = rejected["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{form} gave {detail}");
    }
    let good = app.post("/form", "application/x-www-form-urlencoded;charset=UTF-8", "name=a+b&size=1").await;
    assert_eq!(good.text().await.unwrap(), "a b 1");
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_400() {
    let app = App::spawn().await;
    for path in ["/items/x", "/items/-1", "/items/%FF", "/items/99999999999"] {
        problem(app.get(path).await, 400, "invalid-request").await;
    }
    let raw = app.raw(b"GET /items/\xff HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 400"), "{raw}");
}

#[tokio::test]
async fn errors_of_axums_extractors_are_problems() {
    let app = App::spawn().await;
    problem(app.post("/axum-json", JSON, "{").await, 400, "invalid-request").await;
    problem(app.post("/axum-json", "text/plain", "{}").await, 415, "unsupported-media-type").await;
    problem(app.post("/axum-json", JSON, "{}").await, 422, "unprocessable").await;
    let chunks = std::iter::repeat_n(Ok::<_, std::convert::Infallible>("x".repeat(1024)), 100);
    let long = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    problem(app.post("/axum", "text/plain", long).await, 413, "content-too-large").await;
}

#[tokio::test]
async fn a_500_hides_its_cause_and_the_server_continues() {
    let app = App::spawn().await;
    for path in ["/internal", "/panic"] {
        let rejected = problem(app.get(path).await, 500, "internal").await;
        assert!(!rejected.to_string().contains("hunter2"), "{rejected}");
    }
    assert_eq!(app.get("/ok").await.text().await.unwrap(), "fine");
}

#[tokio::test]
async fn retry_after_and_the_authentication_scheme_are_headers() {
    let app = App::spawn().await;
    let busy = app.get("/busy").await;
    assert_eq!(busy.headers()["retry-after"], "4");
    problem(busy, 429, "service-overloaded").await;
    let unknown = app.get("/unauthenticated").await;
    assert_eq!(unknown.headers()["www-authenticate"], "Bearer");
    problem(unknown, 401, "unauthenticated").await;
}

#[tokio::test]
async fn a_path_policy_renders_every_error_below_its_prefix_with_status_and_headers() {
    let config = EdgeConfig { timeout: Duration::from_millis(200), ..EdgeConfig::default() };
    let app = App::spawn_with(crate::app::routes(), config, http_edge::ServeConfig::default()).await;
    for (path, status, title) in [
        ("/pages/1", 404, "No such item"),
        ("/pages", 404, "Not found"),
        ("/pages/1/2", 404, "Not found"),
        ("/pages/panic", 500, "Internal error"),
        ("/pages/never", 503, "The server was too slow"),
    ] {
        let response = app.get(path).await;
        assert_eq!((path, response.status().as_u16()), (path, status));
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        if path == "/pages/1" {
            assert_eq!(response.headers()["retry-after"], "9");
        }
        assert_eq!(response.text().await.unwrap(), format!("<h1>{title}</h1><p>{id}</p>"));
    }
    let wrong = app.post("/pages/1", FORM, "").await;
    assert_eq!((wrong.status().as_u16(), wrong.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    assert!(wrong.text().await.unwrap().starts_with("<h1>"));
    problem(app.get("/pagesandmore").await, 404, "not-found").await;
}

#[tokio::test]
async fn an_error_with_a_body_of_the_handler_is_not_changed() {
    let app = App::spawn().await;
    let own = app.get("/own-html-404").await;
    assert_eq!((own.status().as_u16(), own.text().await.unwrap().as_str()), (404, "<p>mine</p>"));
}

#[tokio::test]
async fn readiness_is_200_with_a_warning_and_a_503_problem_with_a_failure() {
    let app = App::spawn().await;
    let ready = app.get("/ready").await;
    assert_eq!(ready.status().as_u16(), 200);
    let body: serde_json::Value = ready.json().await.unwrap();
    let expected = serde_json::json!({"status": "ready", "checks": [
        {"name": "redis", "ok": true}, {"name": "eviction", "ok": true, "warn": true, "detail": "weak"}]});
    assert_eq!(body, expected);
    let rejected = problem(app.get("/unready").await, 503, "not-ready").await;
    assert_eq!(
        rejected["checks"][0],
        serde_json::json!({"name": "redis", "ok": false, "detail": "unavailable"})
    );
}

//! Clients that send too much or too slowly, read too slowly, or stay idle.

use crate::app::{App, SHORT, endless, one_response, problem, routes, to_end, within};
use axum::routing::get;
use http_edge::{EdgeConfig, PathPolicy, ServeConfig};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

fn edge(config: EdgeConfig) -> impl Future<Output = App> {
    App::spawn_with(routes(), config, ServeConfig::default())
}

fn server(config: ServeConfig) -> impl Future<Output = App> {
    App::spawn_with(routes(), EdgeConfig::default(), config)
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_declared_length() {
    let app = edge(EdgeConfig { body_limit: 1_000, ..EdgeConfig::default() }).await;
    assert_eq!(app.post("/echo", "text/plain", vec![b'x'; 1_000]).await.text().await.unwrap().len(), 1_000);
    for length in [1_001, 200_000] {
        let declared = app.post("/echo", "text/plain", vec![b'x'; length]).await;
        assert_eq!(declared.headers()["connection"], "close");
        problem(declared, 413, "content-too-large").await;
        let chunks = vec![Ok::<_, std::io::Error>(vec![b'x'; length - 1]), Ok(vec![b'x'])];
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        problem(app.post("/echo", "text/plain", chunked).await, 413, "content-too-large").await;
    }
    let unread = app.post("/ignores-its-body", "text/plain", vec![b'x'; 1_001]).await;
    problem(unread, 413, "content-too-large").await;
}

#[tokio::test]
async fn a_rejected_body_is_not_requested_with_100_continue() {
    let app = edge(EdgeConfig { body_limit: 10, ..EdgeConfig::default() }).await;
    let head = b"POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n";
    let response = app.raw(head).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
}

#[tokio::test]
async fn a_rejected_client_that_still_sends_is_not_reset() {
    let app = App::spawn().await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    let mut stream = app.sent(&[head.as_bytes(), &[b'x'; 50_000]].concat()).await;
    let response = to_end(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 413") && response.ends_with('}'), "{response}");
    for _ in 0..8 {
        within(stream.write_all(&[b'x'; 10_000])).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let app = edge(EdgeConfig { body_timeout: SHORT, ..EdgeConfig::default() }).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\n";
    for (length, part) in [("content-length: 10", "x"), ("transfer-encoding: chunked", "1\r\nx\r\n")] {
        let response = app.raw(format!("{head}{length}\r\n\r\n{part}").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 408"), "{response}");
        assert!(
            response.contains("connection: close")
                && response.contains("urn:voketag:problem:request-timeout")
        );
    }
}

#[tokio::test]
async fn an_invalid_body_is_400_and_an_aborted_one_harms_no_other_client() {
    let app = App::spawn().await;
    let chunked = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let response = app.raw(chunked).await;
    assert!(response.starts_with("HTTP/1.1 400") && response.contains("problem+json"), "{response}");
    drop(app.sent(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nx").await);
    assert_eq!(app.get("/ok").await.text().await.unwrap(), "fine");
}

#[tokio::test]
async fn a_handler_over_the_time_limit_is_503() {
    let app = edge(EdgeConfig { timeout: SHORT, ..EdgeConfig::default() }).await;
    let late = app.get("/never").await;
    assert_eq!(late.headers()["retry-after"], "1");
    problem(late, 503, "server-timeout").await;
    assert_eq!(app.get("/ok").await.text().await.unwrap(), "fine");
}

#[tokio::test]
async fn a_path_policy_may_have_a_separate_time_limit() {
    let mut registry = http_edge::metrics_registry();
    let path_policies = vec![PathPolicy::new("/never").timeout(SHORT)];
    let config = EdgeConfig { timeout: Duration::from_secs(3_600), ..EdgeConfig::default() };
    let edge =
        http_edge::Edge::new(config, path_policies, Arc::new(ambient::SystemClock::new()), &mut registry);
    let request = http::Request::get("/never").body(axum::body::Body::empty()).unwrap();
    let response = within(tower::ServiceExt::oneshot(edge.wrap(routes()), request)).await.unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn a_slow_head_is_cut_on_new_and_on_used_connections() {
    let app = server(ServeConfig { header_timeout: SHORT, ..ServeConfig::default() }).await;
    for begun in [&b""[..], b"GET /ok HT", b"GET /ok HTTP/1.1\r\nhost: a\r\n"] {
        assert_eq!(app.raw(begun).await, "");
    }
    let mut used = app.sent(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    one_response(&mut used).await;
    used.write_all(b"GET /ok HT").await.unwrap();
    assert_eq!(to_end(&mut used).await, "");
}

#[tokio::test]
async fn bytes_of_a_slow_head_do_not_extend_its_time_limit() {
    let app = server(ServeConfig { header_timeout: SHORT, ..ServeConfig::default() }).await;
    let stream = app.sent(b"GET /ok HTTP/1.1\r\n").await;
    let (mut reader, mut writer) = stream.into_split();
    let dribble = tokio::spawn(async move {
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut response = Vec::new();
    let _ = within(reader.read_to_end(&mut response)).await;
    assert_eq!(response, b"");
    within(dribble).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_the_idle_timeout() {
    let config = ServeConfig { header_timeout: SHORT, idle_timeout: 15 * SHORT, ..ServeConfig::default() };
    let app = server(config).await;
    let mut stream = app.sent(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    one_response(&mut stream).await;
    tokio::time::sleep(2 * SHORT).await;
    stream.write_all(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    one_response(&mut stream).await;
    assert_eq!(to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_slow_handler_and_a_slow_response_body_do_not_count_as_idle() {
    let config = ServeConfig { header_timeout: SHORT, idle_timeout: SHORT, ..ServeConfig::default() };
    let slow = routes().route(
        "/slow",
        axum::routing::post(|body: axum::body::Bytes| async move {
            tokio::time::sleep(2 * SHORT).await;
            body
        }),
    );
    let slow = slow.route(
        "/slow-body",
        get(|| async {
            axum::body::Body::from_stream(futures_util::stream::once(async {
                tokio::time::sleep(2 * SHORT).await;
                Ok::<_, std::io::Error>("fine")
            }))
        }),
    );
    let app = App::spawn_with(slow, EdgeConfig::default(), config).await;
    assert_eq!(app.post("/slow", "text/plain", "fine").await.text().await.unwrap(), "fine");
    assert_eq!(app.get("/slow-body").await.text().await.unwrap(), "fine");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_dropped() {
    let (held, mut dropped) = oneshot::channel();
    let held = Arc::new(Mutex::new(Some(held)));
    let endless_route = get(move || {
        let held = held.lock().take().unwrap();
        async move { endless(&[b'x'; 65_536], held) }
    });
    let config = ServeConfig { write_timeout: SHORT, ..ServeConfig::default() };
    let app = App::spawn_with(routes().route("/endless", endless_route), EdgeConfig::default(), config).await;
    let stream = app.sent(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(within(&mut dropped).await.is_err(), "the body should be dropped unsent");
    drop(stream);
}

#[tokio::test]
async fn an_oversized_head_is_431_and_a_long_path_is_fine() {
    let app = App::spawn().await;
    let long = "x".repeat(20_000);
    let response = app.raw(format!("GET /ok HTTP/1.1\r\nhost: a\r\nlong: {long}\r\n\r\n").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    let many = "a: b\r\n".repeat(101);
    let response = app.raw(format!("GET /ok HTTP/1.1\r\nhost: a\r\n{many}\r\n").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    problem(app.get(&format!("/{}", "x".repeat(8_000))).await, 404, "not-found").await;
}

#[tokio::test]
async fn a_partial_head_after_a_pipelined_request_has_the_time_limit_of_heads() {
    let app = server(ServeConfig { header_timeout: SHORT, ..ServeConfig::default() }).await;
    for behind in ["GET /ok HT", "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-le"] {
        for first in [
            "GET /ok HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            let response = app.raw(format!("{first}{behind}").as_bytes()).await;
            assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        }
    }
}

#[tokio::test]
async fn an_empty_line_after_a_request_does_not_start_a_head() {
    let config = ServeConfig { header_timeout: SHORT, ..ServeConfig::default() };
    let app = server(config).await;
    let mut stream = app.sent(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n\r\n").await;
    one_response(&mut stream).await;
    tokio::time::sleep(3 * SHORT).await;
    stream.write_all(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(one_response(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_handler_gets_a_body_as_one_frame() {
    let pieces = axum::routing::post(|body: axum::body::Body| async move {
        let mut body = std::pin::pin!(body);
        let mut sizes = Vec::new();
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        format!("{sizes:?}")
    });
    let app =
        App::spawn_with(routes().route("/pieces", pieces), EdgeConfig::default(), ServeConfig::default())
            .await;
    let chunks = (0..1_000).map(|_| Ok::<_, std::io::Error>("x"));
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(app.post("/pieces", "text/plain", chunked).await.text().await.unwrap(), "[1000]");
    assert_eq!(app.post("/pieces", "text/plain", vec![b'x'; 65_536]).await.text().await.unwrap(), "[65536]");
    assert_eq!(app.post("/pieces", "text/plain", "").await.text().await.unwrap(), "[]");
}

#[tokio::test]
async fn bodies_over_the_total_memory_limit_are_429_and_their_memory_is_released() {
    let limits = EdgeConfig { bodies_limit: 150_000, ..EdgeConfig::default() };
    let app = edge(limits).await;
    let begin = async || {
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n";
        app.sent(&[head.as_bytes(), &[b'x'; 59_999]].concat()).await
    };
    let mut two = [begin().await, begin().await];
    let send = async || app.post("/echo", "text/plain", vec![b'x'; 60_000]).await;
    test_support::eventually("a third body is rejected", crate::app::DEADLINE, async || {
        send().await.status() == 429
    })
    .await;
    let third = send().await;
    let seconds: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds));
    problem(third, 429, "service-overloaded").await;
    assert_eq!(app.get("/ok").await.status(), 200, "a request without a body is served");
    for stream in &mut two {
        stream.write_all(b"x").await.unwrap();
        assert!(one_response(stream).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(send().await.status(), 200);
}

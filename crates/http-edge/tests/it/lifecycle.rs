//! From the first request to the last: keep-alive, the drain, and what is cut at its limit.

use crate::app::{App, SHORT, endless, one_response, routes, to_end, within};
use axum::routing::get;
use http_edge::{Drained, EdgeConfig, ServeConfig};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Notify;

struct Gate {
    entered: Notify,
    released: Notify,
}

async fn gated(config: ServeConfig) -> (App, Arc<Gate>) {
    let gate = Arc::new(Gate { entered: Notify::new(), released: Notify::new() });
    let inside = Arc::clone(&gate);
    let router = routes().route(
        "/gate",
        get(move || async move {
            inside.entered.notify_one();
            inside.released.notified().await;
            "through"
        }),
    );
    (App::spawn_with(router, EdgeConfig::default(), config).await, gate)
}

const GATE: &[u8] = b"GET /gate HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn one_connection_carries_many_requests_also_pipelined() {
    let app = App::spawn().await;
    let mut stream = app.sent(&b"GET /id HTTP/1.1\r\nhost: a\r\nx-request-id: first\r\n\r\n".repeat(3)).await;
    let mut answers = String::new();
    while answers.matches("\r\n\r\nfirst").count() < 3 {
        answers.push_str(&one_response(&mut stream).await);
    }
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3);
}

#[tokio::test]
async fn shutdown_ends_idle_connections_at_once_and_lets_requests_finish() {
    let (app, gate) = gated(ServeConfig::default()).await;
    let addr = app.addr;
    let mut idle = app.sent(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    one_response(&mut idle).await;
    let mut fresh = TcpStream::connect(addr).await.unwrap();
    let mut busy = app.sent(GATE).await;
    within(gate.entered.notified()).await;
    let served = app.stop();
    assert_eq!(to_end(&mut idle).await, "");
    assert_eq!(to_end(&mut fresh).await, "");
    assert!(TcpStream::connect(addr).await.is_err(), "the listener should be closed");
    assert!(!served.is_finished(), "a request is still in flight");
    gate.released.notify_one();
    let answer = to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("through"), "{answer}");
    assert_eq!(within(served).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn requests_that_do_not_finish_are_cut_at_the_drains_limit() {
    let (app, gate) = gated(ServeConfig { drain: SHORT, ..ServeConfig::default() }).await;
    let mut busy = app.sent(GATE).await;
    within(gate.entered.notified()).await;
    assert_eq!(within(app.stop()).await.unwrap(), Drained { cut: 1 });
    assert_eq!(to_end(&mut busy).await, "");
}

#[tokio::test]
async fn an_unused_server_stops_at_once() {
    let app = App::spawn().await;
    assert_eq!(within(app.stop()).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_response_with_it() {
    let (held, mut dropped) = tokio::sync::oneshot::channel();
    let held = Arc::new(parking_lot::Mutex::new(Some(held)));
    let route = get(move || {
        let held = held.lock().take().unwrap();
        async move { endless(&[b'x'; 1_024], held) }
    });
    let router = routes().route("/endless", route);
    let app = App::spawn_with(router, EdgeConfig::default(), ServeConfig::default()).await;
    drop(app.sent(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await);
    assert!(within(&mut dropped).await.is_err(), "the body should be dropped");
}

//! Keep-alive, the drain, and what is cut at its timeout.

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
async fn one_connection_carries_pipelined_requests() {
    let app = App::spawn().await;
    let mut stream = app.sent(&b"GET /id HTTP/1.1\r\nhost: a\r\nx-request-id: first\r\n\r\n".repeat(3)).await;
    let mut responses = String::new();
    while responses.matches("\r\n\r\nfirst").count() < 3 {
        responses.push_str(&one_response(&mut stream).await);
    }
    assert_eq!(responses.matches("HTTP/1.1 200").count(), 3);
}

#[tokio::test]
async fn shutdown_closes_idle_connections_at_once_and_completes_requests() {
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
    let response = to_end(&mut busy).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("through"), "{response}");
    assert_eq!(within(served).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn unfinished_requests_are_cut_at_the_drain_timeout() {
    let (app, gate) = gated(ServeConfig { drain: SHORT, ..ServeConfig::default() }).await;
    let mut busy = app.sent(GATE).await;
    within(gate.entered.notified()).await;
    assert_eq!(within(app.stop()).await.unwrap(), Drained { cut: 1 });
    assert_eq!(to_end(&mut busy).await, "");
}

#[tokio::test]
async fn a_server_without_connections_stops_at_once() {
    let app = App::spawn().await;
    assert_eq!(within(app.stop()).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn the_response_of_a_client_that_leaves_is_dropped() {
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

//! The limits of connections, and which connection is displaced.

use crate::app::{App, DEADLINE, SHORT, one_response, routes, to_end, within};
use axum::routing::get;
use http_edge::{ConnectionMetrics, EdgeConfig, ServeConfig, TrustedProxies, metrics_registry};
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use test_support::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

const REQUEST: &[u8] = b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n";

fn limits(total: usize, per_client: usize) -> (ServeConfig, Registry) {
    let number = |number| NonZeroUsize::new(number).unwrap();
    let mut registry = metrics_registry();
    let config = ServeConfig {
        max_connections: number(total),
        max_connections_per_client: number(per_client),
        metrics: ConnectionMetrics::register(&mut registry),
        ..ServeConfig::default()
    };
    (config, registry)
}

async fn server(config: ServeConfig) -> App {
    App::spawn_with(routes(), EdgeConfig::default(), config).await
}

/// Opens a connection from `127.0.0.<host>` and completes one request on it.
async fn used(app: &App, host: u8) -> TcpStream {
    let mut stream = from(app.addr, host).await;
    stream.write_all(REQUEST).await.unwrap();
    assert!(one_response(&mut stream).await.starts_with("HTTP/1.1 200"));
    stream
}

async fn from(server: SocketAddr, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    within(socket.connect(server)).await.unwrap()
}

fn shown(registry: &Registry, series: &str) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in\n{text}")).to_owned()
}

#[tokio::test]
async fn a_client_at_its_limit_gets_429_and_others_do_not() {
    let (config, registry) = limits(100, 3);
    let app = server(config).await;
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(used(&app, 2).await);
    }
    let response = to_end(&mut from(app.addr, 2).await).await;
    assert!(response.starts_with("HTTP/1.1 429") && response.contains("retry-after: 1"), "{response}");
    let other = used(&app, 3).await;
    assert_eq!(shown(&registry, "voketag_http_connections"), "4");
    assert_eq!(shown(&registry, "voketag_http_connections_by_state{state=\"active\"}"), "0");
    assert_eq!(shown(&registry, "voketag_http_connections_by_state{state=\"idle\"}"), "4");
    assert_eq!(shown(&registry, "voketag_http_connections_shed_total{limit=\"client\"}"), "1");
    assert_eq!(shown(&registry, "voketag_http_connections_shed_total{limit=\"total\"}"), "0");
    for stream in &mut own {
        stream.write_all(REQUEST).await.unwrap();
        assert!(one_response(stream).await.starts_with("HTTP/1.1 200"), "the first ones stay open");
    }
    drop(own.pop());
    eventually("a place is free again", DEADLINE, async || {
        let mut stream = from(app.addr, 2).await;
        stream.write_all(REQUEST).await.is_ok() && {
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200"
        }
    })
    .await;
    drop((own, other));
    eventually("all are closed", DEADLINE, async || shown(&registry, "voketag_http_connections") == "0")
        .await;
}

#[tokio::test]
async fn a_trusted_proxy_has_no_client_limit() {
    let (config, _registry) = limits(100, 2);
    let app =
        server(ServeConfig { proxies: TrustedProxies::new(["127.0.0.2/32".parse().unwrap()]), ..config })
            .await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(used(&app, 2).await);
    }
}

#[tokio::test]
async fn a_client_limit_above_the_total_is_lowered_to_it() {
    let (config, registry) = limits(2, 256);
    let app = server(config).await;
    let own = [used(&app, 2).await, used(&app, 2).await];
    assert!(to_end(&mut from(app.addr, 2).await).await.starts_with("HTTP/1.1 429"));
    assert_eq!(shown(&registry, "voketag_http_connections_limit"), "2");
    drop(own);
}

#[tokio::test]
async fn at_the_total_limit_a_new_connection_displaces_the_one_idle_for_longest() {
    let (config, registry) = limits(3, 3);
    let app = server(config).await;
    let mut first = used(&app, 2).await;
    let mut second = used(&app, 3).await;
    let mut third = used(&app, 4).await;
    // Use the first again, so that the second is idle for longest.
    first.write_all(REQUEST).await.unwrap();
    one_response(&mut first).await;
    let _fourth = used(&app, 5).await;
    assert_eq!(to_end(&mut second).await, "");
    let _fifth = used(&app, 6).await;
    assert_eq!(to_end(&mut third).await, "");
    first.write_all(REQUEST).await.unwrap();
    assert!(one_response(&mut first).await.starts_with("HTTP/1.1 200"));
    assert_eq!(shown(&registry, "voketag_http_connections_shed_total{limit=\"total\"}"), "2");
    assert_eq!(shown(&registry, "voketag_http_connections"), "3");
}

#[tokio::test]
async fn connections_that_send_nothing_keep_no_client_out() {
    let (config, _registry) = limits(50, 50);
    let app = server(config).await;
    let mut silent = Vec::new();
    for n in 0..200_u8 {
        silent.push(from(app.addr, 2 + n % 4).await);
    }
    let _served = used(&app, 9).await;
}

#[tokio::test]
async fn a_connection_that_handles_a_request_is_never_displaced() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let inside = (Arc::clone(&entered), Arc::clone(&release));
    let gate = get(move || async move {
        inside.0.notify_one();
        inside.1.notified().await;
        "through"
    });
    let (config, _registry) = limits(1, 1);
    let app = App::spawn_with(routes().route("/gate", gate), EdgeConfig::default(), config).await;
    let mut busy = app.sent(b"GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(entered.notified()).await;
    let mut waiting = from(app.addr, 2).await;
    waiting.write_all(REQUEST).await.unwrap();
    let too_soon = tokio::time::timeout(SHORT, waiting.read_u8()).await;
    assert!(too_soon.is_err(), "the second connection was served before the first was idle");
    release.notify_one();
    assert!(one_response(&mut busy).await.ends_with("through"));
    // Now the first is idle and is displaced.
    assert!(one_response(&mut waiting).await.starts_with("HTTP/1.1 200"));
    assert_eq!(to_end(&mut busy).await, "");
}

#[tokio::test]
async fn the_kernel_queues_a_thousand_connections() {
    let listener = http_edge::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for n in 0..1_000 {
        let connected = within(TcpStream::connect(addr)).await;
        waiting.push(connected.unwrap_or_else(|error| panic!("connection {n}: {error}")));
    }
}

#[tokio::test]
async fn a_connection_that_sends_a_response_is_never_displaced() {
    const BIG: usize = 32 * 1024 * 1024;
    let (config, _registry) = limits(1, 1);
    let big = routes().route("/big", get(|| async { vec![b'x'; BIG] }));
    let app = App::spawn_with(big, EdgeConfig::default(), config).await;
    let mut slow = app.sent(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut first = [0; 4_096];
    let mut read = within(slow.read(&mut first)).await.unwrap();
    let head = first.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let mut waiting = from(app.addr, 2).await;
    waiting.write_all(REQUEST).await.unwrap();
    let too_soon = tokio::time::timeout(SHORT, waiting.read_u8()).await;
    assert!(too_soon.is_err(), "the second connection was served before the first was idle");
    let mut part = vec![0; 65_536];
    while read < head + BIG {
        let more = within(slow.read(&mut part)).await.unwrap();
        assert!(more > 0, "cut after {read} bytes");
        read += more;
    }
    assert!(one_response(&mut waiting).await.starts_with("HTTP/1.1 200"));
}

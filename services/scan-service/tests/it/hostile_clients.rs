//! Attacks with connections: clients that hold memory, keep others out, or use up descriptors.

use std::net::SocketAddr;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use test_support::{FaultProxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::app::WAIT_LIMIT;
use crate::process::Program;
use crate::shop::{SECRET, Shop};

const HEALTH: &str = "GET /v1/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// An address without a Redis, because these tests need none.
const NO_REDIS: (&str, &str) = ("REDIS_URL", "redis://127.0.0.1:1");

/// Opens a connection from `127.<a>.<b>.1`, so that the limit per client does not apply.
async fn from(server: &str, a: u8, b: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, a, b, 1], 0))).unwrap();
    let stream =
        tokio::time::timeout(WAIT_LIMIT, socket.connect(server.parse().unwrap())).await.unwrap().unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn answer(mut stream: TcpStream, request: &str) -> String {
    // A rejected client may find the connection closed already.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(WAIT_LIMIT, stream.read_to_end(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// The head of a request and a repeated part of its body, for each framing.
const FRAMINGS: [(&str, &str); 4] = [
    (
        "POST /v1/scan HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: 60000\r\n\r\n",
        " ",
    ),
    (
        "POST /v1/scan HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        "1\r\n \r\n",
    ),
    (
        "POST /t/45WJFC7QGJG00VSKRCWBK9GR0Q/report HTTP/1.1\r\nhost: a\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: 60000\r\n\r\n",
        "a",
    ),
    ("GET /v1/health HTTP/1.1\r\nhost: a\r\n", "x: y\r\n"),
];

/// Sends bodies in one-byte segments over that many connections. Returns the growth of the program in KiB.
async fn growth_under_slow_bodies(connections: usize, bytes: usize, pause: Duration) -> u64 {
    let program = Program::start(&[("TAG_MASTER_SECRET", SECRET), NO_REDIS]).await;
    for _ in 0..5 {
        assert!(answer(from(&program.bind, 0, 0).await, HEALTH).await.starts_with("HTTP/1.1 200"));
    }
    let before = program.memory("VmRSS");
    let mut attack = JoinSet::new();
    for n in 0..connections {
        let (head, part) = FRAMINGS[n % FRAMINGS.len()];
        let mut stream = from(&program.bind, 0, 0).await;
        attack.spawn(async move {
            stream.write_all(head.as_bytes()).await.unwrap();
            for byte in part.bytes().cycle().take(bytes) {
                // Stop before the time limit of the body.
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        });
    }
    attack.join_all().await;
    let grown = program.memory("VmHWM").saturating_sub(before);
    println!("{connections} connections: grown by {grown} KiB from {before} KiB");
    grown
}

#[tokio::test]
async fn bodies_and_heads_sent_byte_by_byte_take_little_memory() {
    let bar = 32 * 1024;
    let grown = growth_under_slow_bodies(8, 2_000, Duration::from_millis(1)).await;
    assert!(grown < bar, "8 connections: {grown} KiB");
    let grown = growth_under_slow_bodies(200, 250, Duration::from_millis(10)).await;
    assert!(grown < bar, "200 connections: {grown} KiB");
}

#[tokio::test]
async fn idle_connections_do_not_exclude_other_clients_and_their_limit_is_logged_once() {
    let settings = [
        ("TAG_MASTER_SECRET", SECRET),
        NO_REDIS,
        ("MAX_CONNECTIONS", "20"),
        ("MAX_CONNECTIONS_PER_CLIENT", "5"),
        ("KEEP_ALIVE_SECS", "600"),
    ];
    let mut program = Program::start(&settings).await;
    let mut idle = Vec::new();
    for n in 0..60 {
        idle.push(from(&program.bind, 0, n / 4).await);
        let one_client = from(&program.bind, 9, 9).await;
        if n > 20 {
            idle.push(one_client);
        }
        let health = answer(from(&program.bind, 1, n).await, HEALTH).await;
        assert!(health.starts_with("HTTP/1.1 200"), "{n}: {health}");
    }
    let metrics = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let metrics = answer(from(&program.bind, 2, 2).await, metrics).await;
    let value = |series: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
    };
    assert!(value("voketag_http_connections") <= 20);
    assert_eq!(value("voketag_http_connections_limit"), 20);
    assert!(value("voketag_http_connections_shed_total{limit=\"total\"}") > 30);
    assert!(value("voketag_http_connections_shed_total{limit=\"client\"}") > 0);
    let log = program.stop().await;
    assert_eq!(log.matches("connection limit reached").count(), 1, "{log}");
    assert_eq!(log.matches("connections rejected: client at its limit").count(), 1, "{log}");
}

#[tokio::test]
async fn an_idle_connection_lasts_for_the_keep_alive_time() {
    let program = Program::start(&[("TAG_MASTER_SECRET", SECRET), NO_REDIS, ("KEEP_ALIVE_SECS", "1")]).await;
    let kept = "GET /v1/health HTTP/1.1\r\nhost: a\r\n\r\n";
    let clock = SystemClock::new();
    let text = answer(from(&program.bind, 0, 0).await, kept).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!((1..20).contains(&clock.monotonic().as_secs()), "{:?}", clock.monotonic());
}

#[tokio::test]
async fn with_few_descriptors_and_many_idle_clients_the_service_reconnects_to_redis() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let url = proxy.url();
    let settings =
        [("TAG_MASTER_SECRET", SECRET), ("REDIS_URL", url.as_str()), ("REDIS_COMMAND_TIMEOUT_MS", "5000")];
    let mut program = Program::start_with_descriptors(300, &settings).await;
    let scan = format!("GET /v1/scan/{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", shop.tag(0));
    let scanned = async || answer(from(&program.bind, 9, 9).await, &scan).await.starts_with("HTTP/1.1 200");
    eventually("a scan passes", WAIT_LIMIT, scanned).await;
    proxy.cut();
    let mut idle = Vec::new();
    for n in 0..250_u8 {
        for host in 0..2 {
            idle.push(from(&program.bind, host, n).await);
        }
    }
    proxy.heal();
    eventually("a scan passes again", WAIT_LIMIT, scanned).await;
    let log = program.stop().await;
    assert!(log.contains("MAX_CONNECTIONS lowered") && log.contains("\"max_connections\":236"), "{log}");
    assert!(!log.contains("accept failed"), "{log}");
}

#[tokio::test]
async fn a_public_address_serves_no_metrics_and_logs_that_once() {
    let get = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let base = [("TAG_MASTER_SECRET", SECRET), NO_REDIS, ("BIND_ADDR", "0.0.0.0:0")];
    for (more, status, warnings) in [
        (vec![], "404", 1),
        (vec![("METRICS_PUBLIC", "true")], "200", 0),
        (vec![("METRICS_BIND_ADDR", "127.0.0.1:0")], "404", 0),
    ] {
        let settings: Vec<_> = base.into_iter().chain(more.clone()).collect();
        let mut program = Program::start(&settings).await;
        let bind = program.bind.replace("0.0.0.0", "127.0.0.1");
        let shown = answer(from(&bind, 0, 0).await, get).await;
        assert!(shown.starts_with(&format!("HTTP/1.1 {status}")), "{more:?}: {shown}");
        let log = program.stop().await;
        assert_eq!(log.matches("/metrics is not served").count(), warnings, "{more:?}: {log}");
    }
}

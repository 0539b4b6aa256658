//! The fault proxy: every fault holds from the instant it is asked for, and `heal` undoes each.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as the test itself may")]

use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use test_support::{FaultProxy, RedisServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reply that must not come is waited for.
const NOTHING_COMES: Duration = Duration::from_millis(50);

/// An upstream that sends back whatever it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut link, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = link.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    addr
}

async fn heard(link: &mut TcpStream) -> String {
    let mut buffer = [0; 64];
    let length = timeout(PATIENCE, link.read(&mut buffer)).await.expect("an answer in time").unwrap_or(0);
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

async fn hears_nothing(link: &mut TcpStream) -> bool {
    timeout(NOTHING_COMES, link.readable()).await.is_err()
}

async fn redis_through(proxy: &FaultProxy) -> MultiplexedConnection {
    redis::Client::open(proxy.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn incr(connection: &mut MultiplexedConnection) -> redis::RedisResult<u64> {
    redis::cmd("INCR").arg("n").query_async(connection).await
}

async fn count_at(server: &RedisServer) -> u64 {
    let count: Option<u64> =
        redis::cmd("GET").arg("n").query_async(&mut server.connection().await).await.unwrap();
    count.unwrap_or(0)
}

#[tokio::test]
async fn passes_bytes_both_ways_and_the_end_of_them() {
    let proxy = FaultProxy::start(echo().await).await;
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    let sent = vec![7_u8; 1_000_000];
    let (mut read, mut write) = link.split();
    let write_all = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, outcome) = tokio::join!(write_all, read.read_to_end(&mut received));
    outcome.unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn cut_closes_links_and_refuses_new_ones_until_healed() {
    let proxy = FaultProxy::start(echo().await).await;
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    link.write_all(b"one").await.unwrap();
    assert_eq!(heard(&mut link).await, "one");

    proxy.cut();
    assert_eq!(heard(&mut link).await, "");
    assert!(TcpStream::connect(proxy.addr()).await.is_err());

    proxy.heal();
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    link.write_all(b"two").await.unwrap();
    assert_eq!(heard(&mut link).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_heal_may_follow_each_other_at_once() {
    let proxy = FaultProxy::start(echo().await).await;
    for _ in 0..50 {
        let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
        link.write_all(b"x").await.unwrap();
        assert_eq!(heard(&mut link).await, "x");
        proxy.cut();
        proxy.heal();
        assert_eq!(heard(&mut link).await, "");
    }
}

#[tokio::test]
async fn stall_holds_both_ways_and_heal_lets_the_held_bytes_through() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.stall();
    link.write_all(b"INCR n\r\n").await.unwrap();
    assert!(hears_nothing(&mut link).await);
    assert_eq!(count_at(&server).await, 0);
    let mut late = TcpStream::connect(proxy.addr()).await.unwrap();
    late.write_all(b"PING\r\n").await.unwrap();
    assert!(hears_nothing(&mut late).await);

    proxy.heal();
    assert_eq!(heard(&mut link).await, ":1\r\n");
    assert_eq!(heard(&mut late).await, "+PONG\r\n");
}

#[tokio::test]
async fn stalled_replies_let_requests_through() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.stall_replies();
    link.write_all(b"INCR n\r\n").await.unwrap();
    eventually("the increment is carried out", PATIENCE, || async { count_at(&server).await == 1 }).await;
    assert!(hears_nothing(&mut link).await);

    proxy.heal();
    assert_eq!(heard(&mut link).await, ":1\r\n");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test measures how long it really waits")]
async fn delay_is_paid_once_each_way() {
    let proxy = FaultProxy::start(echo().await).await;
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.delay(Duration::from_millis(30));
    let before = Instant::now();
    link.write_all(b"x").await.unwrap();
    assert_eq!(heard(&mut link).await, "x");
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_to_a_request_that_was_carried_out() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    for round in 1..=50 {
        let mut connection = redis_through(&proxy).await;
        proxy.drop_replies_and_cut_after_next_request();
        let error = incr(&mut connection).await.unwrap_err();
        assert!(error.is_connection_dropped(), "{error}");
        assert_eq!(count_at(&server).await, round);
    }
}

#[tokio::test]
async fn only_one_reply_is_lost() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let (mut one, mut other) = (redis_through(&proxy).await, redis_through(&proxy).await);
    proxy.drop_replies_and_cut_after_next_request();
    incr(&mut one).await.unwrap_err();
    assert_eq!(incr(&mut other).await.unwrap(), 2);
    assert_eq!(incr(&mut redis_through(&proxy).await).await.unwrap(), 3);
}

#[tokio::test]
async fn a_large_request_is_carried_out_before_its_reply_is_lost() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let mut connection = redis_through(&proxy).await;
    proxy.drop_replies_and_cut_after_next_request();
    let value = vec![b'v'; 1_000_000];
    redis::cmd("SET").arg("big").arg(&value).exec_async(&mut connection).await.unwrap_err();
    let length: usize =
        redis::cmd("STRLEN").arg("big").query_async(&mut server.connection().await).await.unwrap();
    assert_eq!(length, value.len());
}

#[tokio::test]
async fn an_upstream_that_is_down_closes_the_link_and_one_that_returns_serves_again() {
    let mut server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    server.kill();
    let mut link = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(heard(&mut link).await, "");
    server.restart().await;
    assert_eq!(incr(&mut redis_through(&proxy).await).await.unwrap(), 1);
}

#[tokio::test]
async fn dropping_the_proxy_closes_everything() {
    let proxy = FaultProxy::start(echo().await).await;
    let addr = proxy.addr();
    let mut link = TcpStream::connect(addr).await.unwrap();
    link.write_all(b"x").await.unwrap();
    assert_eq!(heard(&mut link).await, "x");
    drop(proxy);
    assert_eq!(heard(&mut link).await, "");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn an_earlier_reply_does_not_end_the_wait_for_the_lost_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    client.write_all(b"one").await.unwrap();
    assert_eq!(heard(&mut upstream).await, "one");

    proxy.drop_replies_and_cut_after_next_request();
    client.write_all(b"two").await.unwrap();
    assert_eq!(heard(&mut upstream).await, "two");
    upstream.write_all(b"reply to one").await.unwrap();
    assert_eq!(heard(&mut upstream).await, "");
    assert!(hears_nothing(&mut client).await);

    upstream.write_all(b"reply to two").await.unwrap();
    drop(upstream);
    assert_eq!(heard(&mut client).await, "");
}

//! The ways to a Redis other than a plain port: a Unix socket, and TLS.

use std::time::Duration;

use redis_pool::PoolError;
use test_support::RedisServer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::{LONG_MS, echo, pool, text};

#[tokio::test]
async fn a_unix_socket_serves_like_a_port_and_asks_for_the_password_too() {
    let redis = RedisServer::start_with(&["--unixsocket", "redis.sock", "--requirepass", "sesame"]).await;
    let path = redis.dir().join("redis.sock");
    let path = path.to_str().expect("a temporary directory has a plain name");

    let with_password = pool(&format!("redis+unix://{path}?pass=sesame"), 10, LONG_MS);
    assert_eq!(text(with_password.command(echo("hello")).await.unwrap()), "hello");

    let without = pool(&format!("redis+unix://{path}"), 10, 2_000);
    let refused = without.command(echo("hello")).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn a_unix_socket_that_is_not_there_is_unavailable() {
    let outcome = pool("redis+unix:///nowhere/redis.sock", 10, 2_000).command(echo("hello")).await;
    assert!(matches!(outcome, Err(PoolError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_tls_address_never_shows_its_password_to_a_server_that_cannot_prove_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pool = pool(&format!("rediss://:hunter2@127.0.0.1:{port}"), 10, 500);
    let sent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        // Answers nothing: what is sent before a handshake ends is all that comes.
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut sent)).await;
        sent
    });
    let outcome = pool.command(echo("hello")).await;
    assert!(matches!(outcome, Err(PoolError::Unavailable { .. })), "{outcome:?}");
    drop(pool);

    let sent = sent.await.unwrap();
    assert!(!sent.windows(7).any(|part| part == b"hunter2"), "the password was sent in clear");
    assert!(!sent.windows(4).any(|part| part == b"AUTH" || part == b"ECHO"), "a command was sent in clear");
    // A TLS handshake record; nothing at all on a machine that trusts no certificates.
    assert!(matches!(sent.first(), None | Some(0x16)), "{sent:?}");
}

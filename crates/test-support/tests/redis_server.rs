//! The private redis-server: what a test may rely on when it kills, pauses and restarts it.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as the test itself may")]

use std::net::TcpStream;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, eventually};

const PATIENCE: Duration = Duration::from_secs(10);

async fn set(connection: &mut MultiplexedConnection, key: &str, value: &str) {
    redis::cmd("SET").arg(key).arg(value).exec_async(connection).await.unwrap();
}

async fn get(connection: &mut MultiplexedConnection, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query_async(connection).await.unwrap()
}

#[tokio::test]
async fn each_server_has_its_own_port_and_data() {
    let (one, other) = tokio::join!(RedisServer::start(), RedisServer::start());
    assert_ne!(one.port(), other.port());
    assert_eq!(one.url(), format!("redis://127.0.0.1:{}", one.port()));
    set(&mut one.connection().await, "k", "v").await;
    assert_eq!(get(&mut one.connection().await, "k").await.as_deref(), Some("v"));
    assert_eq!(get(&mut other.connection().await, "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_servers_start_at_once() {
    let starts: Vec<_> = (0..8).map(|_| tokio::spawn(RedisServer::start())).collect();
    let mut ports = Vec::new();
    let mut servers = Vec::new();
    for start in starts {
        let server = start.await.unwrap();
        ports.push(server.port());
        servers.push(server);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 8);
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the test measures how long it really waits")]
async fn starts_under_a_paused_clock() {
    let before = tokio::time::Instant::now();
    let mut server = RedisServer::start().await;
    server.restart().await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn dropping_leaves_neither_listener_nor_directory() {
    let server = RedisServer::start().await;
    let (addr, dir) = (server.addr(), server.dir().to_owned());
    assert!(dir.is_dir());
    drop(server);
    assert!(TcpStream::connect(addr).is_err());
    assert!(!dir.exists());
}

#[tokio::test]
async fn kill_refuses_connections_and_restart_comes_back_empty_on_the_same_port() {
    let mut server = RedisServer::start().await;
    let addr = server.addr();
    set(&mut server.connection().await, "k", "v").await;
    server.kill();
    assert!(TcpStream::connect(addr).is_err());
    server.restart().await;
    assert_eq!(server.addr(), addr);
    assert_eq!(get(&mut server.connection().await, "k").await, None);
}

#[tokio::test]
async fn append_only_data_survives_a_kill() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    set(&mut server.connection().await, "k", "v").await;
    server.kill();
    server.restart().await;
    assert_eq!(get(&mut server.connection().await, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn restarting_a_running_server_replaces_it() {
    let mut server = RedisServer::start().await;
    set(&mut server.connection().await, "k", "v").await;
    server.restart().await;
    assert_eq!(get(&mut server.connection().await, "k").await, None);
}

#[tokio::test]
async fn a_paused_server_answers_only_once_resumed() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    server.pause();
    let mut write = tokio::spawn(async move {
        set(&mut connection, "k", "v").await;
        connection
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut write).await.is_err());
    server.resume();
    let mut connection = write.await.unwrap();
    assert_eq!(get(&mut connection, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_paused_server_dies_all_the_same() {
    let server = RedisServer::start().await;
    let addr = server.addr();
    server.pause();
    drop(server);
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn a_password_is_part_of_the_url() {
    let server = RedisServer::start_with(&["--requirepass", "sesame"]).await;
    assert_eq!(server.url(), format!("redis://:sesame@{}", server.addr()));
    set(&mut server.connection().await, "k", "v").await;
}

#[tokio::test]
async fn debug_commands_are_allowed() {
    let server = RedisServer::start().await;
    redis::cmd("DEBUG").arg("SLEEP").arg(0).exec_async(&mut server.connection().await).await.unwrap();
}

#[tokio::test]
#[should_panic(expected = "Bad directive")]
async fn a_wrong_argument_panics_with_the_servers_own_words() {
    let _ = RedisServer::start_with(&["--no-such-directive", "1"]).await;
}

#[tokio::test]
async fn eventually_waits_for_the_condition() {
    let mut asked = 0;
    eventually("asked three times", PATIENCE, || {
        asked += 1;
        std::future::ready(asked == 3)
    })
    .await;
    assert_eq!(asked, 3);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not so within 10s: pigs fly")]
async fn eventually_names_what_did_not_happen() {
    eventually("pigs fly", PATIENCE, || std::future::ready(false)).await;
}

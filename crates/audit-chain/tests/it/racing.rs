//! Another appender wins every race: the append fails with contention at its deadline and writes nothing.

use crate::support::{PATIENT, appender, appender_with, config, event, trace_key, trace_of, verified_events};
use audit_chain::{AppendError, Appender, AppenderConfig, Effect};
use redis::AsyncCommands;
use std::net::SocketAddr;
use std::time::Duration;
use test_support::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that makes `rival` append an event before it forwards a request.
async fn rival_in_front_of(upstream: SocketAddr, rival: Appender) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let rival = rival.clone();
            tokio::spawn(async move {
                let (mut requests, mut replies_out) = client.into_split();
                let (mut replies, mut requests_out) =
                    TcpStream::connect(upstream).await.unwrap().into_split();
                let back = tokio::spawn(async move { tokio::io::copy(&mut replies, &mut replies_out).await });
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = requests.read(&mut chunk).await {
                    rival.append(&event("rival"), Effect::none()).await.unwrap();
                    requests_out.write_all(&chunk[..length]).await.unwrap();
                }
                back.abort();
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_loses_every_race_fails_with_contention_and_writes_nothing() {
    let redis = RedisServer::start().await;
    let rival = appender(&redis.url());
    let url = rival_in_front_of(redis.addr(), rival.clone()).await;
    let deadline = Duration::from_secs(2);
    let loser = appender_with(&url, PATIENT, AppenderConfig { deadline, ..config() });
    let events = [event("tag/1"), event("tag/2")];
    let (one, two) = tokio::join!(
        loser.append(&events[0], trace_of(&events[0])),
        loser.append(&events[1], trace_of(&events[1]))
    );
    assert!(matches!(one, Err(AppendError::Contention)), "{one:?}");
    assert!(matches!(two, Err(AppendError::Contention)), "{two:?}");
    let written = verified_events(&rival).await;
    // Without pauses between the attempts there would be thousands.
    assert!((2..400).contains(&written.len()), "{} attempts", written.len());
    assert!(written.iter().all(|event| event.what().resource == "rival"));
    let mut direct = redis.connection().await;
    for event in &events {
        assert!(!direct.exists::<_, bool>(trace_key(event)).await.unwrap());
    }
}

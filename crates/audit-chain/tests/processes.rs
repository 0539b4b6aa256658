//! Four processes with fifty writers of ten events each append to one chain.
//!
//! The test is its own child program, so it has no harness. With the arguments `writer <url> <number>` it
//! appends; without, it starts four of itself and verifies the chain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{
    Appender, AppenderConfig, AuditLog, AuditMetrics, Details, Effect, Event, NewEvent, RedisWrite,
};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use test_support::RedisServer;

const ORIGIN: &str = "voketag.local/audit";
const PROCESSES: usize = 4;
const WRITERS: usize = 50;
const EVENTS: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["writer", url, number] => runtime.block_on(write(url, number)),
        // Test runners list tests first, and ignored tests with a second call.
        list if list.contains(&"--list") => {
            if !list.contains(&"--ignored") {
                println!("four_processes_lose_and_duplicate_nothing: test");
            }
        }
        _ => runtime.block_on(four_processes_lose_and_duplicate_nothing()),
    }
}

fn pool(url: &str) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(16).unwrap(),
        connections: NonZeroUsize::new(1).unwrap(),
        wait: Duration::from_secs(30),
        command_timeout: Duration::from_secs(30),
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

fn event(resource: String) -> Event {
    let what = NewEvent {
        tenant: "default".into(),
        actor: "key/test".into(),
        action: "tag.revoked".into(),
        resource,
        request_id: "req".into(),
        ip: None,
        details: Details::new(),
    };
    let now = SystemClock::new().unix_millis();
    Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what).unwrap()
}

/// Prints `<seq> <event id>` for every acknowledged event.
async fn write(url: &str, number: &str) {
    // A deadline that a busy machine does not reach.
    let config =
        AppenderConfig { deadline: Duration::from_secs(60), ..AppenderConfig::new(ORIGIN, Vec::new()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let appender = Appender::start(pool(url), config, clock, &AuditMetrics::default());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (appender, name) = (appender.clone(), format!("tag/{number}-{writer}"));
        writers.spawn(async move {
            for _ in 0..EVENTS {
                let event = event(name.clone());
                let trace = RedisWrite::Set { key: format!("trace:{}", event.id()).into(), value: vec![] };
                let appended = appender.append(&event, Effect::none().write(trace)).await.unwrap();
                println!("{} {}", appended.seq, event.id());
            }
        });
    }
    writers.join_all().await;
}

async fn four_processes_lose_and_duplicate_nothing() {
    let redis = RedisServer::start().await;
    let program = std::env::current_exe().unwrap();
    let start = |number: usize| {
        let mut command = Command::new(&program);
        command.args(["writer", &redis.url(), &number.to_string()]).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let mut acknowledged = HashMap::new();
    for child in children {
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "a writer failed");
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (seq, id) = line.split_once(' ').unwrap();
            assert!(acknowledged.insert(seq.parse::<u64>().unwrap(), id.to_owned()).is_none());
        }
    }
    assert_eq!(acknowledged.len(), PROCESSES * WRITERS * EVENTS);
    let log = AuditLog::new(pool(&redis.url()), ORIGIN);
    let report = log.verify(0..u64::MAX).await.unwrap();
    assert!(report.ok && report.checked == acknowledged.len() as u64, "{report:?}");
    let mut after = None;
    loop {
        let page = log.entries(after, NonZeroUsize::new(500).unwrap()).await.unwrap();
        for entry in page.events {
            let stored = Event::parse(entry.event.get().as_bytes()).unwrap();
            assert_eq!(acknowledged.remove(&entry.seq), Some(stored.id().to_string()));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(acknowledged.is_empty());
    let mut direct = redis.connection().await;
    let traces: Vec<String> = redis::cmd("KEYS").arg("trace:*").query_async(&mut direct).await.unwrap();
    assert_eq!(traces.len(), PROCESSES * WRITERS * EVENTS);
    println!("four processes lose and duplicate nothing: ok");
}

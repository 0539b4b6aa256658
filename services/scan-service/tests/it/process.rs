//! The program itself: it refuses wrong settings in one line, serves, checks its health and stops when told to.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::app::PATIENCE;
use crate::shop::{SECRET, Shop};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scan-service");

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(arguments).envs(settings.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

/// The program as it runs, killed when dropped.
pub(crate) struct Program {
    pub(crate) bind: String,
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Program {
    /// Waits until it says where it listens, in a log of JSON.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = tokio::process::Command::new(PROGRAM);
        command
            .env_clear()
            .envs(settings.iter().copied())
            .envs([("LOG_FORMAT", "json"), ("BIND_ADDR", "127.0.0.1:0")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut program = Self { bind: String::new(), child, out, err, seen: Vec::new() };
        program.bind = tokio::time::timeout(PATIENCE, program.until_it_listens()).await.unwrap();
        program
    }

    async fn until_it_listens(&mut self) -> String {
        loop {
            let line = tokio::select! {
                Ok(Some(line)) = self.out.next_line() => line,
                Ok(Some(line)) = self.err.next_line() => line,
                else => panic!("it ended: {:?}", self.seen),
            };
            let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            self.seen.push(line);
            if let Some(bind) = entry.pointer("/fields/bind").or_else(|| entry.get("bind")) {
                return bind.as_str().unwrap().to_owned();
            }
        }
    }

    /// Asks it to end and waits until it has; gives back all it wrote.
    async fn stop(&mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        while let Ok(Some(line)) = self.out.next_line().await {
            self.seen.push(line);
        }
        while let Ok(Some(line)) = self.err.next_line().await {
            self.seen.push(line);
        }
        self.seen.join("\n")
    }
}

#[test]
fn wrong_settings_stop_the_start_with_one_line() {
    let secret = ("TAG_MASTER_SECRET", SECRET);
    for (settings, name) in [
        (&[][..], "TAG_MASTER_SECRET"),
        (&[("TAG_MASTER_SECRET", "short")], "TAG_MASTER_SECRET"),
        (&[secret, ("REDIS_URL", "nonsense")], "REDIS_URL"),
        (&[secret, ("COLD_START_FACTOR", "2")], "COLD_START_FACTOR"),
        (&[secret, ("BIND_ADDR", "127.0.0.1:9"), ("METRICS_BIND_ADDR", "127.0.0.1:9")], "METRICS_BIND_ADDR"),
    ] {
        let output = run(&[], settings);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{settings:?}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("scan-service: ") && text.contains(name), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn an_address_that_is_taken_stops_the_start_and_is_named_by_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let secret = ("TAG_MASTER_SECRET", SECRET);
    for (settings, name) in [
        ([secret, ("BIND_ADDR", taken.as_str()), ("METRICS_BIND_ADDR", "127.0.0.1:0")], "BIND_ADDR"),
        ([secret, ("BIND_ADDR", "127.0.0.1:0"), ("METRICS_BIND_ADDR", taken.as_str())], "METRICS_BIND_ADDR"),
    ] {
        let output = run(&[], &settings);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{settings:?}");
        assert!(text.starts_with(&format!("scan-service: {name} is {taken}, ")), "{text}");
    }
}

#[tokio::test]
async fn it_serves_checks_its_health_and_stops_on_sigterm() {
    let shop = Shop::open().await;
    let url = shop.redis.url();
    let settings = [
        ("TAG_MASTER_SECRET", SECRET),
        ("REDIS_URL", url.as_str()),
        ("METRICS_BIND_ADDR", "127.0.0.1:0"),
        ("REDIS_COMMAND_TIMEOUT_MS", "10000"),
    ];
    let mut program = Program::start(&settings).await;
    let bind = program.bind.clone();
    let answer = reqwest::get(format!("http://{bind}/v1/scan/{}", shop.tag(0))).await;
    assert!(matches!(answer.unwrap().status().as_u16(), 200 | 503), "503 only before it has looked");
    test_support::eventually("the health check is content", PATIENCE, || async {
        let settings = [("TAG_MASTER_SECRET", SECRET), ("BIND_ADDR", bind.as_str())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut check = tokio::process::Command::new(PROGRAM);
        check.env_clear().envs(settings).arg("healthcheck");
        check.output().await.unwrap().status.success()
    })
    .await;
    let log = program.stop().await;
    assert!(log.contains("has stopped"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains(&shop.tag(0).to_string()), "{log}");
    let refused = run(&["healthcheck"], &[("TAG_MASTER_SECRET", SECRET), ("BIND_ADDR", &bind)]);
    assert!(!refused.status.success() && !refused.stderr.is_empty());
}

//! The program: it rejects wrong settings in one line, serves, checks its health, and stops on a signal.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::app::WAIT_LIMIT;
use crate::shop::{SECRET, Shop};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scan-service");

pub(crate) fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(arguments).envs(settings.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

/// The running program. Dropping it kills the program.
pub(crate) struct Program {
    pub(crate) bind: String,
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Program {
    /// Starts the program and waits until its JSON log has its address.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_as(tokio::process::Command::new(PROGRAM), settings).await
    }

    /// Starts the program with a limit of file descriptors.
    pub(crate) async fn start_with_descriptors(most: u32, settings: &[(&str, &str)]) -> Self {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", &format!("ulimit -n {most} && exec \"$0\""), PROGRAM]);
        Self::start_as(command, settings).await
    }

    async fn start_as(mut command: tokio::process::Command, settings: &[(&str, &str)]) -> Self {
        let bind = [("LOG_FORMAT", "json"), ("BIND_ADDR", "127.0.0.1:0")];
        command.env_clear().envs(bind).envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut program = Self { bind: String::new(), child, out, err, seen: Vec::new() };
        program.bind = tokio::time::timeout(WAIT_LIMIT, program.until_it_listens()).await.unwrap();
        program
    }

    async fn until_it_listens(&mut self) -> String {
        loop {
            let line = tokio::select! {
                Ok(Some(line)) = self.out.next_line() => line,
                Ok(Some(line)) = self.err.next_line() => line,
                else => panic!("the program ended: {:?}", self.seen),
            };
            let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            self.seen.push(line);
            if let Some(bind) = entry.pointer("/fields/bind").or_else(|| entry.get("bind")) {
                return bind.as_str().unwrap().to_owned();
            }
        }
    }

    /// Returns a value of `/proc/<pid>/status` in KiB.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends SIGTERM, waits for the end, and returns the whole log.
    pub(crate) async fn stop(&mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = tokio::time::timeout(WAIT_LIMIT, self.child.wait()).await.unwrap().unwrap();
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
fn check_config_prints_the_effective_settings_without_secrets_and_exits() {
    let secret = ("TAG_MASTER_SECRET", SECRET);
    let with_password = "redis+unix:///run/limits.sock?pass=hunter2";
    let output = run(
        &["serve", "--check-config"],
        &[secret, ("RATE_LIMIT_REDIS_URL", with_password), ("TRUSTED_PROXIES", "10.0.0.0/8, ::1")],
    );
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{shown}");
    for line in [
        "RATE_LIMIT_REDIS_URL=/run/limits.sock db 0",
        "REDIS_URL=127.0.0.1:6379 db 0 (default)",
        "GLOBAL_REDIS_URL=(not set)",
        "RATE_LIMIT_IP_PER_MINUTE=100 (default)",
        "RATE_LIMIT_ON_REDIS_DOWN=closed (default)",
        "REGION=default (default)",
        "COLD_START_SECS=300 (default)",
        "COLD_START_FACTOR=0.5 (default)",
        "TRUSTED_PROXIES=10.0.0.0/8,::1/128",
        "TAG_MASTER_SECRET=(secret)",
        "TAG_KEY_EPOCH=1 (default)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"), "{shown}");
    for name in ["REDIS_URL", "RATE_LIMIT_REDIS_URL", "GLOBAL_REDIS_URL"] {
        let output = run(&["serve", "--check-config"], &[secret, (name, "redis://:hunter2@h/0?db=3")]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{error}");
        assert!(error.contains(&format!("{name} is")) && error.contains("query parameter db"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "redis://:hunter2@from.file/3\n").unwrap();
        let (variable, path) = (format!("{name}_FILE"), file.path().to_str().unwrap());
        let output = run(&["serve", "--check-config"], &[secret, (variable.as_str(), path)]);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains(&format!("{name}=from.file:6379 db 3 (from {name}_FILE)\n")), "{shown}");
    }
}

#[tokio::test]
async fn a_misspelt_setting_is_a_warning_at_the_start_that_suggests_the_right_name() {
    let settings = [
        ("TAG_MASTER_SECRET", SECRET),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("RATE_LIMIT_IP_PERMINUTE", "5"),
        ("TAG_MASTER_SECERT_2", "hunter2"),
        ("RUST_BACKTRACE", "1"),
        ("REDIS_PORT", "6379"),
    ];
    let mut program = Program::start(&settings).await;
    let log = program.stop().await;
    for (wrong, right) in [
        ("RATE_LIMIT_IP_PERMINUTE", "RATE_LIMIT_IP_PER_MINUTE"),
        ("TAG_MASTER_SECERT_2", "TAG_MASTER_SECRET_2"),
    ] {
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains(wrong)).collect();
        assert_eq!(warnings.len(), 1, "{log}");
        let suggested = warnings[0].contains(&format!("\"{right}\""));
        assert!(warnings[0].contains("WARN") && suggested, "{warnings:?}");
    }
    assert!(
        !log.contains("hunter2") && !log.contains("RUST_BACKTRACE") && !log.contains("REDIS_PORT"),
        "{log}"
    );
}

#[test]
fn an_address_in_use_stops_the_start_and_the_error_names_its_variable() {
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
async fn the_program_serves_reports_health_and_stops_on_sigterm() {
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
    assert!(matches!(answer.unwrap().status().as_u16(), 200 | 503), "503 only until it has checked Redis");
    test_support::eventually("the health check succeeds", WAIT_LIMIT, || async {
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
    let rejected = run(&["healthcheck"], &[("TAG_MASTER_SECRET", SECRET), ("BIND_ADDR", &bind)]);
    assert!(!rejected.status.success() && !rejected.stderr.is_empty());
}

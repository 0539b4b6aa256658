//! The program: its start, its error messages and its end.

use std::process::{Command, Output, Stdio};

use test_support::{RedisServer, eventually};

use crate::support::{KEY, SECRET, SOON};

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
    command.env_clear().env("FACTORY_API_KEY", KEY).env("TAG_MASTER_SECRET", SECRET);
    command.env("PUBLIC_BASE_URL", "https://v.example");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns an address that is free now.
pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn help_and_version_need_no_settings() {
    for (flag, expected) in [("--help", "healthcheck"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = program().env_clear().arg(flag).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{flag}");
    }
}

#[test]
fn an_invalid_setting_stops_the_start_with_a_one_line_error() {
    for (name, wrong) in [
        ("BIND_ADDR", "8081"),
        ("FACTORY_API_KEY", "short"),
        ("TAG_MASTER_SECRET", "nonsense"),
        ("DEPLOYMENT_INIT", "maybe"),
        ("REDIS_URL", "http://localhost"),
        ("PUBLIC_BASE_URL", "ftp://x"),
        ("TAG_KEY_EPOCH", "0"),
    ] {
        let output = program().env(name, wrong).output().unwrap();
        let message = stderr(&output);
        assert!(!output.status.success(), "{name}");
        assert!(
            message.contains(name) && message.contains("takes") && message.lines().count() == 1,
            "{message}"
        );
        let secret = name.contains("KEY") && name != "TAG_KEY_EPOCH" || name.contains("SECRET");
        assert_eq!(message.contains(wrong), !secret, "{message}");
    }
}

#[test]
fn only_serving_requires_a_public_base_url() {
    let output = program().env_remove("PUBLIC_BASE_URL").output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.starts_with("factory-service: PUBLIC_BASE_URL is not set; it takes a URL"), "{message}");
    let address = free_address();
    let output = program()
        .env_remove("PUBLIC_BASE_URL")
        .env("BIND_ADDR", address)
        .arg("healthcheck")
        .output()
        .unwrap();
    assert!(!stderr(&output).contains("PUBLIC_BASE_URL"), "{output:?}");
}

#[test]
fn check_config_prints_the_effective_settings_without_secrets_and_exits() {
    let check = |more: &[(&str, &str)]| {
        program().envs(more.iter().copied()).args(["serve", "--check-config"]).output().unwrap()
    };
    let output = check(&[
        ("REDIS_URL", "redis://u:hunter2@redis.example:7000/3"),
        ("AUDIT_SIGNING_KEY_2", SECRET),
        ("IDEMPOTENCY_LEASE_SM", "5000"),
    ]);
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for line in [
        "REDIS_URL=redis.example:7000 db 3",
        "REDIS_POOL_SIZE=100 (default)",
        "BIND_ADDR=127.0.0.1:8081 (default)",
        "PUBLIC_BASE_URL=https://v.example",
        "TRUSTED_PROXIES=(not set)",
        "DEPLOYMENT_INIT=auto (default)",
        "FACTORY_API_KEY=(secret)",
        "TAG_MASTER_SECRET=(secret)",
        "AUDIT_SIGNING_KEY=(not set)",
        "AUDIT_SIGNING_KEY_2=(secret)",
        "IDEMPOTENCY_LEASE_MS=10000 (default)",
        "LOG_FORMAT=json (default)",
        "RUST_LOG=info (default)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let all = format!("{shown}{}", stderr(&output));
    assert!(!all.contains(KEY) && !all.contains(SECRET) && !all.contains("hunter2"), "{all}");
    assert!(
        stderr(&output).contains("IDEMPOTENCY_LEASE_SM") && stderr(&output).contains("IDEMPOTENCY_LEASE_MS?")
    );
    let output = check(&[("REDIS_URL", "redis://h/?db=3")]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let message = stderr(&output);
    assert!(
        message.contains("REDIS_URL is")
            && message.contains("query parameter db")
            && message.contains("takes"),
        "{message}"
    );
}

#[test]
fn an_address_in_use_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program().env("BIND_ADDR", &address).output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains(&address), "{output:?}");
}

#[tokio::test]
async fn the_program_serves_reports_its_health_and_stops_on_sigterm() {
    let redis = RedisServer::start().await;
    let (address, metrics) = (free_address(), free_address());
    let check = || program().env("BIND_ADDR", &address).arg("healthcheck").output().unwrap();
    assert_eq!(check().status.code(), Some(1), "nothing listens yet");
    let mut serving = program()
        .env("BIND_ADDR", &address)
        .env("METRICS_BIND_ADDR", &metrics)
        .env("REDIS_URL", redis.url())
        .env("REDIS_COMMAND_TIMEOUT_MS", "5000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the health check succeeds", SOON, || async { check().status.success() }).await;
    let shown = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    assert!(shown.contains("voketag_build_info{service=\"factory-service\""), "{shown}");
    assert_eq!(reqwest::get(format!("http://{address}/metrics")).await.unwrap().status(), 404);
    let signal = Command::new("kill").args(["-TERM", &serving.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(serving.wait().unwrap().success(), "it exits with success");
}

//! What the log contains about an error, and what it never contains.

use crate::app::{App, routes};
use ambient::{Clock, SystemClock};
use http_edge::{AccessLog, EdgeConfig, ServeConfig};
use serde_json::Value;
use test_support::CapturedLog;

/// Returns the lines of the access log, or all others.
fn entries(log: &CapturedLog, of_access: bool) -> Vec<Value> {
    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| (line["target"] == "access") == of_access).collect()
}

#[tokio::test]
async fn an_internal_error_is_logged_once_with_its_cause_and_the_request_id() {
    let app = App::spawn().await;
    let lines = CapturedLog::of_this_thread();
    for (path, cause) in [("/internal", "the password is hunter2"), ("/panic", "panicked at")] {
        let id = app.get(path).await.headers()["x-request-id"].to_str().unwrap().to_owned();
        let all = entries(&lines, false);
        let about: Vec<&Value> = all.iter().filter(|line| line["request_id"] == *id).collect();
        assert_eq!(about.len(), 1, "{all:?}");
        assert_eq!((&about[0]["level"], &about[0]["route"]), (&"ERROR".into(), &path.into()));
        assert!(about[0]["cause"].as_str().unwrap().starts_with(cause), "{all:?}");
    }
    app.get("/nowhere").await;
    assert_eq!(entries(&lines, false).len(), 2, "{}", lines.text());
}

#[tokio::test]
async fn the_access_log_names_the_route_and_not_the_path() {
    let app = App::spawn().await;
    let lines = CapturedLog::of_this_thread();
    app.get("/items/12345?secret=67890").await;
    let all = entries(&lines, true);
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["route"], &all[0]["status"]), (&"/items/{id}".into(), &200.into()));
    assert!(!all[0].to_string().contains("12345") && !all[0].to_string().contains("67890"), "{all:?}");
}

#[tokio::test]
async fn the_access_log_has_the_wanted_requests_without_a_path() {
    for (access_log, expected) in [(AccessLog::Errors, 1), (AccessLog::All, 2)] {
        let edge = EdgeConfig { access_log, ..EdgeConfig::default() };
        let app = App::spawn_with(routes(), edge, ServeConfig::default()).await;
        let lines = CapturedLog::of_this_thread();
        app.get("/items/12345?secret=67890").await;
        app.get("/nowhere/12345").await;
        let all = entries(&lines, true);
        assert_eq!(all.len(), expected, "{all:?}");
        let last = all.last().unwrap();
        assert_eq!((&last["level"], &last["status"]), (&"INFO".into(), &404.into()));
        assert_eq!((&last["route"], &last["suppressed"]), (&"unmatched".into(), &0.into()));
        assert!(!format!("{all:?}").contains("12345") && !format!("{all:?}").contains("67890"), "{all:?}");
    }
}

#[tokio::test]
async fn the_access_log_is_bounded_however_many_requests_come() {
    let edge = EdgeConfig { access_log: AccessLog::All, ..EdgeConfig::default() };
    let app = App::spawn_with(routes(), edge, ServeConfig::default()).await;
    let lines = CapturedLog::of_this_thread();
    let clock = SystemClock::new();
    let started = clock.monotonic();
    for _ in 0..1_500 {
        app.get("/nowhere").await;
    }
    let took = clock.monotonic().saturating_sub(started);
    let all = entries(&lines, true);
    assert!(all.len() as u64 <= 100 * (took.as_secs() + 2), "{} lines in {took:?}", all.len());
}

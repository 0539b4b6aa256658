//! The answer of a readiness probe: 200 while every check holds, else a 503 problem that lists them.
//!
//! A warning (an eviction policy, a weak `appendfsync`) is shown and stays 200: taking the instance out of service
//! would not mend it. The same holds for a failed check that is not required: it names what does not work, and what the
//! instance is there for goes on.

use crate::problem::Problem;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// `Retry-After` of a service that is not ready.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What one dependency is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The dependency, e.g. `redis`.
    pub name: Cow<'static, str>,
    /// Whether requests can be served as far as it goes.
    pub ok: bool,
    /// Whether the instance is unready when this fails; shown only where it is not.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub required: bool,
    /// It works, and an operator should look at it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub warn: bool,
    /// One sentence, where there is something to say; no secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ok: true, required: true, warn: false, detail: None }
    }

    /// It works, but `detail`.
    pub fn warning(name: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, required: true, warn: true, detail: Some(detail.into()) }
    }

    /// It does not work: `detail`.
    pub fn failed(name: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, required: true, warn: false, detail: Some(detail.into()) }
    }

    /// The same check for an instance that goes on without what it names.
    #[must_use]
    pub fn not_required(self) -> Self {
        Self { required: self.ok, ..self }
    }
}

/// All checks of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    status: &'static str,
    checks: Vec<Check>,
}

impl Readiness {
    /// The verdict over `checks`: ready when each of them that is required is ok.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        let status = if checks.iter().all(|check| check.ok || !check.required) { "ready" } else { "unready" };
        Self { status, checks }
    }

    /// Whether traffic may come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

/// 200 `{"status": "ready", "checks": […]}`, or a 503 `not-ready` problem with the member `checks`.
impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        if self.is_ready() {
            return Json(self).into_response();
        }
        let failed: Vec<&str> = self
            .checks
            .iter()
            .filter(|check| !check.ok && check.required)
            .map(|check| check.name.as_ref())
            .collect();
        let detail = format!("not ready: {}", failed.join(", "));
        let checks = serde_json::to_value(&self.checks).expect("strings and booleans serialize");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail)
            .with_member("checks", checks)
            .with_retry_after(RETRY_AFTER)
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_that_is_not_required_is_named_and_changes_nothing() {
        let impaired = || Check::failed("audit_chain", "2 entries stand behind the head").not_required();
        let ready = Readiness::of(vec![Check::ok("redis"), impaired()]);
        assert!(ready.is_ready());
        let shown = serde_json::to_value(&ready).unwrap();
        let wanted = serde_json::json!([
            {"name": "redis", "ok": true},
            {"name": "audit_chain", "ok": false, "required": false, "detail": "2 entries stand behind the head"},
        ]);
        assert_eq!(shown["checks"], wanted);
        let unready = Readiness::of(vec![Check::failed("redis", "away"), impaired()]);
        assert!(!unready.is_ready());
        assert_eq!(
            serde_json::to_value(Check::ok("x").not_required()).unwrap()["required"],
            serde_json::Value::Null
        );
    }
}

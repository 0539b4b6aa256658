//! The response to a readiness probe: 200 if every required check passes, else a 503 problem that lists the
//! checks.
//!
//! A warning, e.g. about an eviction policy or a weak `appendfsync`, keeps the status 200: taking the
//! instance out of service would not help. The same holds for a failed check that is not required: the
//! instance still serves its main requests.

use crate::problem::Problem;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// `Retry-After` of a service that is not ready.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The dependency, e.g. `redis`.
    pub name: Cow<'static, str>,
    /// Whether this dependency lets requests be served.
    pub ok: bool,
    /// Whether the instance is unready if this check fails. The document shows only `false`.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub required: bool,
    /// The dependency works, but an operator should look at it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub warn: bool,
    /// One sentence about a failure or a warning, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Check {
    /// Creates a passed check.
    pub fn ok(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ok: true, required: true, warn: false, detail: None }
    }

    /// Creates a passed check with the warning `detail`.
    pub fn warning(name: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, required: true, warn: true, detail: Some(detail.into()) }
    }

    /// Creates a failed check with the reason `detail`.
    pub fn failed(name: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, required: true, warn: false, detail: Some(detail.into()) }
    }

    /// Returns the same check, whose failure leaves the instance ready.
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
    /// Combines `checks`: the instance is ready if every required check passed.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        let status = if checks.iter().all(|check| check.ok || !check.required) { "ready" } else { "unready" };
        Self { status, checks }
    }

    /// Whether the instance may get requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

/// Returns 200 `{"status": "ready", "checks": […]}`, or a 503 `not-ready` problem with the member `checks`.
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
    fn a_failed_check_that_is_not_required_is_listed_and_leaves_the_instance_ready() {
        let impaired = || Check::failed("audit_chain", "2 entries after the head").not_required();
        let ready = Readiness::of(vec![Check::ok("redis"), impaired()]);
        assert!(ready.is_ready());
        let shown = serde_json::to_value(&ready).unwrap();
        let wanted = serde_json::json!([
            {"name": "redis", "ok": true},
            {"name": "audit_chain", "ok": false, "required": false, "detail": "2 entries after the head"},
        ]);
        assert_eq!(shown["checks"], wanted);
        let unready = Readiness::of(vec![Check::failed("redis", "unavailable"), impaired()]);
        assert!(!unready.is_ready());
        assert_eq!(
            serde_json::to_value(Check::ok("x").not_required()).unwrap()["required"],
            serde_json::Value::Null
        );
    }
}

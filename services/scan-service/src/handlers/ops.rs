//! `GET /v1/health`, which checks no dependency, and `GET /v1/ready`, which lists each.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_edge::api_doc::{HealthBody, ReadinessBody, UnreadyBody, alive};
use http_edge::{Check, Readiness};
use problems::readiness_check;
use storage::AUDIT_CHAIN;

use crate::state::AppState;

/// Returns 200 while the process is alive. It checks no dependency.
#[utoipa::path(
    get, path = "/v1/health", tag = "operation", operation_id = "health",
    security(()),
    responses((status = 200, description = "The process is alive", body = HealthBody)),
)]
pub(crate) async fn health() -> Json<HealthBody> {
    alive(env!("CARGO_PKG_VERSION"))
}

/// Returns whether the service can take traffic, with the state of each dependency.
#[utoipa::path(
    get, path = "/v1/ready", tag = "operation", operation_id = "ready",
    security(()),
    responses(
        (status = 200, description = "Ready; a check may carry a warning", body = ReadinessBody),
        (
            status = 503, description = "Not ready; `checks` says why", body = UnreadyBody,
            content_type = "application/problem+json",
        ),
    ),
)]
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    // A damaged audit chain only rejects reports, so the instance can still serve scans.
    let optional_for_scans =
        |check: Check| if check.name == AUDIT_CHAIN { check.not_required() } else { check };
    let checks = state.readiness.checks().await.into_iter();
    let mut checks: Vec<Check> = checks.map(readiness_check).map(optional_for_scans).collect();
    for other in &state.other_pools {
        checks.push(other.check().await);
    }
    Readiness::of(checks).into_response()
}

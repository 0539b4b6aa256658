//! `GET /v1/health` and `GET /v1/ready`. Neither needs a key.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_edge::api_doc::{HealthBody, ReadinessBody, UnreadyBody, alive};
use http_edge::{Check, Readiness};
use problems::readiness_check;
use redis_pool::RedisPool;

use crate::state::AppState;

/// Returns 200 while the process is alive. It checks no dependency.
#[utoipa::path(
    get, path = "/v1/health", tag = "operation", operation_id = "health", security(()),
    responses((status = 200, description = "The process is alive", body = HealthBody))
)]
pub(crate) async fn health() -> Json<HealthBody> {
    alive(env!("CARGO_PKG_VERSION"))
}

/// Checks the limiter's Redis. A failure is only a warning, because the limiter then counts in this process.
async fn limiter_check(pool: &RedisPool) -> Check {
    let pinged = pool.command(redis::cmd("PING")).await;
    let why = match (pool.stats().refuses_writes, pinged) {
        (Some(code), _) => format!("it refuses writes: {code}"),
        (None, Err(error)) => error.to_string(),
        (None, Ok(_)) => return Check::ok("limiter_redis"),
    };
    Check::warning("limiter_redis", format!("{why}; this process counts on its own"))
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
    let mut checks: Vec<Check> = state.readiness.checks().await.into_iter().map(readiness_check).collect();
    if let Some(pool) = &state.limiter_redis {
        checks.push(limiter_check(pool).await);
    }
    Readiness::of(checks).into_response()
}

//! `GET /v1/health` (alive, asks nobody) and `GET /v1/ready` (each dependency named). Neither needs a key.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_edge::api_doc::{HealthBody, ReadinessBody, UnreadyBody, alive};
use http_edge::{Check, Readiness};
use problems::readiness_check;
use redis_pool::RedisPool;

use crate::state::AppState;

/// Returns 200 while the process is alive. It asks no dependency.
#[utoipa::path(
    get, path = "/v1/health", tag = "operation", operation_id = "health", security(()),
    responses((status = 200, description = "The process is alive", body = HealthBody))
)]
pub(crate) async fn health() -> Json<HealthBody> {
    alive(env!("CARGO_PKG_VERSION"))
}

/// Without its Redis the limiter counts in this process, so that is never more than a warning.
async fn limiter_check(pool: &RedisPool) -> Check {
    let asked = pool.command(redis::cmd("PING")).await;
    let why = match (pool.stats().refuses_writes, asked) {
        (Some(code), _) => format!("it refuses writes: {code}"),
        (None, Err(error)) => error.to_string(),
        (None, Ok(_)) => return Check::ok("limiter_redis"),
    };
    Check::warning("limiter_redis", format!("{why}; this process limits by itself"))
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

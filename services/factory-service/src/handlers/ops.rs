//! `GET /v1/health` (alive, asks nobody) and `GET /v1/ready` (each dependency named). Neither needs a key.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_edge::Readiness;
use serde::Serialize;
use utoipa::ToSchema;

use crate::handlers::problems::ProblemBody;
use crate::state::AppState;

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// `alive`.
    #[schema(example = "alive")]
    status: &'static str,
    /// The program's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Readiness.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what the edge renders")]
pub(crate) struct ReadinessBody {
    /// `ready`.
    #[schema(example = "ready")]
    status: String,
    /// Each dependency.
    checks: Vec<ReadinessCheck>,
}

/// One dependency.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what the edge renders")]
pub(crate) struct ReadinessCheck {
    /// Its name.
    #[schema(example = "redis")]
    name: String,
    /// Whether requests can be served as far as it goes.
    ok: bool,
    /// It works, and an operator should look at it.
    warn: Option<bool>,
    /// One sentence, where there is something to say.
    detail: Option<String>,
}

/// Says that the process is alive.
#[utoipa::path(
    get, path = "/v1/health", tag = "operation", security(()),
    responses((status = 200, description = "Alive", body = HealthAnswer))
)]
pub(crate) async fn health() -> Json<HealthAnswer> {
    Json(HealthAnswer { status: "alive", version: env!("CARGO_PKG_VERSION") })
}

/// Says whether traffic may come, and what is wrong if not.
#[utoipa::path(
    get, path = "/v1/ready", tag = "operation", security(()),
    responses(
        (status = 200, description = "Ready; a check may carry a warning", body = ReadinessBody),
        (status = 503, description = "Not ready; `checks` says why", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    Readiness::of(state.durable.checks().await).into_response()
}

//! The table of contents of the public API, and its OpenAPI document.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use http_edge::ApiError;
use prometheus_client::registry::Registry;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::handlers::{ops, page, region, report, scan};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VokeTag scan-service",
        description = "Tells whether a tag is genuine. Every refusal is an application/problem+json document (RFC 9457).",
        license(name = "MIT OR Apache-2.0")
    ),
    tags((name = "scan", description = "Scanning and reporting"), (name = "operation", description = "Running the service"))
)]
struct ApiDoc;

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what the edge renders")]
pub(crate) struct ProblemBody {
    /// `urn:voketag:problem:<slug>`.
    #[schema(example = "urn:voketag:problem:tag-not-found")]
    r#type: String,
    /// A short summary.
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong with this very request.
    detail: String,
    /// The slug with `_` for `-`.
    #[schema(example = "tag_not_found")]
    error: String,
    /// To be quoted when asking about it.
    request_id: String,
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

/// All routes. `metrics` is `None` where they are served on an address of their own.
pub(crate) fn router(state: AppState, metrics: Option<Arc<Registry>>) -> Router {
    let (api, document) = api().split_for_parts();
    let mut router = api
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    if let Some(registry) = metrics {
        router = router.route("/metrics", http_edge::metrics_route(registry));
    }
    router.with_state(state)
}

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(scan::by_path).map(|routes| counted(routes, "GET, OPTIONS").options(preflight)))
        .routes(
            routes!(scan::by_query, scan::by_body)
                .map(|routes| counted(routes, "GET, POST, OPTIONS").options(preflight)),
        )
        .routes(routes!(report::report))
        .routes(routes!(page::show).map(|routes| counted(routes, "GET")))
        .routes(routes!(page::report))
        .routes(routes!(region::region))
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
}

/// A `HEAD` must not count as a scan, and axum would answer it with the `GET` handler.
fn counted(routes: MethodRouter<AppState>, allow: &'static str) -> MethodRouter<AppState> {
    let refuse = move || async move { ([(ALLOW, allow)], ApiError::MethodNotAllowed) };
    routes.head(refuse).fallback(refuse)
}

/// What a browser asks before it lets a page of another origin post JSON; the edge adds the allowed origin.
async fn preflight() -> impl IntoResponse {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, X-Request-Id"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers)
}

/// What is served on `METRICS_BIND_ADDR`.
pub(crate) fn metrics_only(registry: Arc<Registry>) -> Router {
    let router = Router::new().route("/metrics", http_edge::metrics_route(registry));
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed)
}

async fn not_found() -> ApiError {
    ApiError::NotFound("there is nothing at this path; /docs lists what there is".into())
}

async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

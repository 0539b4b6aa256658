//! The table of contents of the public API, and its OpenAPI document.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use http_edge::ApiError;
use http_edge::api_doc::{KeySchemes, ProblemBody};
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::handlers::{ops, region, report, report_page, scan, scan_page};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VokeTag scan-service",
        description = "Tells whether a tag is genuine. Nobody needs a key; a partner's key, with the scope scan:partner, has a quota \
                       of its own. Every refusal is an application/problem+json document (RFC 9457)."
    ),
    tags((name = "scan", description = "Scanning and reporting"), (name = "operation", description = "Running the service")),
    components(schemas(ProblemBody)),
    security((), ("bearer" = []), ("api_key" = [])),
    modifiers(&KeySchemes)
)]
struct ApiDoc;

/// All routes.
pub(crate) fn router(state: AppState) -> Router {
    let (api, document) = api().split_for_parts();
    api.merge(SwaggerUi::new("/docs").url("/openapi.json", document)).with_state(state)
}

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(scan::by_path).map(|routes| counted(routes, "GET, OPTIONS").options(preflight)))
        .routes(
            routes!(scan::by_query, scan::by_body)
                .map(|routes| counted(routes, "GET, POST, OPTIONS").options(preflight)),
        )
        .routes(routes!(report::report))
        .routes(routes!(scan_page::show).map(|routes| counted(routes, "GET")))
        .routes(routes!(report_page::report))
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
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, X-API-Key, X-Request-Id"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers)
}

//! The routes of the public API, and its OpenAPI document.

use axum::Router;
use http_edge::api_doc::{Common, ProblemBody, add_quota_headers};
use http_edge::{QueryParameters, docs_routes, without_head};
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::document;
use crate::handlers::sender::{preflight_of_report, preflight_of_scan};
use crate::handlers::{home, ops, region, report, report_page, scan, scan_page};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VokeTag scan-service",
        description = "Answers whether a tag is genuine. No key is needed. A partner's key, with the scope \
                       scan:partner, has a separate quota. Every error is an application/problem+json \
                       document (RFC 9457), and below /t an HTML page."
    ),
    tags(
        (name = "scan", description = "Scan and report tags"),
        (name = "operation", description = "Health, readiness and region"),
    ),
    components(schemas(ProblemBody)),
    servers(
        (url = "/", description = "The service that serves this document"),
        (url = "http://127.0.0.1:8080", description = "The default of `BIND_ADDR`"),
    ),
    security((), ("bearer" = []), ("api_key" = [])),
    modifiers(&Common)
)]
struct ApiDoc;

/// Returns all routes, and the query parameters that they declare.
pub(crate) fn router(state: AppState) -> (Router, QueryParameters) {
    let (api, mut document) = api().split_for_parts();
    document.paths.paths.values_mut().for_each(document_quotas);
    document::complete(&mut document);
    let parameters = QueryParameters::declared_in(&document);
    (api.merge(docs_routes(document)).with_state(state), parameters)
}

/// Documents the quota headers. The response to a scan or report has them if a limit was checked, whatever
/// the result. The address of the form checks no limit.
fn document_quotas(path: &mut PathItem) {
    let spends = |operation: &&mut Operation| {
        let scans = operation.tags.iter().flatten().any(|tag| tag == "scan");
        scans && operation.operation_id.as_deref() != Some("find_report_page")
    };
    for operation in [&mut path.get, &mut path.post].into_iter().flatten().filter(spends) {
        for (status, response) in &mut operation.responses.responses {
            let (status, RefOr::T(response)) = (status.as_str(), response) else { continue };
            if matches!(status, "200" | "202" | "401" | "403" | "404" | "429" | "500" | "503" | "4XX" | "5XX")
            {
                add_quota_headers(response);
            }
        }
    }
}

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(
            routes!(scan::by_path)
                .map(|routes| without_head(routes, "GET, OPTIONS").options(preflight_of_scan)),
        )
        .routes(
            routes!(scan::by_query, scan::by_body)
                .map(|routes| without_head(routes, "GET, POST, OPTIONS").options(preflight_of_scan)),
        )
        .routes(routes!(report::report).map(|routes| routes.options(preflight_of_report)))
        .routes(routes!(scan_page::show).map(|routes| without_head(routes, "GET")))
        .routes(routes!(report_page::find, report_page::report))
        .routes(routes!(home::home))
        .routes(routes!(home::icon))
        .routes(routes!(home::robots))
        .routes(routes!(region::region))
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
}

//! `GET /v1/scan/{tag_id}`, `GET /v1/scan?tag_id=` and `POST /v1/scan`: one counted scan.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_edge::{ApiJson, ApiPath, ApiQuery, HttpError, Problem};
use problems::ApiError;
use serde::Deserialize;
use tag_id::TagId;
use utoipa::{IntoParams, ToSchema};

use crate::domain::scan::Scanned;
use crate::domain::verdict::ScanAnswer;
use crate::handlers::caller::Client;
use crate::handlers::problems::{BodyErrors, TagErrors};
use crate::handlers::rejection::{of_scan, with_quotas};
use crate::state::AppState;

/// The tag to scan.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScanRequest {
    /// A hyphenated UUID or 26 characters of Crockford base32, in either case.
    #[schema(example = "85e49ec3-de12-8001-bccf-0ce2e6986017")]
    #[param(example = "45WJFC7QGJG00VSKRCWBK9GR0Q")]
    tag_id: String,
}

/// Scans the tag in the path.
#[utoipa::path(
    get, path = "/v1/scan/{tag_id}", tag = "scan", operation_id = "scan_by_path",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(
        (
            "tag_id" = String, Path,
            description = "A hyphenated UUID or 26 characters of Crockford base32, in either case",
        ),
    ),
    responses(
        (
            status = 200,
            description = "An authentic tag; `valid` says whether the item is genuine and not withdrawn or \
                expired",
            body = ScanAnswer,
        ),
        TagErrors,
    ),
)]
pub(crate) async fn by_path(
    State(state): State<AppState>,
    client: Client,
    tag: Result<ApiPath<String>, HttpError>,
) -> Response {
    // A path that is not UTF-8 is not an id.
    let text = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    scan(&state, &client, &text).await
}

/// Scans the tag in the query.
#[utoipa::path(
    get, path = "/v1/scan", tag = "scan", operation_id = "scan_by_query", params(ScanRequest),
    responses(
        (status = 200, description = "As for the tag in the path", body = ScanAnswer),
        TagErrors,
    )
)]
pub(crate) async fn by_query(
    State(state): State<AppState>,
    client: Client,
    ApiQuery(request): ApiQuery<ScanRequest>,
) -> Response {
    scan(&state, &client, &request.tag_id).await
}

/// Scans the tag in the body.
#[utoipa::path(
    post, path = "/v1/scan", tag = "scan", operation_id = "scan_by_body", request_body = ScanRequest,
    responses(
        (status = 200, description = "As for the tag in the path", body = ScanAnswer),
        TagErrors,
        BodyErrors,
    )
)]
pub(crate) async fn by_body(
    State(state): State<AppState>,
    client: Client,
    ApiJson(request): ApiJson<ScanRequest>,
) -> Response {
    scan(&state, &client, &request.tag_id).await
}

async fn scan(state: &AppState, client: &Client, text: &str) -> Response {
    let tag = match read_tag(state, text) {
        Ok(tag) => tag,
        Err(error) => return error.into_response(),
    };
    let Scanned { outcome, quotas } = scanned(state, client, tag).await;
    match outcome {
        Ok(verdict) => with_quotas(&quotas, Json(verdict.answer())),
        Err(rejection) => with_quotas(&quotas, of_scan(rejection, &state.key_leak_alarm, &client.request_id)),
    }
}

/// Parses an id, and counts an invalid one.
pub(crate) fn read_tag(state: &AppState, text: &str) -> Result<TagId, Problem> {
    TagId::parse(text).map_err(|_| {
        state.metrics.count_invalid_id();
        ApiError::invalid_tag_id(text).into_problem()
    })
}

/// Scans, and counts the outcome.
pub(crate) async fn scanned(state: &AppState, client: &Client, tag: TagId) -> Scanned {
    let scanned = state.scanner.scan(tag, client.caller()).await;
    state.metrics.count(&scanned);
    scanned
}

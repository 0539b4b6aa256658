//! `GET /v1/admin/unproven-reports`: reports of codes that are not minted tags.

use ambient::rfc3339;
use axum::Json;
use axum::extract::State;
use catalog::UnprovenReport;
use http_edge::ApiQuery;
use problems::ApiError;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::identity::Caller;
use crate::handlers::list::ListQuery;
use crate::handlers::problems::{Appends, Guarded, Read};
use crate::state::AppState;

/// A report of a code that is forged, was never minted, or is no tag id. Anybody can send one. It is a hint
/// and no evidence.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnprovenReportAnswer {
    /// The report's id, a version 7 UUID.
    id: Uuid,
    /// When the report arrived, UTC.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    reported_at: OffsetDateTime,
    /// The first 64 characters of the reported code.
    #[schema(example = "45WJFC7QGJG00VSKRCWBK9GR0R", max_length = 64)]
    code: String,
    /// `counterfeit`, `damaged`, `mismatch`, `stolen` or `other`.
    #[schema(example = "counterfeit")]
    reason: String,
    /// The reporter's text, up to 1,000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    details: Option<String>,
    /// The id of the request. The reporter got it as the reference.
    request_id: String,
}

/// A page of such reports, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnprovenReportsAnswer {
    /// The reports.
    items: Vec<UnprovenReportAnswer>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Uuid>,
}

impl From<UnprovenReport> for UnprovenReportAnswer {
    fn from(report: UnprovenReport) -> Self {
        let UnprovenReport { id, reported_at, code, reason, details, request_id } = report;
        Self { id, reported_at, code, reason, details, request_id }
    }
}

/// Lists reports of codes that are not minted tags: the newest 1,000 of the last 30 days. Each page is an
/// audit event.
#[utoipa::path(
    get, path = "/v1/admin/unproven-reports", tag = "admin", operation_id = "list_unproven_reports",
    params(ListQuery),
    responses((status = 200, description = "One page", body = UnprovenReportsAnswer), Guarded, Read, Appends),
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<UnprovenReportsAnswer>, ApiError> {
    let (after, limit) = query.read()?;
    let page = state.unproven.list(&caller, after, limit).await?;
    let items = page.items.into_iter().map(UnprovenReportAnswer::from).collect();
    Ok(Json(UnprovenReportsAnswer { items, next_cursor: page.next }))
}

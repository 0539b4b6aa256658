//! `POST /v1/report`: a report about an item.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use http_edge::ApiJson;
use problems::ApiError;
use serde::{Deserialize, Serialize};

use tag_id::TagId;
use utoipa::ToSchema;

use crate::domain::limits::Quotas;
use crate::domain::report::{Reason, ReportDetails, TagReport, Taken};
use crate::handlers::caller::Client;
use crate::handlers::problems::{AppendErrors, BodyErrors, TagErrors};
use crate::handlers::rejection::{of_report, with_quotas};
use crate::handlers::sender::MayReport;
use crate::state::AppState;

/// A report of a tag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tag_id": "85e49ec3-de12-8001-bccf-0ce2e6986017",
    "reason": "counterfeit",
    "details": "The seal is broken.",
}))]
pub(crate) struct ReportRequest {
    /// The tag, in any accepted form.
    #[schema(example = "85e49ec3-de12-8001-bccf-0ce2e6986017")]
    tag_id: String,
    /// What is wrong.
    #[serde(deserialize_with = "http_edge::as_name")]
    reason: Reason,
    /// Up to 1,000 characters.
    #[schema(max_length = 1000, example = "The seal is broken.")]
    details: Option<String>,
}

/// A report was received.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportAnswer {
    /// `received`: the report is in the brand's audit trail.
    #[schema(example = "received")]
    status: &'static str,
}

/// Reports an item to the brand that issued its tag.
#[utoipa::path(
    post, path = "/v1/report", tag = "scan", operation_id = "report", request_body = ReportRequest,
    responses(
        (status = 202, description = "Received, as an audit event of the tag's owner", body = ReportAnswer),
        TagErrors,
        BodyErrors,
        AppendErrors,
    )
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    _may: MayReport,
    client: Client,
    ApiJson(request): ApiJson<ReportRequest>,
) -> Response {
    let mut quotas = Quotas::default();
    match take(&state, &client, request, &mut quotas).await {
        Ok(()) => with_quotas(&quotas, (StatusCode::ACCEPTED, Json(ReportAnswer { status: "received" }))),
        Err(error) => with_quotas(&quotas, error),
    }
}

/// Parses the optional text of a report.
pub(crate) fn read_details(details: Option<String>) -> Result<Option<ReportDetails>, ApiError> {
    let Some(text) = details else { return Ok(None) };
    Ok(ReportDetails::parse("details", &text)?)
}

async fn take(
    state: &AppState,
    client: &Client,
    request: ReportRequest,
    quotas: &mut Quotas,
) -> Result<(), ApiError> {
    let tag = TagId::parse(&request.tag_id).map_err(|_| ApiError::invalid_tag_id(&request.tag_id))?;
    let report = TagReport { tag, reason: request.reason, details: read_details(request.details)? };
    let taken = state.reporter.take(report, client.caller(), client.request_id.as_str(), quotas).await;
    state.metrics.count_report(taken.as_ref().map(|()| Taken::ByBrand));
    taken.map_err(|rejection| of_report(rejection, &state.key_leak_alarm, &client.request_id))
}

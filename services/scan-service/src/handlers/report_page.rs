//! `POST /t/{tag_id}/report`: the form on the page of a tag, or of a code that is not ours. A `GET` of the
//! address leads to the page.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use http_edge::{ApiForm, ApiPath, HttpError, RequestId};
use input::without_direction;
use problems::ApiError;
use serde::Deserialize;
use tag_id::TagId;
use utoipa::ToSchema;

use crate::domain::limits::Quotas;
use crate::domain::report::{CodeReport, Reason, Taken};
use crate::handlers::caller::Client;
use crate::handlers::page::{Link, NoticePage, Tone, html};
use crate::handlers::problems::PageErrors;
use crate::handlers::rejection::{of_report, with_quotas};
use crate::handlers::report::read_details;
use crate::handlers::sender::{NotEmbedded, OwnForm};
use crate::handlers::unproven_page::no_tag_id;
use crate::state::AppState;

/// The report form of a tag's page.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "counterfeit", "details": "The seal is broken."}))]
pub(crate) struct ReportForm {
    /// What is wrong.
    reason: Reason,
    /// Up to 1,000 characters.
    #[schema(max_length = 1000, example = "The seal is broken.")]
    details: Option<String>,
}

/// Receives the report form of a page of this service. A code that is not a minted tag goes into a list for
/// the operator.
#[utoipa::path(
    post, path = "/t/{tag_id}/report", tag = "scan", operation_id = "report_by_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(
        (
            "tag_id" = String, Path,
            description = "The tag in any accepted form, or any other code that was scanned",
        ),
    ),
    request_body(content = ReportForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 202, description = "Received, as an HTML page", content_type = "text/html", body = String),
        PageErrors,
    ),
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    _own: OwnForm,
    client: Client,
    tag: Result<ApiPath<String>, HttpError>,
    ApiForm(form): ApiForm<ReportForm>,
) -> Response {
    let mut quotas = Quotas::default();
    let code = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    match take(&state, &client, &code, form, &mut quotas).await {
        Ok(taken) => with_quotas(&quotas, received(&code, taken, &client.request_id)),
        Err(error) => with_quotas(&quotas, error),
    }
}

async fn take(
    state: &AppState,
    client: &Client,
    code: &str,
    form: ReportForm,
    quotas: &mut Quotas,
) -> Result<Taken, ApiError> {
    let tag = match TagId::parse(code) {
        Ok(tag) => Some(tag),
        // A path that is not UTF-8 has no code.
        Err(_) if code.is_empty() => return Err(ApiError::invalid_tag_id(code)),
        Err(_) => None,
    };
    // A phone may add invisible direction controls to the text, which its user cannot remove.
    let details = read_details(form.details.map(|text| without_direction(&text)))?;
    let report = CodeReport { code, tag, reason: form.reason, details };
    let taken = state.reporter.take_any(report, client.caller(), client.request_id.as_str(), quotas).await;
    state.metrics.count_report(taken.as_ref().copied());
    let taken = taken.map_err(|rejection| of_report(rejection, &state.key_leak_alarm, &client.request_id))?;
    if taken == (Taken::Unproven { key_leak: true }) {
        state.key_leak_alarm.raise(client.request_id.as_str());
    }
    Ok(taken)
}

fn received(code: &str, taken: Taken, request_id: &RequestId) -> Response {
    let (advice, next) = match taken {
        Taken::ByBrand => (
            "Thank you. The brand sees the report in its records. Your address is not kept with it.",
            Some(Link { href: format!("/t/{code}"), text: "Check this tag again" }),
        ),
        Taken::Unproven { .. } => (
            "Thank you. The code is not one of ours, so no brand gets this report. The operator of this \
             service sees it in a list. Your address is not kept with it.",
            None,
        ),
    };
    let page = NoticePage {
        tone: Tone::Good,
        headline: "Report received",
        advice,
        wait: None,
        next,
        detail: None,
        reference: request_id.as_str(),
    };
    html(StatusCode::ACCEPTED, &page)
}

/// Redirects to the tag's page, which has the form.
#[utoipa::path(
    get, path = "/t/{tag_id}/report", tag = "scan", operation_id = "find_report_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    responses(
        (
            status = 303, description = "A redirect to the tag's page",
            headers(("Location" = String, description = "The path of the page")),
        ),
        (
            status = "4XX", description = "Not a tag id, as an HTML page", content_type = "text/html",
            body = String,
        ),
    ),
)]
pub(crate) async fn find(
    _page: NotEmbedded,
    request_id: RequestId,
    tag: Result<ApiPath<String>, HttpError>,
) -> Response {
    let code = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    match TagId::parse(&code) {
        Ok(tag) => Redirect::to(&format!("/t/{tag}")).into_response(),
        Err(_) if code.is_empty() => ApiError::invalid_tag_id(&code).into_response(),
        Err(_) => no_tag_id(&code, &request_id),
    }
}

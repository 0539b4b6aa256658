//! `POST /t/{tag_id}/report`: the form on a tag's page. Who comes back to that address later is sent to the tag's page.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use http_edge::{ApiError, ApiForm, ApiPath};
use serde::Deserialize;
use service_kit::parse_tag;
use utoipa::ToSchema;

use crate::domain::limits::Quotas;
use crate::domain::report::Reason;
use crate::handlers::caller::Client;
use crate::handlers::page::{NoticePage, Tone, html};
use crate::handlers::problems::Pages;
use crate::handlers::refusal::with_quotas;
use crate::handlers::report::take;
use crate::state::AppState;

/// The form of the page.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportForm {
    /// What is wrong.
    reason: Reason,
    /// Up to 1,000 characters.
    #[schema(max_length = 1000)]
    details: Option<String>,
}

/// Takes the page's report.
#[utoipa::path(
    post, path = "/t/{tag_id}/report", tag = "scan", operation_id = "report_by_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    request_body(content = ReportForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 202, description = "Taken, as a page", content_type = "text/html", body = String),
        Pages,
    )
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    client: Client,
    tag: Result<ApiPath<String>, ApiError>,
    ApiForm(form): ApiForm<ReportForm>,
) -> Response {
    let tag = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    let mut quotas = Quotas::default();
    // A browser ends the lines of a text area with CR LF and counts each as one character.
    let details = form.details.map(|text| text.replace("\r\n", "\n"));
    match take(&state, &client, &tag, form.reason, details, &mut quotas).await {
        Ok(()) => {
            let page = NoticePage {
                tone: Tone::Good,
                headline: "Report received",
                advice: "Thank you. The brand finds it in its records. Your address is not kept with it.",
                note: format!("Reference {}", client.request_id.as_str()),
                again: Some(&tag),
            };
            with_quotas(&quotas, html(StatusCode::ACCEPTED, &page))
        }
        Err(error) => with_quotas(&quotas, error),
    }
}

/// Leads to the tag's page, on which the form is.
#[utoipa::path(
    get, path = "/t/{tag_id}/report", tag = "scan", operation_id = "find_report_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    responses(
        (status = 303, description = "To the tag's page", headers(("Location" = String, description = "Its path"))),
        (status = "4XX", description = "Not an id, as a page", content_type = "text/html", body = String),
    )
)]
pub(crate) async fn find(tag: Result<ApiPath<String>, ApiError>) -> Result<Redirect, ApiError> {
    let tag = parse_tag(&tag.map_or_else(|_| String::new(), |ApiPath(text)| text))?;
    Ok(Redirect::to(&format!("/t/{tag}")))
}

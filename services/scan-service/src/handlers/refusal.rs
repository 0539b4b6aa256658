//! What a refused scan becomes for the client, and the alarm when a tag secret seems to have leaked.

use axum::response::{IntoResponse, Response};
use http_edge::{ApiError, RequestId, rate_limit_headers};
use service_kit::errors;
use tag_id::TagId;

use crate::domain::limits::Quotas;
use crate::domain::report::ReportRefusal;
use crate::domain::scan::Refusal;

const NOT_AN_ID: &str = "not a tag id: it takes a hyphenated UUID or 26 characters of Crockford base32";

/// Reads an id in any accepted form.
pub(crate) fn parse_tag(text: &str) -> Result<TagId, ApiError> {
    TagId::parse(text).map_err(|_| ApiError::InvalidTagId(NOT_AN_ID.into()))
}

/// The error for a scan that has no verdict.
pub(crate) fn of_scan(refusal: Refusal, request_id: &RequestId) -> ApiError {
    match refusal {
        Refusal::Forged => ApiError::TagNotFound,
        Refusal::NotMinted => alarm(request_id),
        Refusal::Denied { retry_after } => ApiError::RateLimited { retry_after },
        Refusal::NotOpen(error) => error,
        Refusal::StateLost => errors::state_lost(),
        Refusal::Redis(error) => errors::from_pool(error),
        Refusal::Record(error) => ApiError::internal(error),
    }
}

/// The error for a report that was not taken.
pub(crate) fn of_report(refusal: ReportRefusal, request_id: &RequestId) -> ApiError {
    match refusal {
        ReportRefusal::Forged => ApiError::TagNotFound,
        ReportRefusal::NotMinted => alarm(request_id),
        ReportRefusal::Denied { retry_after } => ApiError::RateLimited { retry_after },
        ReportRefusal::Limiter(error) => errors::from_pool(error),
        ReportRefusal::Store(error) => error,
    }
}

/// The same 404 as a forged id's, and a log line that an operator should be woken by.
fn alarm(request_id: &RequestId) -> ApiError {
    tracing::error!(
        alarm = "key_leak",
        request_id = request_id.as_str(),
        "an authentic tag id that was never minted was presented: the tag secret may have leaked"
    );
    ApiError::TagNotFound
}

/// Adds the `RateLimit` headers to an answer for which the limiter was asked.
pub(crate) fn with_quotas(quotas: &Quotas, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Some(headers) = rate_limit_headers(&quotas.rows()) {
        response.headers_mut().extend(headers);
    }
    response
}

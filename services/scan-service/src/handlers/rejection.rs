//! The errors of rejected scans and reports, and the alarm about a leaked tag secret.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http_edge::{QuotaStatus, RequestId, rate_limit_headers};
use problems::ApiError;
use rate_limiter::Status;
use storage::KeyLeakAlarm;

use crate::domain::admission::KeyRejection;
use crate::domain::limits::Quotas;
use crate::domain::report::ReportRejection;
use crate::domain::scan::Rejection;

const BAD_KEY: &str = "the API key is not accepted; send a valid one as Authorization: Bearer <key> or \
    X-API-Key, or none";
/// The window of every quota.
const WINDOW: Duration = Duration::from_secs(60);
/// The client gets no details. The log names the record.
const TAG_LOST: &str = "the stored state of this tag cannot be read; an operator must repair it";
const NO_SCOPE: &str = "this needs a key with the scope scan:partner, or none";

/// Returns the error of a scan without a verdict.
pub(crate) fn of_scan(rejection: Rejection, key_leak: &KeyLeakAlarm, request_id: &RequestId) -> ApiError {
    match rejection {
        Rejection::Forged => ApiError::TagNotFound,
        Rejection::NotMinted => alarm(key_leak, request_id),
        Rejection::Denied { retry_after } => ApiError::rate_limited(retry_after),
        Rejection::Key(rejection) => of_key(rejection),
        Rejection::Store(error) => error.into(),
        Rejection::StateLost => ApiError::state_lost(),
        Rejection::RecordLost => record_lost(request_id),
        Rejection::Redis(error) => ApiError::from(error),
    }
}

/// Returns the error of a rejected report.
pub(crate) fn of_report(
    rejection: ReportRejection,
    key_leak: &KeyLeakAlarm,
    request_id: &RequestId,
) -> ApiError {
    match rejection {
        ReportRejection::Forged => ApiError::TagNotFound,
        ReportRejection::NotMinted => alarm(key_leak, request_id),
        ReportRejection::Denied { retry_after } => ApiError::rate_limited(retry_after),
        ReportRejection::DailyLimit { retry_after } => ApiError::ReportsUsedUp { retry_after },
        ReportRejection::Key(rejection) => of_key(rejection),
        ReportRejection::RecordLost => record_lost(request_id),
        ReportRejection::Redis(error) => ApiError::from(error),
        ReportRejection::Store(error) => error.into(),
    }
}

/// Returns the error of a rejected key. It does not say why a key is invalid.
fn of_key(rejection: KeyRejection) -> ApiError {
    match rejection {
        KeyRejection::Invalid => ApiError::unauthenticated(BAD_KEY),
        KeyRejection::Forbidden => ApiError::forbidden(NO_SCOPE),
    }
}

/// Raises the alarm about a leaked secret. The client gets the 404 of a forged id.
fn alarm(key_leak: &KeyLeakAlarm, request_id: &RequestId) -> ApiError {
    key_leak.raise(request_id.as_str());
    ApiError::TagNotFound
}

/// Logs the loss for an operator. The response must not call the genuine tag forged.
fn record_lost(request_id: &RequestId) -> ApiError {
    tracing::error!(request_id = request_id.as_str(), "records of a scanned tag are missing or unreadable");
    ApiError::StateLost(TAG_LOST.into())
}

/// Adds the `RateLimit` headers of the checked quotas to a response.
pub(crate) fn with_quotas(quotas: &Quotas, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let rows: Vec<QuotaStatus<'_>> = quotas.statuses().iter().map(quota).collect();
    if let Some(headers) = rate_limit_headers(&rows) {
        // Reserves space for these, the response's and the edge's headers, because a growing map rehashes
        // them.
        response.headers_mut().reserve(16);
        response.headers_mut().extend(headers);
    }
    response
}

fn quota(status: &Status) -> QuotaStatus<'_> {
    QuotaStatus {
        name: status.name,
        limit: status.limit,
        remaining: status.remaining,
        reset_after: status.reset_after.unwrap_or_default(),
        window: WINDOW,
    }
}

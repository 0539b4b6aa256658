//! What a refused scan becomes for the client, and the alarm when a tag secret seems to have leaked.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http_edge::{QuotaStatus, RequestId, rate_limit_headers};
use problems::ApiError;
use rate_limiter::Status;
use storage::KeyLeakAlarm;

use crate::domain::admission::KeyRefusal;
use crate::domain::limits::Quotas;
use crate::domain::report::ReportRefusal;
use crate::domain::scan::Refusal;

const BAD_KEY: &str = "the API key is not accepted; give one that is in force as Authorization: Bearer <key> or X-API-Key, or none";
/// The window of every quota.
const WINDOW: Duration = Duration::from_secs(60);
/// The log names the record.
const TAG_LOST: &str = "what is stored of this tag cannot be read; an operator is needed";
const NO_SCOPE: &str = "this needs a key with the scope scan:partner, or none";

/// The error for a scan that has no verdict.
pub(crate) fn of_scan(refusal: Refusal, key_leak: &KeyLeakAlarm, request_id: &RequestId) -> ApiError {
    match refusal {
        Refusal::Forged => ApiError::TagNotFound,
        Refusal::NotMinted => alarm(key_leak, request_id),
        Refusal::Denied { retry_after } => ApiError::rate_limited(retry_after),
        Refusal::Key(refusal) => of_key(refusal),
        Refusal::Store(error) => error.into(),
        Refusal::StateLost => ApiError::state_lost(),
        Refusal::RecordLost => record_lost(request_id),
        Refusal::Redis(error) => ApiError::from(error),
    }
}

/// The error for a report that was not taken.
pub(crate) fn of_report(refusal: ReportRefusal, key_leak: &KeyLeakAlarm, request_id: &RequestId) -> ApiError {
    match refusal {
        ReportRefusal::Forged => ApiError::TagNotFound,
        ReportRefusal::NotMinted => alarm(key_leak, request_id),
        ReportRefusal::Denied { retry_after } => ApiError::rate_limited(retry_after),
        ReportRefusal::UsedUp { retry_after } => ApiError::ReportsUsedUp { retry_after },
        ReportRefusal::Key(refusal) => of_key(refusal),
        ReportRefusal::RecordLost => record_lost(request_id),
        ReportRefusal::Redis(error) => ApiError::from(error),
        ReportRefusal::Store(error) => error.into(),
    }
}

/// The error for a key that does not admit: why a key is invalid, whoever shows it is not told.
fn of_key(refusal: KeyRefusal) -> ApiError {
    match refusal {
        KeyRefusal::Invalid => ApiError::unauthenticated(BAD_KEY),
        KeyRefusal::Forbidden => ApiError::forbidden(NO_SCOPE),
    }
}

/// The same 404 as a forged id's, and something that an operator should be woken by.
fn alarm(key_leak: &KeyLeakAlarm, request_id: &RequestId) -> ApiError {
    key_leak.raise(request_id.as_str());
    ApiError::TagNotFound
}

/// A genuine tag that must not be called forged, and something that an operator has to mend.
fn record_lost(request_id: &RequestId) -> ApiError {
    tracing::error!(
        request_id = request_id.as_str(),
        "a minted tag was scanned, and its records cannot be read"
    );
    ApiError::StateLost(TAG_LOST.into())
}

/// Adds the `RateLimit` headers to an answer for which the limiter was asked.
pub(crate) fn with_quotas(quotas: &Quotas, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let rows: Vec<QuotaStatus<'_>> = quotas.statuses().iter().map(quota).collect();
    if let Some(headers) = rate_limit_headers(&rows) {
        // Space for these, the answer's own and the edge's headers at once: a map that grows hashes all of
        // them again.
        response.headers_mut().reserve(12);
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

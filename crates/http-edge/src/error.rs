//! The one error a handler may answer with: a variant for each slug of the public contract, docs/contract.md §5.
//!
//! The match over it is exhaustive and there is no `From<E: Error>`, so that each failure of a domain crate is
//! given its status by hand, once. The response carries a [`Problem`] in its extensions and no body: the edge
//! renders it, because only the edge knows the request id and whether this route speaks JSON or HTML.

use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// What a client is told when its request is refused.
///
/// The text of a variant is its `detail`: one or more sentences for the caller, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: not an id in any accepted form.
    #[error("{0}")]
    InvalidTagId(Cow<'static, str>),
    /// 400: syntax, type, a missing or unknown field, a range.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// 401: no credentials, or none that are known.
    #[error("{0}")]
    Unauthenticated(Cow<'static, str>),
    /// 403: known, and not allowed.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// 404 of a tag. It has no text of its own, so that the answer is the same for a forged id and one never minted.
    #[error("no tag with this id was ever made")]
    TagNotFound,
    /// 404 of anything else.
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// 405: the path is known, the method is not; the router adds `Allow`.
    #[error("this resource does not take this method; see the Allow header")]
    MethodNotAllowed,
    /// 413: the body is longer than this server reads.
    #[error("the request body is longer than this server accepts")]
    ContentTooLarge,
    /// 415: the body is of another media type.
    #[error("{0}")]
    UnsupportedMediaType(Cow<'static, str>),
    /// 409: it contradicts what is already there.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// 409: the tenant has as many of this kind as it may have.
    #[error("{0}")]
    QuotaExceeded(Cow<'static, str>),
    /// 412: the resource is not in the version that `If-Match` names, or is in one that `If-None-Match` excludes.
    #[error("{0}")]
    PreconditionFailed(Cow<'static, str>),
    /// 409: it has consequences that the caller has to confirm; `preview` tells which, and is a member of the document.
    #[error("{detail}")]
    ConfirmationRequired {
        /// What happens, and how to confirm it.
        detail: String,
        /// The same as data.
        preview: Box<serde_json::Value>,
    },
    /// 409: a request with the same idempotency key is still under way.
    #[error(
        "a request with this Idempotency-Key is still under way; its answer will be given to a later repeat"
    )]
    IdempotencyInFlight {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// 422: the idempotency key stands for another request.
    #[error("this Idempotency-Key was used with another request; take a new key for a new request")]
    IdempotencyKeyReused,
    /// 422: it reads well and cannot be accepted.
    #[error("{0}")]
    Unprocessable(Cow<'static, str>),
    /// 408: the client took too long to send its body.
    #[error("the request body did not arrive in time")]
    RequestTimeout,
    /// 429: the caller's own quota is used up.
    #[error("the quota of this caller is used up; the next request passes after Retry-After")]
    RateLimited {
        /// When the next request would pass.
        retry_after: Duration,
    },
    /// 429: the tag was reported as often as is accepted in a day.
    #[error(
        "this tag was reported as often as is accepted in a day; the reports that came before were received"
    )]
    ReportsUsedUp {
        /// When the next day begins.
        retry_after: Duration,
    },
    /// 429: the service is busy, whoever asks.
    #[error("the service is busy; nothing was done")]
    ServiceOverloaded {
        /// Kept within 1–5 s; see [`ApiError::service_overloaded`].
        retry_after: Duration,
    },
    /// 503: Redis is away, too slow, or not being asked for a while.
    #[error("the data store is not available")]
    RedisUnavailable {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// 503: the durable state is missing or another one.
    #[error("{detail}")]
    StateLost {
        /// What is lost.
        detail: Cow<'static, str>,
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// 503: what is stored of the audit trail is damaged, and nothing can be recorded, or this part of it not be read, until an
    /// operator has settled that. Nothing was written.
    #[error("the stored audit trail is damaged, and nothing was written; an operator is needed")]
    AuditDamaged {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// 503: too many writers at once; nothing was written.
    #[error("too many writers at once; nothing was written")]
    AuditContention {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// 503: the server itself did not answer within its time limit; what it was doing may have been done.
    #[error("the server could not finish in time; the request may or may not have been carried out")]
    ServerTimeout,
    /// 500: a fault of our own. The source is logged once, at the edge, and never told.
    #[error("an unexpected fault; quote the request_id when reporting it")]
    Internal {
        /// What went wrong, for the log alone.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ApiError {
    /// A 400 `invalid-request` that says `detail`.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(detail.into())
    }

    /// A 500 whose cause is `source`: an error, or a text.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal { source: source.into() }
    }

    /// A 429 `service-overloaded` whose `Retry-After` is 1–5 s, drawn from `seed` (any random number), so that
    /// the refused do not all come back in the same second.
    #[must_use]
    pub fn service_overloaded(seed: u64) -> Self {
        Self::ServiceOverloaded { retry_after: Duration::from_secs(1 + seed % 5) }
    }

    /// The HTTP status of this error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// The slug of this error, as in `urn:voketag:problem:<slug>`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.kind().1
    }

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidTagId(_) => (S::BAD_REQUEST, "invalid-tag-id", "Not a tag id"),
            Self::InvalidRequest(_) => (S::BAD_REQUEST, "invalid-request", "The request cannot be read"),
            Self::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated", "Credentials are needed"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden", "Not allowed"),
            Self::TagNotFound => (S::NOT_FOUND, "tag-not-found", "No such tag"),
            Self::NotFound(_) => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::ContentTooLarge => (S::PAYLOAD_TOO_LARGE, "content-too-large", "The body is too long"),
            Self::UnsupportedMediaType(_) => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::Conflict(_) => (S::CONFLICT, "conflict", "Conflict"),
            Self::QuotaExceeded(_) => (S::CONFLICT, "quota-exceeded", "The quota is used up"),
            Self::PreconditionFailed(_) => {
                (S::PRECONDITION_FAILED, "precondition-failed", "Another version is current")
            }
            Self::ConfirmationRequired { .. } => {
                (S::CONFLICT, "confirmation-required", "Confirmation is needed")
            }
            Self::IdempotencyInFlight { .. } => {
                (S::CONFLICT, "idempotency-in-flight", "The same request is under way")
            }
            Self::IdempotencyKeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key stands for another request")
            }
            Self::Unprocessable(_) => (S::UNPROCESSABLE_ENTITY, "unprocessable", "Cannot be accepted"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "request-timeout", "The body came too slowly"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::ReportsUsedUp { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", "Too many reports"),
            Self::ServiceOverloaded { .. } => {
                (S::TOO_MANY_REQUESTS, "service-overloaded", "The service is busy")
            }
            Self::RedisUnavailable { .. } => {
                (S::SERVICE_UNAVAILABLE, "redis-unavailable", "The data store is away")
            }
            Self::StateLost { .. } => (S::SERVICE_UNAVAILABLE, "state-lost", "The durable state is lost"),
            Self::AuditDamaged { .. } => (S::SERVICE_UNAVAILABLE, "state-lost", "The audit trail is damaged"),
            Self::AuditContention { .. } => {
                (S::SERVICE_UNAVAILABLE, "audit-contention", "Too many writers at once")
            }
            Self::ServerTimeout => (S::SERVICE_UNAVAILABLE, "server-timeout", "The server was too slow"),
            Self::Internal { .. } => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// Whole seconds for `Retry-After`: rounded up, at least one, or `None` where the header has no meaning.
    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after }
            | Self::ReportsUsedUp { retry_after }
            | Self::RedisUnavailable { retry_after }
            | Self::StateLost { retry_after, .. }
            | Self::AuditDamaged { retry_after }
            | Self::IdempotencyInFlight { retry_after }
            | Self::AuditContention { retry_after } => Some(whole_seconds(*retry_after)),
            Self::ServiceOverloaded { retry_after } => Some(whole_seconds(*retry_after).min(5)),
            Self::ServerTimeout => Some(1),
            _ => None,
        }
    }

    /// The problem document of this error, its cause included.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let (status, slug, title) = self.kind();
        let retry_after_s = self.retry_after_s();
        match self {
            Self::InvalidTagId(detail)
            | Self::InvalidRequest(detail)
            | Self::Unauthenticated(detail)
            | Self::Forbidden(detail)
            | Self::NotFound(detail)
            | Self::UnsupportedMediaType(detail)
            | Self::Conflict(detail)
            | Self::QuotaExceeded(detail)
            | Self::PreconditionFailed(detail)
            | Self::Unprocessable(detail) => Problem::new(status, slug, title, detail),
            Self::ConfirmationRequired { detail, preview } => {
                Problem::new(status, slug, title, detail).with_member("preview", *preview)
            }
            Self::Internal { source } => {
                let detail = "an unexpected fault; quote the request_id when reporting it";
                Problem::new(status, slug, title, detail).with_cause(Arc::from(source))
            }
            fixed @ (Self::TagNotFound
            | Self::MethodNotAllowed
            | Self::ContentTooLarge
            | Self::IdempotencyInFlight { .. }
            | Self::IdempotencyKeyReused
            | Self::RequestTimeout
            | Self::RateLimited { .. }
            | Self::ReportsUsedUp { .. }
            | Self::ServiceOverloaded { .. }
            | Self::RedisUnavailable { .. }
            | Self::StateLost { .. }
            | Self::AuditDamaged { .. }
            | Self::AuditContention { .. }
            | Self::ServerTimeout) => Problem::new(status, slug, title, fixed.to_string()),
        }
        .with_retry_after(retry_after_s)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_problem().into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

fn whole_seconds(span: Duration) -> u64 {
    let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    seconds.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(error: ApiError) -> Option<String> {
        let response = error.into_response();
        response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60")] {
            let retry = Duration::from_millis(millis);
            assert_eq!(retry_after(ApiError::RateLimited { retry_after: retry }).as_deref(), Some(seconds));
            assert_eq!(
                retry_after(ApiError::StateLost { detail: "x".into(), retry_after: retry }).as_deref(),
                Some(seconds)
            );
        }
        assert_eq!(retry_after(ApiError::TagNotFound), None);
        let forever = ApiError::RateLimited { retry_after: Duration::MAX };
        assert_eq!(retry_after(forever), Some(u64::MAX.to_string()));
    }

    #[test]
    fn overload_asks_for_one_to_five_seconds_whatever_the_seed() {
        let drawn: std::collections::BTreeSet<String> = (0..50_u64)
            .map(|seed| retry_after(ApiError::service_overloaded(seed.wrapping_mul(0x9E37_79B9))).unwrap())
            .collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
        let long = ApiError::ServiceOverloaded { retry_after: Duration::from_secs(60) };
        assert_eq!(retry_after(long).as_deref(), Some("5"));
        assert!(retry_after(ApiError::service_overloaded(u64::MAX)).is_some());
    }

    #[test]
    fn unauthenticated_names_the_scheme() {
        let response = ApiError::Unauthenticated("no key was given".into()).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn an_internal_error_keeps_its_cause_out_of_the_document() {
        let problem = ApiError::internal("password hunter2").into_problem();
        assert!(!problem.detail().contains("hunter2"));
        assert!(problem.cause().unwrap().to_string().contains("hunter2"));
    }
}

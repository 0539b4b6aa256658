//! The errors that any HTTP service has, each with its status and problem document.
//!
//! A product defines its own errors with [`Problem::new`]. There is no `From<E: Error>`, so each failure of a
//! domain crate gets its status explicitly, in one place. The response has a [`Problem`] in its extensions
//! and no body. The edge renders it, because only the edge knows the request id and whether the path has JSON
//! or HTML.

use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

/// The range of `Retry-After` of an overload, seconds: rejected clients must not all return in the same
/// second.
const OVERLOAD_RETRY_S: std::ops::RangeInclusive<u64> = 1..=5;

/// Why a request is rejected, in terms of HTTP alone.
///
/// The text of a variant is its `detail`: one or more sentences for the client, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 400: syntax, type, a missing or unknown field, a range.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// 401: no credentials, or unknown ones.
    #[error("{0}")]
    Unauthenticated(Cow<'static, str>),
    /// 403: the client is known and not allowed to do this.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// 404.
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
    /// 409: the request contradicts the current state.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// 412: the resource is not in a version that `If-Match` names, or is in one that `If-None-Match`
    /// excludes.
    #[error("{0}")]
    PreconditionFailed(Cow<'static, str>),
    /// 422: the request can be read and not be accepted.
    #[error("{0}")]
    Unprocessable(Cow<'static, str>),
    /// 408: the client took too long to send its body.
    #[error("the request body did not arrive in time")]
    RequestTimeout,
    /// 429: the quota of this client is used up.
    #[error("the quota of this caller is used up; the next request passes after Retry-After")]
    RateLimited {
        /// When the next request would pass.
        retry_after: Duration,
    },
    /// 429: the service is busy, for every client.
    #[error("the service is busy; nothing was done")]
    ServiceOverloaded {
        /// Sent as 1 to 5 s; see [`HttpError::service_overloaded`].
        retry_after: Duration,
    },
    /// 503: the server did not answer within its own time limit; the work may have been done.
    #[error("the server could not finish in time; the request may or may not have been carried out")]
    ServerTimeout,
    /// 500: an unexpected fault of the server. The edge logs the source once and never sends it.
    #[error("an unexpected fault; quote the request_id when reporting it")]
    Internal {
        /// What went wrong, for the log alone.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl HttpError {
    /// A 400 `invalid-request` that says `detail`.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(detail.into())
    }

    /// A 500 whose cause is `source`: an error, or a text.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal { source: source.into() }
    }

    /// A 429 `service-overloaded` whose `Retry-After` is 1 to 5 s, drawn from `seed` (any random number), so
    /// that rejected clients do not all return in the same second.
    #[must_use]
    pub fn service_overloaded(seed: u64) -> Self {
        let (shortest, longest) = (OVERLOAD_RETRY_S.start(), OVERLOAD_RETRY_S.end());
        let seconds = shortest + seed % (longest - shortest + 1);
        Self::ServiceOverloaded { retry_after: Duration::from_secs(seconds) }
    }

    /// The slug of this error, as in the problem's `type`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.kind().1
    }

    /// The error of a response that the framework rejected with nothing but a status. The problem keeps the
    /// status.
    pub(crate) fn problem_of_status(status: StatusCode) -> Problem {
        let error = match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated("credentials are needed".into()),
            StatusCode::FORBIDDEN => Self::Forbidden("this is not allowed".into()),
            StatusCode::NOT_FOUND => Self::NotFound("there is nothing at this path".into()),
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::CONFLICT => Self::Conflict("the request contradicts the current state".into()),
            StatusCode::PAYLOAD_TOO_LARGE => Self::ContentTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::UnsupportedMediaType("this resource does not take this media type".into())
            }
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unprocessable("the request cannot be accepted".into()),
            other if other.is_server_error() => Self::internal(format!("a bare {other} response")),
            _ => Self::invalid_request("the request cannot be read"),
        };
        error.into_problem().with_status(status)
    }

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest(_) => (S::BAD_REQUEST, "invalid-request", "The request cannot be read"),
            Self::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated", "Credentials are needed"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound(_) => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::ContentTooLarge => (S::PAYLOAD_TOO_LARGE, "content-too-large", "The body is too long"),
            Self::UnsupportedMediaType(_) => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::Conflict(_) => (S::CONFLICT, "conflict", "Conflict"),
            Self::PreconditionFailed(_) => {
                (S::PRECONDITION_FAILED, "precondition-failed", "Another version is current")
            }
            Self::Unprocessable(_) => (S::UNPROCESSABLE_ENTITY, "unprocessable", "Cannot be accepted"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "request-timeout", "The body came too slowly"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::ServiceOverloaded { .. } => {
                (S::TOO_MANY_REQUESTS, "service-overloaded", "The service is busy")
            }
            Self::ServerTimeout => (S::SERVICE_UNAVAILABLE, "server-timeout", "The server was too slow"),
            Self::Internal { .. } => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::ServiceOverloaded { retry_after } => {
                Some((*retry_after).min(Duration::from_secs(*OVERLOAD_RETRY_S.end())))
            }
            Self::ServerTimeout => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The problem document of this error, its cause included.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let (status, slug, title) = self.kind();
        let retry_after = self.retry_after();
        let problem = Problem::new(status, slug, title, self.to_string());
        let problem = match retry_after {
            Some(span) => problem.with_retry_after(span),
            None => problem,
        };
        match self {
            Self::Internal { source } => problem.with_cause(source),
            _ => problem,
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        self.into_problem().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

    fn retry_after(error: HttpError) -> Option<String> {
        let response = error.into_response();
        response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn retry_after_is_in_whole_seconds_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60")] {
            let retry = Duration::from_millis(millis);
            assert_eq!(retry_after(HttpError::RateLimited { retry_after: retry }).as_deref(), Some(seconds));
        }
        assert_eq!(retry_after(HttpError::NotFound("x".into())), None);
        let forever = HttpError::RateLimited { retry_after: Duration::MAX };
        assert_eq!(retry_after(forever), Some(u64::MAX.to_string()));
    }

    #[test]
    fn overload_asks_for_one_to_five_seconds_for_every_seed() {
        let drawn: std::collections::BTreeSet<String> = (0..50_u64)
            .map(|seed| retry_after(HttpError::service_overloaded(seed.wrapping_mul(0x9E37_79B9))).unwrap())
            .collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
        let long = HttpError::ServiceOverloaded { retry_after: Duration::from_secs(60) };
        assert_eq!(retry_after(long).as_deref(), Some("5"));
        assert!(retry_after(HttpError::service_overloaded(u64::MAX)).is_some());
    }

    #[test]
    fn unauthenticated_names_the_scheme() {
        let response = HttpError::Unauthenticated("no key was given".into()).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn an_internal_error_keeps_its_cause_out_of_the_document() {
        let problem = HttpError::internal("password hunter2").into_problem();
        assert!(!problem.detail().contains("hunter2"));
        assert!(problem.cause().unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn a_bare_status_keeps_its_number_and_gets_the_nearest_slug() {
        for (status, slug) in [
            (400, "invalid-request"),
            (401, "unauthenticated"),
            (403, "forbidden"),
            (404, "not-found"),
            (405, "method-not-allowed"),
            (408, "request-timeout"),
            (409, "conflict"),
            (411, "invalid-request"),
            (413, "content-too-large"),
            (415, "unsupported-media-type"),
            (422, "unprocessable"),
            (500, "internal"),
            (503, "internal"),
        ] {
            let problem = HttpError::problem_of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!((problem.status().as_u16(), problem.slug()), (status, slug));
        }
    }
}

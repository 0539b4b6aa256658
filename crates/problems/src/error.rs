//! The product's errors, each with its status, slug and title.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use http_edge::{HttpError, IntoResponse, Problem, Response, StatusCode};

/// `Retry-After` where only an operator can help.
const RETRY_LOST: Duration = Duration::from_secs(30);
/// `Retry-After` where a repeat in the next second may succeed.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The faults of the services and the rejections of load, each a status and a slug, for
/// [`http_edge::EdgeConfig::counted_problems`].
pub const COUNTED_PROBLEMS: [(u16, &str); 7] = [
    (429, "rate-limited"),
    (429, "service-overloaded"),
    (500, "internal"),
    (503, "redis-unavailable"),
    (503, "server-timeout"),
    (503, "state-lost"),
    (503, "audit-contention"),
];

/// Why a request is rejected: one variant for each slug of docs/contract.md §5 that is not HTTP's alone.
///
/// The text of a variant is its `detail`: one or more sentences for the client, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// An error that any HTTP service has.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// 400: not an id in any accepted form.
    #[error("{0}")]
    InvalidTagId(Cow<'static, str>),
    /// 404 of a tag. The text is fixed, so that a forged id and one that was never minted get the same
    /// answer.
    #[error("no tag with this id was ever made")]
    TagNotFound,
    /// 409: the tenant has as many of this kind as it may have.
    #[error("{0}")]
    QuotaExceeded(Cow<'static, str>),
    /// 409: the request has consequences that the client has to confirm.
    #[error("{detail}")]
    ConfirmationRequired {
        /// What happens, and how to confirm it.
        detail: String,
        /// The same as data: the member `preview` of the document.
        preview: Box<serde_json::Value>,
    },
    /// 409: a request with the same idempotency key is still in progress.
    #[error(
        "a request with this Idempotency-Key is still under way; its answer will be given to a later repeat"
    )]
    IdempotencyInFlight {
        /// When a repeat makes sense.
        retry_after: Duration,
    },
    /// 422: the idempotency key belongs to another request.
    #[error("this Idempotency-Key was used with another request; take a new key for a new request")]
    IdempotencyKeyReused,
    /// 429: the tag was reported as often as is accepted in a day.
    #[error(
        "this tag was reported as often as is accepted in a day; the reports that came before were received"
    )]
    ReportsUsedUp {
        /// When the next day begins.
        retry_after: Duration,
    },
    /// 503: Redis is unavailable or too slow, or its circuit breaker is open.
    #[error("the data store is not available")]
    RedisUnavailable {
        /// When a repeat makes sense.
        retry_after: Duration,
    },
    /// 503: the durable state is missing, or is not the expected one.
    #[error("{0}")]
    StateLost(Cow<'static, str>),
    /// 503: the stored audit chain is damaged. Until an operator repairs it, nothing can be appended, or this
    /// part of it cannot be read. Nothing was written.
    #[error("the stored audit trail is damaged, and nothing was written; an operator is needed")]
    AuditDamaged,
    /// 503: too many writers at once; nothing was written.
    #[error("too many writers at once; nothing was written")]
    AuditContention,
}

impl ApiError {
    /// A 400 `invalid-request` that says `detail`.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::InvalidRequest(detail.into()).into()
    }

    /// A 400 `invalid-tag-id` for `text`, which is no id in any accepted form.
    #[must_use]
    pub fn invalid_tag_id(text: &str) -> Self {
        const TAKES: &str = "a hyphenated UUID or 26 characters of Crockford base32, \
                             e.g. 85e49ec3-de12-8001-bccf-0ce2e6986017";
        Self::InvalidTagId(format!("tag_id is {}; it takes {TAKES}", input::quoted(text)).into())
    }

    /// A 401 `unauthenticated` that says `detail`.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::Unauthenticated(detail.into()).into()
    }

    /// A 403 `forbidden` that says `detail`.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::Forbidden(detail.into()).into()
    }

    /// A 404 `not-found` that says `detail`.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::NotFound(detail.into()).into()
    }

    /// A 409 `conflict` that says `detail`.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::Conflict(detail.into()).into()
    }

    /// A 412 `precondition-failed` that says `detail`.
    pub fn precondition_failed(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::PreconditionFailed(detail.into()).into()
    }

    /// A 422 `unprocessable` that says `detail`.
    pub fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        HttpError::Unprocessable(detail.into()).into()
    }

    /// A 429 `rate-limited` of a client that may return after `retry_after`.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        HttpError::RateLimited { retry_after }.into()
    }

    /// A 429 `service-overloaded` with a random `Retry-After` of 1 to 5 s.
    #[must_use]
    pub fn service_overloaded() -> Self {
        HttpError::service_overloaded(ambient::entropy::random_u64()).into()
    }

    /// A 500 whose cause is `source`: an error, or a text.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        HttpError::internal(source).into()
    }

    /// A 503 `redis-unavailable` of a state that the next second may end.
    #[must_use]
    pub fn redis_unavailable_briefly() -> Self {
        Self::RedisUnavailable { retry_after: RETRY_SOON }
    }

    /// A 503 `state-lost` of the whole deployment.
    #[must_use]
    pub fn state_lost() -> Self {
        let detail =
            "the durable state of this deployment is missing or not the expected one; an operator is needed";
        Self::StateLost(detail.into())
    }

    /// A 503 `state-lost` of a state that is older than what was seen before.
    #[must_use]
    pub fn rolled_back() -> Self {
        let detail = "rolled back: the durable state is older than what was seen of it, or another; an \
                      operator is needed (factory-service restore accept)";
        Self::StateLost(detail.into())
    }

    /// A 503 `state-lost` of one stored record that was written and cannot be read. The other records are
    /// served.
    #[must_use]
    pub fn record_lost(fault: &impl std::fmt::Display) -> Self {
        tracing::error!(%fault, "stored record lost");
        Self::StateLost(format!("{fault}; an operator is needed").into())
    }

    /// The slug of this error, as in `urn:voketag:problem:<slug>`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Http(error) => error.slug(),
            Self::InvalidTagId(_) => "invalid-tag-id",
            Self::TagNotFound => "tag-not-found",
            Self::QuotaExceeded(_) => "quota-exceeded",
            Self::ConfirmationRequired { .. } => "confirmation-required",
            Self::IdempotencyInFlight { .. } => "idempotency-in-flight",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::ReportsUsedUp { .. } => "rate-limited",
            Self::RedisUnavailable { .. } => "redis-unavailable",
            Self::StateLost(_) | Self::AuditDamaged => "state-lost",
            Self::AuditContention => "audit-contention",
        }
    }

    /// The problem document of this error, its cause included.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        use StatusCode as S;
        let slug = self.slug();
        let text = match &self {
            Self::Http(_) => String::new(),
            own => own.to_string(),
        };
        let problem = |status, title| Problem::new(status, slug, title, text);
        match self {
            Self::Http(error) => error.into_problem(),
            Self::InvalidTagId(_) => problem(S::BAD_REQUEST, "Not a tag id"),
            Self::TagNotFound => problem(S::NOT_FOUND, "No such tag"),
            Self::QuotaExceeded(_) => problem(S::CONFLICT, "The quota is used up"),
            Self::ConfirmationRequired { preview, .. } => {
                problem(S::CONFLICT, "Confirmation is needed").with_member("preview", *preview)
            }
            Self::IdempotencyInFlight { retry_after } => {
                problem(S::CONFLICT, "The same request is under way").with_retry_after(retry_after)
            }
            Self::IdempotencyKeyReused => {
                problem(S::UNPROCESSABLE_ENTITY, "The key stands for another request")
            }
            Self::ReportsUsedUp { retry_after } => {
                problem(S::TOO_MANY_REQUESTS, "Too many reports").with_retry_after(retry_after)
            }
            Self::RedisUnavailable { retry_after } => {
                problem(S::SERVICE_UNAVAILABLE, "The data store is away").with_retry_after(retry_after)
            }
            Self::StateLost(_) => {
                problem(S::SERVICE_UNAVAILABLE, "The durable state is lost").with_retry_after(RETRY_LOST)
            }
            Self::AuditDamaged => {
                problem(S::SERVICE_UNAVAILABLE, "The audit trail is damaged").with_retry_after(RETRY_LOST)
            }
            Self::AuditContention => {
                problem(S::SERVICE_UNAVAILABLE, "Too many writers at once").with_retry_after(RETRY_SOON)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_problem().into_response()
    }
}

//! What a failure of a domain crate becomes for the client. Every mapping is written out once, here, for both services.

use std::borrow::Cow;
use std::time::Duration;

use ambient::entropy;
use audit_chain::{AppendError, AppendFault, ReadError};
use catalog::{CatalogError, DeploymentError};
use http_edge::ApiError;
use keyring::KeyringError;

use crate::field_error::FieldError;

/// When to ask again where only an operator can help.
const RETRY_LOST: Duration = Duration::from_secs(30);
/// When to ask again where the next second may do.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// 503 `state-lost` of the whole deployment.
#[must_use]
pub fn state_lost() -> ApiError {
    state_lost_because(
        "the durable state of this deployment is missing or not the expected one; an operator is needed",
    )
}

/// 503 `state-lost` that says what is lost.
#[must_use]
pub fn state_lost_because(detail: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::StateLost { detail: detail.into(), retry_after: RETRY_LOST }
}

/// 503 `state-lost` of one stored record that was written and cannot be read. The others are served.
#[must_use]
pub fn record_lost(fault: &impl std::fmt::Display) -> ApiError {
    tracing::error!(%fault, "a stored record is lost");
    state_lost_because(format!("{fault}; an operator is needed"))
}

/// A field of a request: 400 where it cannot be read, 422 where it can and is wrong.
#[must_use]
pub fn from_field(error: FieldError) -> ApiError {
    let detail = error.to_string();
    match error {
        FieldError::Malformed(_) => ApiError::invalid_request(detail),
        FieldError::Unacceptable(_) => ApiError::Unprocessable(detail.into()),
    }
}

/// A pool that gave no reply: 429 when it was busy, 503 when Redis is away, 500 when the fault is ours.
#[must_use]
pub fn from_pool(error: redis_pool::Error) -> ApiError {
    match error {
        redis_pool::Error::Overloaded { .. } => ApiError::service_overloaded(entropy::random_u64()),
        redis_pool::Error::Unavailable { retry_after, .. } => ApiError::RedisUnavailable { retry_after },
        fault @ (redis_pool::Error::Server { .. } | redis_pool::Error::Reply { .. }) => {
            ApiError::internal(fault)
        }
    }
}

/// A failed read of the catalogue.
#[must_use]
pub fn from_catalog(error: CatalogError) -> ApiError {
    match error {
        CatalogError::Redis(error) => from_pool(error),
        fault @ (CatalogError::Record(_) | CatalogError::TagState(_) | CatalogError::Lost { .. }) => {
            record_lost(&fault)
        }
    }
}

/// A deployment that is not there, or a Redis that did not tell.
#[must_use]
pub fn from_deployment(error: DeploymentError) -> ApiError {
    match error {
        DeploymentError::Lost(_) => state_lost(),
        DeploymentError::Redis(error) => from_pool(error),
    }
}

/// An event that was not acknowledged. A failed precondition is the caller's to understand: whoever set it maps it before.
#[must_use]
pub fn from_append(error: AppendError) -> ApiError {
    match error {
        AppendError::Contention => ApiError::AuditContention { retry_after: RETRY_SOON },
        AppendError::StateLost(_) => state_lost(),
        AppendError::EndFault(_) => ApiError::AuditDamaged { retry_after: RETRY_LOST },
        AppendError::Overloaded { .. } => ApiError::service_overloaded(entropy::random_u64()),
        AppendError::Unavailable { retry_after, .. } => ApiError::RedisUnavailable { retry_after },
        AppendError::Precondition { .. } => {
            ApiError::Conflict("it was changed by another request at the same time".into())
        }
        AppendError::Internal(fault @ AppendFault::WrongType { .. }) => record_lost(&fault),
        fault @ (AppendError::IdReused { .. } | AppendError::TooLarge | AppendError::Internal(_)) => {
            ApiError::internal(fault)
        }
    }
}

/// A chain that could not be read.
#[must_use]
pub fn from_read(error: ReadError) -> ApiError {
    match error {
        ReadError::StateLost(_) => state_lost(),
        ReadError::Redis(error) => from_pool(error),
        ReadError::Damaged { .. } => ApiError::AuditDamaged { retry_after: RETRY_LOST },
    }
}

/// A keyring that is not there, or a move of a key that is refused (409; which refusals deserve another answer is for the
/// caller to know, and to map before).
#[must_use]
pub fn from_keyring(error: KeyringError) -> ApiError {
    match error {
        KeyringError::Redis(error) => from_pool(error),
        KeyringError::NotMade | KeyringError::Lost(_) => state_lost(),
        KeyringError::Refused(why) => ApiError::Conflict(why.to_string().into()),
        fault @ KeyringError::Record(_) => ApiError::internal(fault),
    }
}

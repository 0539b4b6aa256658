//! Why something was not done.

use access::AccessError;
use audit_chain::ReadError;
use catalog::{CatalogError, DeploymentError};
use keyring::{KeyringError, MoveRefusal};
use problems::ApiError;
use service_kit::durable::AppendFailure;

use crate::domain::epoch_batches::Preview;
use crate::domain::input::FieldError;

/// Each kind has one status; see `handlers::refusal`.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A field of the request.
    Field(FieldError),
    /// There is no such thing, or it is another tenant's; says what was asked for.
    NoSuch(&'static str),
    /// Forged, never minted, or another tenant's.
    NoSuchTag,
    /// Others were faster each time, or the same work is under way.
    Conflict(&'static str),
    /// The tenant has as many as it may have; says of what.
    QuotaExceeded(String),
    /// It is in another version than the client asks for.
    OtherVersion,
    /// It has consequences that have to be confirmed by the number of batches that become invalid; `given` was another one, or none.
    ConfirmationRequired { preview: Box<Preview>, given: Option<u64> },
    /// The key is none, or no longer one.
    UnknownKey,
    /// The key's tenant is suspended.
    Suspended,
    /// The request's claim went to another try of the same request; this one wrote nothing. The client is told what that other
    /// try was.
    ClaimLost,
    /// The durable Redis, or what it holds.
    Store(ApiError),
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        Self::Store(ApiError::from(error))
    }
}

/// A cursor that no page gave.
pub(crate) fn no_such_cursor(held: impl Into<String>) -> FieldError {
    FieldError::malformed("cursor", held, "the next_cursor of the page before", "the one that it answered")
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Redis(error) => Self::Store(ApiError::from(error)),
            AccessError::UnknownCursor => no_such_cursor("is unknown").into(),
            fault @ (AccessError::Record(_) | AccessError::Lost { .. }) => {
                Self::Store(ApiError::record_lost(&fault))
            }
        }
    }
}

impl From<idempotency::IdempotencyError> for Refusal {
    fn from(error: idempotency::IdempotencyError) -> Self {
        Self::Store(match error {
            idempotency::IdempotencyError::Redis(error) => ApiError::from(error),
            fault => ApiError::internal(fault),
        })
    }
}

impl From<KeyringError> for Refusal {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Refused(MoveRefusal::Unknown(_)) => Self::NoSuch("key"),
            KeyringError::Refused(MoveRefusal::Future) => {
                let takes = "an instant in the past";
                let example = "2026-11-01T00:00:00Z";
                FieldError::unacceptable("compromised_since", "lies in the future", takes, example).into()
            }
            other => Self::Store(ApiError::from(other)),
        }
    }
}

impl From<DeploymentError> for Refusal {
    fn from(error: DeploymentError) -> Self {
        Self::Store(ApiError::from(error))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Store(ApiError::from(error))
    }
}

impl From<AppendFailure> for Refusal {
    fn from(failure: AppendFailure) -> Self {
        Self::Store(failure.into())
    }
}

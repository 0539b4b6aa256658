//! The factory's domain error: why a request was not carried out.

use std::error::Error;

use access::AccessError;
use audit_chain::ReadError;
use catalog::{CatalogError, DeploymentError};
use idempotency::IdempotencyError;
use input::FieldError;
use keyring::{KeyringError, MoveRefusal};
use storage::{AppendFailure, GateError, StorageError};

use crate::domain::revocation_preview::Preview;

/// Why a request was not carried out. Each variant has one status; see `handlers::error`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactoryError {
    /// A field of the request.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The thing does not exist, or belongs to another tenant. Holds the kind of thing.
    #[error("there is no such {0}")]
    NoSuch(&'static str),
    /// The tag id is forged, was never minted, or belongs to another tenant.
    #[error("there is no such tag")]
    NoSuchTag,
    /// The state does not allow the request, or other requests were faster at each attempt.
    #[error("{0}")]
    Conflict(&'static str),
    /// The tenant has as many as it may have. Holds the text for the client.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The current version of the resource is not the one that the client requires.
    #[error("the current version of the resource is another one")]
    OtherVersion,
    /// The client has to confirm the consequences with the number of batches that become invalid. `given` is
    /// what it sent.
    #[error("the consequences have to be confirmed")]
    ConfirmationRequired { preview: Box<Preview>, given: Option<u64> },
    /// The text is no API key, or the key is no longer valid.
    #[error("the API key is unknown or no longer valid")]
    UnknownKey,
    /// The key's tenant is suspended.
    #[error("the tenant of the API key is suspended")]
    Suspended,
    /// Another try of the same request took over its claim; this one wrote nothing. The client gets the
    /// answer of the other try.
    #[error("another try of the same request holds its claim")]
    ClaimLost,
    /// Durable storage, or a record in it.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// A fault of the service itself.
    #[error("internal fault")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl FactoryError {
    /// Returns a fault of the service itself, from an error or a text.
    pub(crate) fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }
}

/// Returns the error for a cursor that no page returned.
pub(crate) fn no_such_cursor(held: impl Into<String>) -> FieldError {
    FieldError::malformed("cursor", held, "the next_cursor of the previous page", "the one in its answer")
}

impl From<GateError> for FactoryError {
    fn from(error: GateError) -> Self {
        Self::Store(error.into())
    }
}

impl From<redis_pool::PoolError> for FactoryError {
    fn from(error: redis_pool::PoolError) -> Self {
        Self::Store(error.into())
    }
}

impl From<CatalogError> for FactoryError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}

impl From<DeploymentError> for FactoryError {
    fn from(error: DeploymentError) -> Self {
        Self::Store(error.into())
    }
}

impl From<ReadError> for FactoryError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

impl From<AppendFailure> for FactoryError {
    fn from(failure: AppendFailure) -> Self {
        Self::Store(failure.into())
    }
}

impl From<AccessError> for FactoryError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::UnknownCursor => no_such_cursor("is unknown").into(),
            other => Self::Store(other.into()),
        }
    }
}

impl From<KeyringError> for FactoryError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Refused(MoveRefusal::Unknown(_)) => Self::NoSuch("key"),
            KeyringError::Refused(MoveRefusal::Future) => {
                let takes = "an instant in the past";
                let example = "2026-11-01T00:00:00Z";
                FieldError::unacceptable("compromised_since", "lies in the future", takes, example).into()
            }
            other => Self::Store(other.into()),
        }
    }
}

impl From<IdempotencyError> for FactoryError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Redis(error) => error.into(),
            fault => Self::internal(fault),
        }
    }
}

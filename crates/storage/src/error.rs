//! Errors of durable storage.

use access::AccessError;
use audit_chain::{AppendError, EventError, ReadError};
use catalog::{CatalogError, DeploymentError};
use keyring::KeyringError;

/// Why a process must not work on durable storage at the moment, as found by its last refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Redis has not answered since the start, so the state of the deployment is unknown.
    #[error("the deployment record was not read yet")]
    NotRead,
    /// The deployment record, the audit head or the keyring is missing, or is not the expected one.
    #[error("the durable state is missing or not the expected one")]
    StateLost,
    /// The durable state is older than a state that was seen before, or a different one.
    #[error("the durable state is older than, or differs from, the state that was seen before")]
    RolledBack,
    /// Redis rejects a command that appending needs, or this was not checked yet.
    #[error("redis does not permit this process to append audit events")]
    AppendNotPermitted,
    /// The keyring was not read yet.
    #[error("the keyring was not read yet")]
    KeyringNotRead,
}

impl GateError {
    /// Returns whether an operator has to restore the state. Otherwise it suffices to wait.
    #[must_use]
    pub fn is_state_lost(self) -> bool {
        matches!(self, Self::StateLost | Self::RolledBack)
    }
}

/// Why an event was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendFailure {
    /// The process must not append at the moment.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The event cannot be built.
    #[error("the audit event cannot be built")]
    Event(#[from] EventError),
    /// The appender failed, or rejected the event.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why a read or write of durable storage failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The process must not work on durable storage at the moment.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// The deployment record is missing or different, or could not be read.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A product, a batch or a tag could not be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A tenant or an API key could not be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The keyring could not be read, or a move of a key was rejected.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The audit chain could not be read.
    #[error(transparent)]
    Chain(#[from] ReadError),
    /// An event was not appended.
    #[error(transparent)]
    Append(#[from] AppendFailure),
    /// A stored record is missing or unreadable although it was written.
    #[error("{what} is missing or unreadable although it was written")]
    RecordLost {
        /// The record, for the error message.
        what: String,
    },
}

impl StorageError {
    /// Returns whether stored data is missing or unreadable, so that an operator has to act.
    #[must_use]
    pub fn is_state_lost(&self) -> bool {
        match self {
            Self::Gate(error) | Self::Append(AppendFailure::Gate(error)) => error.is_state_lost(),
            Self::Deployment(DeploymentError::Lost(_))
            | Self::Catalog(
                CatalogError::Record(_) | CatalogError::TagState(_) | CatalogError::RecordLost { .. },
            )
            | Self::Access(AccessError::Record(_) | AccessError::Lost { .. })
            | Self::Keyring(KeyringError::NotMade | KeyringError::Lost(_))
            | Self::Chain(ReadError::StateLost(_))
            | Self::Append(AppendFailure::Append(AppendError::StateLost(_)))
            | Self::RecordLost { .. } => true,
            _ => false,
        }
    }
}

//! What a failure of a domain crate becomes for the client, once for both services.

use access::AccessError;
use audit_chain::{AppendError, AppendFault, ReadError};
use catalog::{CatalogError, DeploymentError};
use keyring::KeyringError;
use storage::{AppendFailure, GateError, StorageError};

use crate::error::ApiError;

/// 429 if the pool was busy, 503 if Redis is unavailable, 500 if the fault is the server's own.
impl From<redis_pool::PoolError> for ApiError {
    fn from(error: redis_pool::PoolError) -> Self {
        match error {
            redis_pool::PoolError::Overloaded { .. } => Self::service_overloaded(),
            redis_pool::PoolError::Unavailable { retry_after, .. } => Self::RedisUnavailable { retry_after },
            fault @ (redis_pool::PoolError::Server { .. } | redis_pool::PoolError::Reply { .. }) => {
                Self::internal(fault)
            }
        }
    }
}

/// 503 for each: `state-lost` where an operator has to act, `redis-unavailable` where it suffices to wait.
impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::NotRead | GateError::AppendNotPermitted | GateError::KeyringNotRead => {
                Self::redis_unavailable_briefly()
            }
            GateError::StateLost => Self::state_lost(),
            GateError::RolledBack => Self::rolled_back(),
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Gate(error) => error.into(),
            StorageError::Redis(error) => error.into(),
            StorageError::Deployment(error) => error.into(),
            StorageError::Catalog(error) => error.into(),
            StorageError::Access(error) => error.into(),
            StorageError::Keyring(error) => error.into(),
            StorageError::Chain(error) => error.into(),
            StorageError::Append(error) => error.into(),
            lost @ StorageError::RecordLost { .. } => Self::record_lost(&lost),
        }
    }
}

/// A cursor that no page returned is a 400. A caller that names the field maps it before.
impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Redis(error) => error.into(),
            AccessError::UnknownCursor => Self::invalid_request(error.to_string()),
            fault @ (AccessError::Record(_) | AccessError::Lost { .. }) => Self::record_lost(&fault),
        }
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Redis(error) => error.into(),
            fault @ (CatalogError::Record(_)
            | CatalogError::TagState(_)
            | CatalogError::RecordLost { .. }) => Self::record_lost(&fault),
        }
    }
}

impl From<DeploymentError> for ApiError {
    fn from(error: DeploymentError) -> Self {
        match error {
            DeploymentError::Lost(_) => Self::state_lost(),
            DeploymentError::Redis(error) => error.into(),
        }
    }
}

impl From<AppendFailure> for ApiError {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::Gate(error) => error.into(),
            AppendFailure::Event(error) => Self::internal(error),
            AppendFailure::Append(error) => error.into(),
        }
    }
}

/// A failed precondition is a 409 that says nothing more. A caller that set the precondition maps it before.
impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Contention => Self::AuditContention,
            AppendError::StateLost(_) => Self::state_lost(),
            AppendError::EndFault(_) => Self::AuditDamaged,
            AppendError::Overloaded { .. } => Self::service_overloaded(),
            AppendError::Unavailable { retry_after, .. } => Self::RedisUnavailable { retry_after },
            AppendError::Precondition { .. } => {
                Self::conflict("it was changed by another request at the same time")
            }
            AppendError::Internal(fault @ AppendFault::WrongType { .. }) => Self::record_lost(&fault),
            fault @ (AppendError::IdReused { .. } | AppendError::TooLarge | AppendError::Internal(_)) => {
                Self::internal(fault)
            }
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::StateLost(_) => Self::state_lost(),
            ReadError::Redis(error) => error.into(),
            ReadError::Damaged { .. } => Self::AuditDamaged,
        }
    }
}

/// A refused move of a key is a 409. A caller that gives some of the refusals another status maps them
/// before.
impl From<KeyringError> for ApiError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Redis(error) => error.into(),
            KeyringError::NotMade | KeyringError::Lost(_) => Self::state_lost(),
            KeyringError::Refused(why) => Self::conflict(why.to_string()),
            fault @ KeyringError::Record(_) => Self::internal(fault),
        }
    }
}

//! How looking at the keyring, or moving a key, fails.

use crate::move_refusal::MoveRefusal;
use crate::record::KeyringRecordError;

/// Why nothing was read or planned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// What is stored is no keyring record.
    #[error(transparent)]
    Record(#[from] KeyringRecordError),
    /// Nobody has made the keyring record yet: a factory does, when it starts.
    #[error("the keyring was not made yet; start the factory-service")]
    NotMade,
    /// The deployment, or its keyring, is not the one seen before.
    #[error("the keyring was lost: {0}")]
    Lost(String),
    /// The move cannot be made.
    #[error(transparent)]
    Refused(#[from] MoveRefusal),
}

impl From<catalog::DeploymentError> for KeyringError {
    fn from(error: catalog::DeploymentError) -> Self {
        match error {
            catalog::DeploymentError::Redis(error) => Self::Redis(error),
            catalog::DeploymentError::Lost(why) => Self::Lost(why),
        }
    }
}

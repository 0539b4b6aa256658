//! How reading the keyring, or planning a move of a key, fails.

use crate::move_refusal::MoveRefusal;
use crate::record::KeyringRecordError;

/// Why the keyring was not read, or a move was not planned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// The stored value is not a keyring record.
    #[error(transparent)]
    Record(#[from] KeyringRecordError),
    /// No keyring record was created yet. A factory-service creates it when it starts.
    #[error("the keyring does not exist yet; start the factory-service")]
    NotMade,
    /// The deployment or its keyring is missing, or not the one seen before. Holds the reason.
    #[error("the keyring was lost: {0}")]
    Lost(String),
    /// The move is rejected.
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

//! How reading or changing the deployment record fails.

/// A deployment record that is missing, different or unreachable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeploymentError {
    /// The record is missing or different, and this process must not create one. Holds the reason.
    #[error("{0}")]
    Lost(String),
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
}

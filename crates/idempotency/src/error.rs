//! How claiming, renewing and completing fail.

/// A claim could not be created, renewed or completed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdempotencyError {
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// The stored record is foreign or damaged.
    #[error("the stored idempotency record cannot be read: {0}")]
    Damaged(&'static str),
    /// The response is longer than the bound.
    #[error("an answer of {bytes} bytes cannot be kept; it takes at most {most}")]
    AnswerTooLarge {
        /// Its length, bytes.
        bytes: usize,
        /// The bound, bytes.
        most: usize,
    },
}

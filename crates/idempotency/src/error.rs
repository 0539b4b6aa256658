//! How claiming and completing fail.

/// Why a claim could not be made, kept or completed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdempotencyError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] redis_pool::Error),
    /// What is stored is no record of this crate's.
    #[error("the stored idempotency record cannot be read: {0}")]
    Damaged(&'static str),
    /// The answer is longer than one may be.
    #[error("an answer of {bytes} bytes cannot be kept; it takes at most {most}")]
    AnswerTooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        most: usize,
    },
}

//! How appending and reading fail. The variants are what a caller has to tell apart; sources are kept.
//!
//! One failure can answer hundreds of callers whose events shared a call, so the errors implement `Clone`.

use crate::chain::end::EndFault;
use crate::chain::memory::StateLoss;
use crate::effect::EffectError;
use std::time::Duration;

/// Why an append was not acknowledged.
///
/// Nothing was written, except where `maybe_written` says that this is unknown. [`Self::StateLost`],
/// [`Self::EndFault`] and [`Self::Internal`] make no statement about an earlier attempt whose reply was lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A precondition of the event's effect does not hold.
    #[error("check {check} of the effect does not hold")]
    Precondition {
        /// Index of the precondition, from 0.
        check: usize,
    },
    /// The chain holds another event with this id.
    #[error("the event id is taken by another event, entry {seq}")]
    IdReused {
        /// Seq of that entry.
        seq: u64,
    },
    /// The effect has too many steps or bytes.
    #[error("the effect is too large")]
    TooLarge,
    /// Other appenders won every race for the head until the deadline.
    #[error("other appenders moved the audit head until the deadline")]
    Contention,
    /// The durable state is not the one this process has worked with.
    #[error("the durable state was lost")]
    StateLost(#[from] StateLoss),
    /// The chain does not end as its head says. Appends are refused until an operator resolves it; reading
    /// still works.
    #[error("the audit chain cannot be appended to: {0}")]
    EndFault(#[from] EndFault),
    /// The queue was full, the event's turn did not come before the deadline, or the Redis pool had no free
    /// permit.
    #[error("too many appends are under way (waited {} ms)", waited.as_millis())]
    Overloaded {
        /// How long the event waited. Zero if it was rejected at once.
        waited: Duration,
    },
    /// Redis is unreachable or too slow.
    #[error("the audit log is unavailable")]
    Unavailable {
        /// Whether the event may have been written although its reply is missing. Repeating the same event is
        /// safe: it is answered with the original seq.
        maybe_written: bool,
        /// When a repeat may succeed.
        retry_after: Duration,
        /// The failure of the connection.
        source: redis_pool::PoolError,
    },
    /// A fault of the program or of the stored data, not of the caller's input.
    #[error("appending failed")]
    Internal(#[from] AppendFault),
}

impl AppendError {
    /// Converts a failure of the pool. `maybe_written` is false: a caller that sent a write corrects it.
    pub(crate) fn from_redis(error: redis_pool::PoolError) -> Self {
        match error {
            redis_pool::PoolError::Overloaded { waited } => Self::Overloaded { waited },
            redis_pool::PoolError::Unavailable { retry_after, .. } => {
                Self::Unavailable { maybe_written: false, retry_after, source: error }
            }
            redis_pool::PoolError::Server { .. } | redis_pool::PoolError::Reply { .. } => {
                AppendFault::Redis(error).into()
            }
        }
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::StateLost(loss) => loss.into(),
            ReadError::Redis(error) => Self::from_redis(error),
            ReadError::Damaged { seq } => EndFault::Missing { seq }.into(),
        }
    }
}

/// A fault that no retry cures.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendFault {
    /// The effect holds a write that Redis can never carry out.
    #[error(transparent)]
    Effect(#[from] EffectError),
    /// A write of the effect meets a key of another type.
    #[error("write {write} of the effect meets a key of another type")]
    WrongType {
        /// Index of the write, from 0.
        write: usize,
    },
    /// Redis rejected the script, or its reply has another shape.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// The chain has 2^53 − 1 entries.
    #[error("the audit chain is full")]
    Full,
    /// The appender's task has ended.
    #[error("the appender has ended")]
    AppenderGone,
}

/// Why the chain could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The durable state is not the one this process has worked with.
    #[error("the durable state was lost")]
    StateLost(#[from] StateLoss),
    /// Redis did not reply, or its reply has another shape.
    #[error("the audit log cannot be read")]
    Redis(#[from] redis_pool::PoolError),
    /// An entry is missing or is not JSON. Verifying the chain says more.
    #[error("entry {seq} of the audit chain is damaged")]
    Damaged {
        /// Seq of the entry.
        seq: u64,
    },
}

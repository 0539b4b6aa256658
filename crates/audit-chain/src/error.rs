//! How appending and reading fail. The kinds are what a caller has to tell apart; sources are kept.
//!
//! One failure may answer hundreds of callers whose events were in the same call, so errors can be cloned.

use crate::chain::head::{EndFault, StateLoss};
use crate::effect::EffectError;
use std::time::Duration;

/// Why an append was not acknowledged. Nothing was written, except where `maybe_written` says that this is not known;
/// [`Self::StateLost`], [`Self::EndFault`] and [`Self::Internal`] say nothing of a first try whose reply was lost before.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A check of the event's own effect does not hold.
    #[error("check {check} of the effect does not hold")]
    Precondition {
        /// Which, from 0.
        check: usize,
    },
    /// The event's id is in the chain already, with another payload.
    #[error("the event id stands for another event, entry {seq}")]
    IdReused {
        /// The entry that has it.
        seq: u64,
    },
    /// The effect has more steps or bytes than one may have.
    #[error("the effect is too large")]
    TooLarge,
    /// Others moved the head each time, until the deadline.
    #[error("the audit head was moved by others until the deadline")]
    Contention,
    /// The durable state is not the one this process has been working on.
    #[error("the durable state was lost")]
    StateLost(#[from] StateLoss),
    /// The chain does not end as its head says, and nothing is appended until an operator has settled that. Reading goes on.
    #[error("the audit chain cannot be appended to: {0}")]
    EndFault(#[from] EndFault),
    /// The queue was full, the event's turn did not come in time, or Redis had no permit free.
    #[error("too many appends are under way (waited {} ms)", waited.as_millis())]
    Overloaded {
        /// How long the event waited; zero where it was refused at once.
        waited: Duration,
    },
    /// Redis is away or too slow.
    #[error("the audit log cannot be reached")]
    Unavailable {
        /// Whether the event may have been written although no reply was read. A repeat of the same event is safe: it is
        /// answered with the original seq.
        maybe_written: bool,
        /// When trying again may make sense.
        retry_after: Duration,
        /// What Redis or the way to it said.
        source: redis_pool::Error,
    },
    /// A fault of the program or of what is stored, not of the caller's data.
    #[error("appending failed")]
    Internal(#[from] AppendFault),
}

/// A fault that no retry will cure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendFault {
    /// The effect holds a write that can never be carried out.
    #[error(transparent)]
    Effect(#[from] EffectError),
    /// A write of the effect meets a key of another type.
    #[error("write {write} of the effect meets a key of another type")]
    WrongType {
        /// Which, from 0.
        write: usize,
    },
    /// Redis refused our script or command, or its reply has another shape.
    #[error(transparent)]
    Redis(#[from] redis_pool::Error),
    /// The chain has 2^53 - 1 entries.
    #[error("the audit chain is full")]
    Full,
    /// The appender's task has ended.
    #[error("the appender has ended")]
    AppenderGone,
}

/// Why the chain could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The durable state is not the one this process has been working on.
    #[error("the durable state was lost")]
    StateLost(#[from] StateLoss),
    /// Redis did not answer, or not with what was asked for.
    #[error("the audit log cannot be read")]
    Redis(#[from] redis_pool::Error),
    /// An entry is missing, or is no JSON: verifying says more.
    #[error("entry {seq} of the audit chain is damaged")]
    Damaged {
        /// Which.
        seq: u64,
    },
}

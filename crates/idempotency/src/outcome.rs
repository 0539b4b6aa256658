//! What a claim can result in.

use std::time::Duration;

use crate::answer::StoredResponse;
use crate::claim::Claim;

/// Result of claiming a request: execute it, replay its response, or reject it.
#[derive(Debug)]
#[must_use = "a claim that is dropped blocks the request until its lease ends"]
pub enum ClaimOutcome {
    /// Execute the request: it is new, or its last try never completed. No other try holds it until the lease
    /// ends.
    Claimed(Claim),
    /// The request was completed with this response. Send it again.
    Replay(StoredResponse),
    /// The request must not be executed now.
    Rejected(ClaimRejection),
}

/// Why a request was not claimed. A rejection is a decision, not a fault: Redis answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimRejection {
    /// The key was used for a different request.
    KeyReused,
    /// Another try of the request is being executed.
    InFlight {
        /// Time until the lease of that try ends, unless it is renewed.
        retry_after: Duration,
    },
    /// The tenant holds [`IdempotencyConfig::keys_per_tenant`](crate::IdempotencyConfig::keys_per_tenant)
    /// records.
    TooManyRecords {
        /// Time until the oldest of them ends.
        retry_after: Duration,
    },
    /// The deployment record is missing or different.
    StateLost,
}

//! A request that is executed under an idempotency claim.

use std::sync::atomic::{AtomicBool, Ordering};

use idempotency::Claim;

/// The claim, and whether the effect of the request is written. The idempotency step claims and completes;
/// the store writes the effect.
#[derive(Debug)]
pub(crate) struct ClaimedRequest {
    claim: Claim,
    completed: AtomicBool,
}

impl ClaimedRequest {
    pub(crate) fn new(claim: Claim) -> Self {
        Self { claim, completed: AtomicBool::new(false) }
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Records that one call wrote the effect and stored the response.
    pub(crate) fn note_completed(&self) {
        self.completed.store(true, Ordering::Release);
    }

    /// Returns whether the response is stored already.
    pub(crate) fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }
}

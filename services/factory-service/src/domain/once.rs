//! A request that is to be carried out once: its claim, and whether its effect was written.

use std::sync::atomic::{AtomicBool, Ordering};

use idempotency::Claim;

/// Shared between the guard, which claims and settles, and the store, which writes.
#[derive(Debug)]
pub(crate) struct Once {
    claim: Claim,
    done: AtomicBool,
}

impl Once {
    pub(crate) fn new(claim: Claim) -> Self {
        Self { claim, done: AtomicBool::new(false) }
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Notes that the effect was written, and the answer with it.
    pub(crate) fn note_done(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Whether the answer is stored already.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

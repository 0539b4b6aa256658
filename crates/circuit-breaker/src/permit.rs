//! The leave to make one call, and the duty to say how it went. Reporting consumes the permit, so nobody reports
//! twice; dropping it unreported, as a cancelled future does, is neutral and always frees a probe's place.

use std::time::Duration;

use crate::breaker::{Breaker, CallOutcome};

/// Leave to make one call. Report on it with [`success`](Self::success) or [`failure`](Self::failure); dropped, it
/// counts as neither.
///
/// A permit is good for the generation it was given in. Once the breaker has moved on, or the probe's time is over,
/// reporting on it counts as neither, too.
#[derive(Debug)]
#[must_use = "a permit dropped at once lets nobody through: report on it when the call is done"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    generation: u64,
    /// The last instant, in nanoseconds since the origin, at which a report counts.
    deadline: u64,
}

impl<'a> Permit<'a> {
    /// Beyond all that a probe's deadline can be.
    const NO_DEADLINE: u64 = u64::MAX;

    #[inline]
    pub(crate) const fn closed(breaker: &'a Breaker, generation: u64) -> Self {
        Self { breaker, generation, deadline: Self::NO_DEADLINE }
    }

    pub(crate) const fn probe(breaker: &'a Breaker, generation: u64, deadline: u64) -> Self {
        Self { breaker, generation, deadline }
    }

    /// The call went well: the dependency answered, whatever it said.
    #[inline]
    pub fn success(self, now: Duration) {
        self.report(CallOutcome::Success, now);
    }

    /// The dependency failed, or did not answer in time.
    #[inline]
    pub fn failure(self, now: Duration) {
        self.report(CallOutcome::Failure, now);
    }

    /// Whether this is the probe of a half-open breaker.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.deadline != Self::NO_DEADLINE
    }

    #[inline]
    fn report(self, outcome: CallOutcome, now: Duration) {
        self.breaker.report(self.generation, self.deadline, outcome, now);
        // Reported: what `Drop` would add is neutral, but would cost a second look at the shared word.
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.breaker.release(self.generation);
    }
}

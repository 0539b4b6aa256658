//! The state machine, and the permit for one call.
//!
//! The whole state is one packed word and one deadline (see `word`). Each transition is one compare-and-swap
//! of the word. So exactly one caller makes a transition, and that caller counts it and stores the deadline.
//!
//! The phases are closed, open, half-open without a probe, and half-open with a probe in flight. A closed
//! breaker costs one load to pass and one load to report a success. A rejection costs three loads. No caller
//! ever waits: between a swap and the store of its deadline, callers are rejected with the latest possible
//! deadline.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::config::BreakerConfig;
use crate::limits::BreakerLimits;
use crate::state::{BreakerState, Rejected, Transitions};
use crate::sync::{AtomicU64, Ordering};
use crate::word::{BreakerPhase, Deadline, MAX_NANOS, Word, nanos};

/// A circuit breaker for one dependency. All callers share it by reference.
///
/// The times passed to it count from one fixed origin and may reach 146 years. They may be slightly out of
/// order, which happens if several threads read the clock before they call.
///
/// ```
/// use std::time::Duration;
/// use circuit_breaker::{Breaker, BreakerConfig, BreakerState};
///
/// let breaker = Breaker::new(BreakerConfig::new(Duration::from_millis(200)), 42);
/// let now = Duration::ZERO;
/// for _ in 0..5 {
///     breaker.try_acquire(now).unwrap().failure(now);
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
///
/// let rejected = breaker.try_acquire(now).unwrap_err();
/// let now = now + rejected.retry_after;
/// for _ in 0..3 {
///     breaker.try_acquire(now).unwrap().success(now);
/// }
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// ```
// Aligned to two cache lines: another value's counter in the same line would cost more than the breaker
// itself.
#[derive(Debug)]
#[repr(align(128))]
pub struct Breaker {
    word: AtomicU64,
    deadline: AtomicU64,
    opened: AtomicU64,
    half_opened: AtomicU64,
    closed: AtomicU64,
    limits: BreakerLimits,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallOutcome {
    Success,
    Failure,
}

impl Breaker {
    /// Creates a closed breaker. `seed` determines its open times. Breakers that must not wake at the same
    /// time need different seeds.
    #[must_use]
    pub fn new(config: BreakerConfig, seed: u64) -> Self {
        Self {
            word: AtomicU64::new(Word::CLOSED.bits()),
            deadline: AtomicU64::new(Deadline::NONE.bits()),
            opened: AtomicU64::new(0),
            half_opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            limits: BreakerLimits::new(config),
            seed,
        }
    }

    /// Returns a permit for one call that starts at `now`.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the breaker is open, and while it is half-open with a probe in flight.
    #[inline]
    pub fn try_acquire(&self, now: Duration) -> Result<Permit<'_>, Rejected> {
        let word = self.load();
        if word.phase() == BreakerPhase::Closed {
            return Ok(Permit::closed(self, word.generation()));
        }
        self.try_probe(word, nanos(now))
    }

    /// Checks whether a call that starts at `now` would pass. Starts no probe and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::try_acquire`].
    #[inline]
    pub fn check(&self, now: Duration) -> Result<(), Rejected> {
        self.passable_word(self.load(), nanos(now)).map(|_| ())
    }

    /// Opens a closed breaker at `now`, whatever its failure count. It is for a failure that successful calls
    /// do not disprove. An open or half-open breaker stays as it is.
    pub fn trip(&self, now: Duration) {
        let mut word = self.load();
        while word.phase() == BreakerPhase::Closed {
            match self.swap(word, word.advance(BreakerPhase::Open, 0)) {
                Ok(open) => return self.after_transition(word, open, nanos(now)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Closes the breaker because another instance has replaced the dependency. Reports on calls to the old
    /// instance then change nothing.
    ///
    /// Returns `false` and changes nothing if another caller is just storing a deadline, or has just changed
    /// the state: try again.
    #[must_use]
    pub fn try_reset(&self) -> bool {
        let word = self.load();
        let next = match word.phase() {
            // Only the count is cleared: the rules of `word` allow no transition from closed to closed.
            BreakerPhase::Closed => word.recount(0),
            BreakerPhase::HalfOpen => word.advance(BreakerPhase::Closed, 0),
            BreakerPhase::Open | BreakerPhase::Probing => {
                // The deadline of this word must be stored first: stored later, it would replace a newer one.
                let stored = Deadline::from_bits(self.deadline.load(Ordering::Acquire));
                if stored.of(word).is_none() {
                    return false;
                }
                word.advance(BreakerPhase::Closed, 0)
            }
        };
        match self.swap(word, next) {
            Ok(closed) => {
                self.after_transition(word, closed, 0);
                true
            }
            Err(_) => false,
        }
    }

    /// Returns the current state. Only calls change the state, the passing of time does not.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.load().phase() {
            BreakerPhase::Closed => BreakerState::Closed,
            BreakerPhase::Open => BreakerState::Open,
            BreakerPhase::HalfOpen | BreakerPhase::Probing => BreakerState::HalfOpen,
        }
    }

    /// Returns the number of transitions so far.
    #[must_use]
    pub fn transitions(&self) -> Transitions {
        Transitions {
            opened: self.opened.load(Ordering::Relaxed),
            half_opened: self.half_opened.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
        }
    }

    fn try_probe(&self, mut word: Word, now: u64) -> Result<Permit<'_>, Rejected> {
        loop {
            word = self.passable_word(word, now)?;
            if word.phase() == BreakerPhase::Closed {
                return Ok(Permit::closed(self, word.generation()));
            }
            match self.swap(word, word.advance(BreakerPhase::Probing, word.count())) {
                Ok(probing) => {
                    if word.phase() == BreakerPhase::Open {
                        self.half_opened.fetch_add(1, Ordering::Relaxed);
                    }
                    let deadline = now.saturating_add(self.limits.probe).min(MAX_NANOS);
                    self.publish(deadline, probing);
                    return Ok(Permit::probe(self, probing.generation(), deadline));
                }
                Err(seen) => word = seen,
            }
        }
    }

    /// Returns the current word, starting from the observation `word`, if it lets a call pass at `now`: it is
    /// closed, or a probe may start. Its count is then the number of successful probes of this half-open
    /// period.
    fn passable_word(&self, mut word: Word, now: u64) -> Result<Word, Rejected> {
        loop {
            match word.phase() {
                BreakerPhase::Closed | BreakerPhase::HalfOpen => return Ok(word),
                BreakerPhase::Open | BreakerPhase::Probing => {
                    let deadline = Deadline::from_bits(self.deadline.load(Ordering::Acquire));
                    // The deadline belongs to the word only if the word did not change while it was read.
                    let seen = self.load();
                    if seen != word {
                        word = seen;
                        continue;
                    }
                    return match deadline.of(word) {
                        None => Err(self.limits.not_yet_known(word)),
                        Some(deadline) if now < deadline => Err(Rejected::until(deadline, now)),
                        Some(_) => Ok(word),
                    };
                }
            }
        }
    }

    #[inline]
    fn report(&self, generation: u64, deadline: u64, outcome: CallOutcome, now: Duration) {
        let word = self.load();
        let idle = word.phase() == BreakerPhase::Closed && word.count() == 0;
        // A success in a closed breaker without failures, or a report of an earlier generation, changes
        // nothing.
        if idle && (outcome == CallOutcome::Success || word.generation() != generation) {
            return;
        }
        self.apply(word, generation, deadline, outcome, now);
    }

    fn apply(&self, mut word: Word, generation: u64, deadline: u64, outcome: CallOutcome, now: Duration) {
        let now = nanos(now);
        // A generation keeps its phase, so a permit of this generation was issued in this phase.
        while word.generation() == generation {
            let next = match (word.phase(), outcome) {
                (BreakerPhase::Closed, CallOutcome::Success) if word.count() == 0 => return,
                (BreakerPhase::Closed, CallOutcome::Success) => word.recount(0),
                (BreakerPhase::Closed, CallOutcome::Failure) if word.count() + 1 < self.limits.failures => {
                    word.recount(word.count() + 1)
                }
                (BreakerPhase::Closed, CallOutcome::Failure) => word.advance(BreakerPhase::Open, 0),
                (BreakerPhase::Probing, _) if now > deadline => {
                    word.advance(BreakerPhase::HalfOpen, word.count())
                }
                (BreakerPhase::Probing, CallOutcome::Success) if word.count() + 1 < self.limits.successes => {
                    word.advance(BreakerPhase::HalfOpen, word.count() + 1)
                }
                (BreakerPhase::Probing, CallOutcome::Success) => word.advance(BreakerPhase::Closed, 0),
                (BreakerPhase::Probing, CallOutcome::Failure) => word.advance(BreakerPhase::Open, 0),
                (BreakerPhase::Open | BreakerPhase::HalfOpen, _) => return,
            };
            match self.swap(word, next) {
                Ok(next) => return self.after_transition(word, next, now),
                Err(seen) => word = seen,
            }
        }
    }

    /// Ends a probe that does not report. A permit of a closed breaker has nothing to end.
    #[inline]
    fn release(&self, generation: u64) {
        let word = self.load();
        if word.phase() == BreakerPhase::Probing && word.generation() == generation {
            // If the swap fails, another caller has replaced this probe, and nothing is left to end.
            let _ = self.swap(word, word.advance(BreakerPhase::HalfOpen, word.count()));
        }
    }

    /// Counts the transition and stores its deadline. Only the caller that swapped `next` in calls this.
    fn after_transition(&self, before: Word, next: Word, now: u64) {
        if before.generation() == next.generation() {
            return;
        }
        match next.phase() {
            BreakerPhase::Open => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                self.publish(now.saturating_add(self.draw_open_time(next)), next);
            }
            BreakerPhase::Closed => {
                self.closed.fetch_add(1, Ordering::Relaxed);
            }
            BreakerPhase::HalfOpen | BreakerPhase::Probing => {}
        }
    }

    /// Returns the length of the open time that begins with `open`, in nanoseconds. It depends on the seed
    /// and the generation only, so no generator is shared and no lock is needed.
    fn draw_open_time(&self, open: Word) -> u64 {
        // The golden ratio, as in SplitMix64. Without it, breakers with neighbouring seeds would draw the
        // same lengths, one generation apart.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut rng = SmallRng::seed_from_u64(self.seed ^ open.generation().wrapping_mul(SPREAD));
        rng.random_range(self.limits.shortest_open..=self.limits.longest_open)
    }

    #[inline]
    fn load(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> Result<Word, Word> {
        match self.word.compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(to),
            Err(seen) => Err(Word::from_bits(seen)),
        }
    }

    fn publish(&self, nanos: u64, owner: Word) {
        self.deadline.store(Deadline::new(nanos, owner).bits(), Ordering::Release);
    }
}

/// Permission to make one call. Report its outcome with [`success`](Self::success) or
/// [`failure`](Self::failure).
///
/// Reporting consumes the permit, so a call cannot be counted twice. A permit that is dropped counts as
/// neither success nor failure, and a dropped probe lets the next probe start.
///
/// A permit belongs to the generation in which it was issued. If the breaker has changed its state since, or
/// the probe has timed out, the report counts as neither.
#[derive(Debug)]
#[must_use = "a dropped permit counts as no call: report on it when the call is over"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    generation: u64,
    /// The last instant at which a report counts, in nanoseconds since the origin.
    deadline: u64,
}

impl<'a> Permit<'a> {
    /// Later than every deadline of a probe.
    const NO_DEADLINE: u64 = u64::MAX;

    #[inline]
    const fn closed(breaker: &'a Breaker, generation: u64) -> Self {
        Self { breaker, generation, deadline: Self::NO_DEADLINE }
    }

    const fn probe(breaker: &'a Breaker, generation: u64, deadline: u64) -> Self {
        Self { breaker, generation, deadline }
    }

    /// Reports that the dependency replied, whatever the reply says.
    #[inline]
    pub fn success(self, now: Duration) {
        self.report(CallOutcome::Success, now);
    }

    /// Reports that the dependency failed, or did not reply in time.
    #[inline]
    pub fn failure(self, now: Duration) {
        self.report(CallOutcome::Failure, now);
    }

    /// Returns whether this call is the probe of a half-open breaker.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.deadline != Self::NO_DEADLINE
    }

    #[inline]
    fn report(self, outcome: CallOutcome, now: Duration) {
        self.breaker.report(self.generation, self.deadline, outcome, now);
        // After a report, `Drop` changes nothing but would load the shared word a second time.
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.breaker.release(self.generation);
    }
}

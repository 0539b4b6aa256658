//! The state machine. All of its state is one packed word and one deadline (see `word`), and every change of state is
//! one compare-and-swap of the word, so exactly one caller makes it and that one alone counts it and sets the deadline.
//!
//! States: closed, open, half-open with its place free, half-open with a probe under way. A closed breaker costs a
//! load to pass and a load to report a success; a rejecting one costs three loads. Nothing waits: the instant between
//! a swap and the storing of its deadline is answered with the longest time the deadline could be away.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::config::BreakerConfig;
use crate::permit::Permit;
use crate::sync::{AtomicU64, Ordering};
use crate::word::{BreakerPhase, Deadline, MAX_COUNT, MAX_NANOS, Word, nanos};

/// A circuit breaker for one dependency, shared by reference among all who call it.
///
/// Times passed to it count from any one origin, up to 146 years after it. They may come a little out of order, as
/// they do when several threads read the clock before they call.
// Two cache lines to itself: a neighbour's busy counter in the same line would cost more than the breaker does.
#[derive(Debug)]
#[repr(align(128))]
pub struct Breaker {
    word: AtomicU64,
    deadline: AtomicU64,
    opened: AtomicU64,
    half_opened: AtomicU64,
    closed: AtomicU64,
    limits: Limits,
    seed: u64,
}

/// A [`BreakerConfig`] in the units and bounds of the words.
#[derive(Debug)]
struct Limits {
    failures: u64,
    successes: u64,
    shortest_open: u64,
    longest_open: u64,
    probe: u64,
}

/// What a breaker shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everybody passes.
    Closed,
    /// Nobody passed when last asked. It stays `Open` after its time is over until somebody asks to pass.
    Open,
    /// One probe at a time passes.
    HalfOpen,
}

/// How often a breaker has changed to each state since it was made. Read while others change it, one count may be an
/// instant ahead of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transitions {
    /// Times it opened, from closed or from half-open.
    pub opened: u64,
    /// Times an open one let its first probe through.
    pub half_opened: u64,
    /// Times it closed.
    pub closed: u64,
}

/// The breaker lets nobody through at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Time until the next probe could pass: to the end of the open time or, while a probe is under way, to the
    /// instant it would lose its place. Never zero.
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Success,
    Failure,
}

impl Breaker {
    /// A closed breaker. `seed` decides the lengths of its openings; two breakers that are to wake at different times
    /// need different seeds.
    #[must_use]
    pub fn new(config: BreakerConfig, seed: u64) -> Self {
        Self {
            word: AtomicU64::new(Word::CLOSED.bits()),
            deadline: AtomicU64::new(Deadline::NONE.bits()),
            opened: AtomicU64::new(0),
            half_opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            limits: Limits::new(config),
            seed,
        }
    }

    /// Asks to make one call at `now`.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while open, and while half-open with a probe under way.
    #[inline]
    pub fn try_acquire(&self, now: Duration) -> Result<Permit<'_>, Rejected> {
        let word = self.load();
        if word.phase() == BreakerPhase::Closed {
            return Ok(Permit::closed(self, word.generation()));
        }
        self.try_probe(word, nanos(now))
    }

    /// Whether a call made at `now` would be let through. Takes no place and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::try_acquire`].
    #[inline]
    pub fn check(&self, now: Duration) -> Result<(), Rejected> {
        self.successes_so_far(&mut self.load(), nanos(now)).map(|_| ())
    }

    /// Opens a closed breaker at `now`, whatever successes were reported: for a failure that they say nothing about. One that is not
    /// closed stays as it is.
    pub fn trip(&self, now: Duration) {
        let mut word = self.load();
        while word.phase() == BreakerPhase::Closed {
            match self.swap(word, word.advance(BreakerPhase::Open, 0)) {
                Ok(open) => return self.entered(word, open, nanos(now)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Closes the breaker, for a dependency that was replaced by another; reports on calls to the former change nothing. Gives
    /// `false`, and changes nothing, in the instant in which another caller is about to store a deadline: try again.
    #[must_use]
    pub fn try_reset(&self) -> bool {
        let word = self.load();
        let next = match word.phase() {
            // The failures so far were the former's. Without a change of phase there is no next generation either: see `word`.
            BreakerPhase::Closed => word.recount(0),
            BreakerPhase::HalfOpen => word.advance(BreakerPhase::Closed, 0),
            BreakerPhase::Open | BreakerPhase::Probing => {
                // Left before its deadline is stored, a word's deadline would overwrite that of a later word.
                let stored = Deadline::from_bits(self.deadline.load(Ordering::Acquire));
                if stored.of(word).is_none() {
                    return false;
                }
                word.advance(BreakerPhase::Closed, 0)
            }
        };
        match self.swap(word, next) {
            Ok(closed) => {
                self.entered(word, closed, 0);
                true
            }
            Err(_) => false,
        }
    }

    /// The state as last left by a caller; time alone does not change it.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.load().phase() {
            BreakerPhase::Closed => BreakerState::Closed,
            BreakerPhase::Open => BreakerState::Open,
            BreakerPhase::HalfOpen | BreakerPhase::Probing => BreakerState::HalfOpen,
        }
    }

    /// The changes of state so far.
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
            let Some(count) = self.successes_so_far(&mut word, now)? else {
                return Ok(Permit::closed(self, word.generation()));
            };
            match self.swap(word, word.advance(BreakerPhase::Probing, count)) {
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

    /// Where a probe may go now, how many have succeeded in this half-open phase; nothing where the breaker is closed. `word` is
    /// moved on to what was looked at.
    fn successes_so_far(&self, word: &mut Word, now: u64) -> Result<Option<u64>, Rejected> {
        loop {
            match word.phase() {
                BreakerPhase::Closed => return Ok(None),
                BreakerPhase::HalfOpen => return Ok(Some(word.count())),
                BreakerPhase::Open | BreakerPhase::Probing => {
                    let deadline = Deadline::from_bits(self.deadline.load(Ordering::Acquire));
                    // Only a deadline read while the word stood still is surely the word's own.
                    let seen = self.load();
                    if seen != *word {
                        *word = seen;
                        continue;
                    }
                    return match deadline.of(*word) {
                        None => Err(self.limits.not_yet_known(*word)),
                        Some(deadline) if now < deadline => Err(Rejected::until(deadline, now)),
                        Some(_) => Ok(Some(word.count())),
                    };
                }
            }
        }
    }

    #[inline]
    pub(crate) fn report(&self, generation: u64, deadline: u64, outcome: CallOutcome, now: Duration) {
        let word = self.load();
        let idle = word.phase() == BreakerPhase::Closed && word.count() == 0;
        // A success in a closed breaker without failures, and a late report once closed: nothing to write.
        if idle && (outcome == CallOutcome::Success || word.generation() != generation) {
            return;
        }
        self.settle(word, generation, deadline, outcome, now);
    }

    fn settle(&self, mut word: Word, generation: u64, deadline: u64, outcome: CallOutcome, now: Duration) {
        let now = nanos(now);
        // A generation has one phase for all its life, so a permit of this generation is of this phase.
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
                Ok(next) => return self.entered(word, next, now),
                Err(seen) => word = seen,
            }
        }
    }

    /// Frees the place of a probe that will not report. A permit of a closed breaker has no place to free.
    #[inline]
    pub(crate) fn release(&self, generation: u64) {
        let word = self.load();
        if word.phase() == BreakerPhase::Probing && word.generation() == generation {
            // When the swap fails the probe has lost its place to another, and there is nothing left to free.
            let _ = self.swap(word, word.advance(BreakerPhase::HalfOpen, word.count()));
        }
    }

    /// Done by whoever swapped `next` in, and by nobody else.
    fn entered(&self, before: Word, next: Word, now: u64) {
        if before.generation() == next.generation() {
            return;
        }
        match next.phase() {
            BreakerPhase::Open => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                self.publish(now.saturating_add(self.draw_open(next)), next);
            }
            BreakerPhase::Closed => {
                self.closed.fetch_add(1, Ordering::Relaxed);
            }
            BreakerPhase::HalfOpen | BreakerPhase::Probing => {}
        }
    }

    /// How long the opening that began with `open` lasts, in nanoseconds. Each generation has a draw of its own, so
    /// there is no generator to share, and no lock.
    fn draw_open(&self, open: Word) -> u64 {
        // The golden ratio, as in SplitMix64: it spreads the generations, and so breakers with neighbouring seeds do
        // not draw the same lengths one opening apart.
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

impl Limits {
    fn new(config: BreakerConfig) -> Self {
        let open_for = nanos(config.open_for);
        let permille = u128::from(config.jitter_permille.min(1_000));
        let spread = u64::try_from(u128::from(open_for) * permille / 1_000).unwrap_or(open_for);
        Self {
            failures: u64::from(config.failure_threshold.get()).min(MAX_COUNT),
            successes: u64::from(config.success_threshold.get()).min(MAX_COUNT),
            shortest_open: open_for - spread,
            longest_open: open_for.saturating_add(spread).min(MAX_NANOS),
            probe: nanos(config.probe_timeout).max(1),
        }
    }

    /// The answer in the instant before a deadline is stored: the farthest it could be.
    #[cold]
    fn not_yet_known(&self, word: Word) -> Rejected {
        let nanos = if word.phase() == BreakerPhase::Open { self.longest_open } else { self.probe };
        Rejected { retry_after: Duration::from_nanos(nanos.max(1)) }
    }
}

impl Rejected {
    const fn until(deadline: u64, now: u64) -> Self {
        Self { retry_after: Duration::from_nanos(deadline - now) }
    }
}

impl BreakerState {
    /// The state's name in lower case, as a metric's label has it: `closed`, `open`, `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

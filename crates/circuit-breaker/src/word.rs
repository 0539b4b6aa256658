//! The state of a breaker in two 64-bit words, so that each transition is one compare-and-swap.
//!
//! ```text
//!   Word      generation 40 │ count 22 │ phase 2
//!   Deadline  nanoseconds since the origin 62 │ generation mod 4 2
//! ```
//!
//! The count is the number of failures in a row while closed, and of successful probes in a row while
//! half-open. Each change of phase increments the generation. The generation wraps after 2⁴⁰ changes, which
//! take 30 hours at one change per 100 ns. Only a permit that is held for exactly that long could be taken
//! for a newer one.
//!
//! A deadline belongs to an `Open` or a `Probing` word. The caller that swaps the word in stores the deadline
//! just after. Until then, the stored deadline carries another tag, the low bits of its generation. Two bits
//! of tag are enough, because the stored deadline is never more than three generations behind:
//!
//! - No caller leaves an `Open` or `Probing` word before its deadline is stored.
//! - At most two words without a deadline lie between two words with one: `HalfOpen` is followed by `Probing`
//!   or, after a reset, by `Closed`, and `Closed` only by `Open`.

use std::time::Duration;

const PHASE_BITS: u32 = 2;
const COUNT_BITS: u32 = 22;
const GENERATION_BITS: u32 = 64 - PHASE_BITS - COUNT_BITS;

const PHASE_MASK: u64 = (1 << PHASE_BITS) - 1;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

const TAG_BITS: u32 = 2;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// The largest count that a word can hold, and so the largest threshold.
pub(crate) const MAX_COUNT: u64 = COUNT_MASK;
/// The latest time that a deadline can hold, in nanoseconds: 146 years after the origin.
pub(crate) const MAX_NANOS: u64 = u64::MAX >> TAG_BITS;

/// The phase of a breaker. The half-open state has two: without a probe, and with a probe in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerPhase {
    Closed,
    Open,
    HalfOpen,
    Probing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const CLOSED: Self = Self(BreakerPhase::Closed as u64);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn phase(self) -> BreakerPhase {
        match self.0 & PHASE_MASK {
            0 => BreakerPhase::Closed,
            1 => BreakerPhase::Open,
            2 => BreakerPhase::HalfOpen,
            _ => BreakerPhase::Probing,
        }
    }

    pub(crate) const fn count(self) -> u64 {
        (self.0 >> PHASE_BITS) & COUNT_MASK
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> (PHASE_BITS + COUNT_BITS)
    }

    /// Returns the word with another count, in the same generation.
    pub(crate) const fn recount(self, count: u64) -> Self {
        Self((self.0 & !(COUNT_MASK << PHASE_BITS)) | ((count & COUNT_MASK) << PHASE_BITS))
    }

    /// Returns the word of the next generation.
    pub(crate) const fn advance(self, phase: BreakerPhase, count: u64) -> Self {
        let generation = self.generation().wrapping_add(1) & GENERATION_MASK;
        Self((generation << (PHASE_BITS + COUNT_BITS)) | ((count & COUNT_MASK) << PHASE_BITS) | phase as u64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// Belongs to no word, because no `Open` or `Probing` word has generation 0.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(nanos: u64, owner: Word) -> Self {
        let nanos = if nanos > MAX_NANOS { MAX_NANOS } else { nanos };
        Self((nanos << TAG_BITS) | (owner.generation() & TAG_MASK))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the deadline in nanoseconds since the origin, or `None` if it belongs to a word before `word`.
    pub(crate) const fn of(self, word: Word) -> Option<u64> {
        if self.0 & TAG_MASK == word.generation() & TAG_MASK { Some(self.0 >> TAG_BITS) } else { None }
    }
}

/// Returns the duration in nanoseconds, at most [`MAX_NANOS`].
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    const PER_SECOND: u64 = 1_000_000_000;
    let nanos =
        duration.as_secs().saturating_mul(PER_SECOND).saturating_add(u64::from(duration.subsec_nanos()));
    nanos.min(MAX_NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_returns_its_phase_count_and_generation() {
        let mut word = Word::CLOSED;
        assert_eq!((word.phase(), word.count(), word.generation()), (BreakerPhase::Closed, 0, 0));
        for (generation, phase) in
            [BreakerPhase::Open, BreakerPhase::HalfOpen, BreakerPhase::Probing, BreakerPhase::Closed]
                .into_iter()
                .enumerate()
        {
            word = word.advance(phase, MAX_COUNT);
            assert_eq!(
                (word.phase(), word.count(), word.generation()),
                (phase, MAX_COUNT, generation as u64 + 1)
            );
            assert_eq!(Word::from_bits(word.bits()), word);
            assert_eq!(word.recount(7).count(), 7);
            assert_eq!(word.recount(7).recount(MAX_COUNT), word);
        }
    }

    #[test]
    fn the_generation_wraps_to_zero() {
        let last = Word::from_bits(u64::MAX);
        assert_eq!(last.advance(BreakerPhase::Closed, 0), Word::CLOSED);
    }

    #[test]
    fn a_deadline_matches_its_own_word_and_none_of_the_next_three() {
        let owner = Word::CLOSED.advance(BreakerPhase::Open, 0);
        let deadline = Deadline::new(12_345, owner);
        assert_eq!(deadline.of(owner), Some(12_345));
        assert_eq!(Deadline::from_bits(deadline.bits()), deadline);
        let mut word = owner;
        for _ in 0..3 {
            word = word.advance(BreakerPhase::Probing, 0);
            assert_eq!(deadline.of(word), None);
        }
        assert_eq!(Deadline::NONE.of(owner), None);
    }

    #[test]
    fn times_after_the_latest_deadline_saturate() {
        assert_eq!(nanos(Duration::MAX), MAX_NANOS);
        assert_eq!(nanos(Duration::new(3, 7)), 3_000_000_007);
        let owner = Word::CLOSED.advance(BreakerPhase::Open, 0);
        assert_eq!(Deadline::new(u64::MAX, owner).of(owner), Some(MAX_NANOS));
    }
}

//! The breaker's whole state in two 64-bit words, so that a change of it is one compare-and-swap.
//!
//! ```text
//!   Word      generation 40 │ count 22 │ phase 2
//!   Deadline  nanoseconds since the origin 62 │ generation mod 4 2
//! ```
//!
//! The count is failures in a row while closed, successes in a row while half-open. The generation goes up with every
//! change of phase; at a change each 100 ns its 40 bits last 30 hours, and a permit would have to be held for exactly
//! that long to be mistaken for a newer one.
//!
//! A deadline belongs to an `Open` or a `Probing` word and is stored just after it, by whoever swapped that word in;
//! until then the deadline last stored carries another tag. Two bits of tag suffice: from one word with a deadline to
//! the next there are at most two without (`HalfOpen` leads to `Probing` or, by a reset, to `Closed`; `Closed` only to
//! `Open`), and nobody can leave a word with a deadline
//! before that is stored. So the one last stored is never more than three behind.

use std::time::Duration;

const PHASE_BITS: u32 = 2;
const COUNT_BITS: u32 = 22;
const GENERATION_BITS: u32 = 64 - PHASE_BITS - COUNT_BITS;

const PHASE_MASK: u64 = (1 << PHASE_BITS) - 1;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

const TAG_BITS: u32 = 2;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// The largest count a word can hold; thresholds are cut to it.
pub(crate) const MAX_COUNT: u64 = COUNT_MASK;
/// The largest time a deadline can hold, in nanoseconds: 146 years after the origin.
pub(crate) const MAX_NANOS: u64 = u64::MAX >> TAG_BITS;

/// What a breaker is doing. Half-open is two phases: its one place is free, or taken.
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

    /// The same generation with another count.
    pub(crate) const fn recount(self, count: u64) -> Self {
        Self((self.0 & !(COUNT_MASK << PHASE_BITS)) | ((count & COUNT_MASK) << PHASE_BITS))
    }

    /// The next generation.
    pub(crate) const fn advance(self, phase: BreakerPhase, count: u64) -> Self {
        let generation = self.generation().wrapping_add(1) & GENERATION_MASK;
        Self((generation << (PHASE_BITS + COUNT_BITS)) | ((count & COUNT_MASK) << PHASE_BITS) | phase as u64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// No `Open` or `Probing` word has generation 0, so this is nobody's.
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

    /// Nanoseconds since the origin, if this is the deadline of `word` and not of an earlier one.
    pub(crate) const fn of(self, word: Word) -> Option<u64> {
        if self.0 & TAG_MASK == word.generation() & TAG_MASK { Some(self.0 >> TAG_BITS) } else { None }
    }
}

/// Whole nanoseconds, cut to what a deadline can hold.
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
    fn a_word_gives_back_what_was_put_in() {
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
    fn the_last_generation_is_followed_by_the_first() {
        let last = Word::from_bits(u64::MAX);
        assert_eq!(last.advance(BreakerPhase::Closed, 0), Word::CLOSED);
    }

    #[test]
    fn a_deadline_is_known_to_its_own_word_and_to_none_of_the_next_three() {
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
    fn times_beyond_the_last_deadline_are_cut_not_wrapped() {
        assert_eq!(nanos(Duration::MAX), MAX_NANOS);
        assert_eq!(nanos(Duration::new(3, 7)), 3_000_000_007);
        let owner = Word::CLOSED.advance(BreakerPhase::Open, 0);
        assert_eq!(Deadline::new(u64::MAX, owner).of(owner), Some(MAX_NANOS));
    }
}

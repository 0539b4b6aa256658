//! The three numbers in a tag id. Each has its own type, so it is always in range and cannot be confused with
//! another.

use std::fmt;
use std::num::NonZeroU16;

const BITS_24: u32 = (1 << 24) - 1;

/// The key epoch: the number of the master secret under which an id was minted, 1..=4095.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(NonZeroU16);

impl Epoch {
    /// The first epoch, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The last epoch that fits the 12 bits of `custom_b`, 4095.
    pub const MAX: Self = match NonZeroU16::new(4_095) {
        Some(last) => Self(last),
        None => Self::MIN,
    };

    /// `None` unless 1..=4095.
    #[must_use]
    pub const fn new(epoch: u16) -> Option<Self> {
        match NonZeroU16::new(epoch) {
            Some(epoch) if epoch.get() <= Self::MAX.get() => Some(Self(epoch)),
            _ => None,
        }
    }

    /// 1..=4095.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a batch within a deployment: 24 bits, consecutive modulo 2^24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNo(u32);

impl BatchNo {
    /// The last number, 16,777,215; zero follows.
    pub const MAX: Self = Self(BITS_24);

    /// `None` unless it fits 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= BITS_24 { Some(Self(number)) } else { None }
    }

    /// Returns `number` modulo 2^24, for a first number from random bits.
    #[must_use]
    pub const fn wrapping(number: u32) -> Self {
        Self(number & BITS_24)
    }

    /// The number after this one, modulo 2^24.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::wrapping(self.0 + 1)
    }

    /// 0..2^24.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BatchNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The index of a tag in its batch: 24 bits, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagIndex(u32);

impl TagIndex {
    /// The last index, 16,777,215.
    pub const MAX: Self = Self(BITS_24);

    /// `None` unless it fits 24 bits.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if index <= BITS_24 { Some(Self(index)) } else { None }
    }

    /// 0..2^24.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TagIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_1_to_4095() {
        assert_eq!(Epoch::new(0), None);
        assert_eq!(Epoch::new(1), Some(Epoch::MIN));
        assert_eq!(Epoch::new(4_095), Some(Epoch::MAX));
        assert_eq!(Epoch::MAX.get(), 4_095);
        assert_eq!(Epoch::new(4_096), None);
        assert_eq!(Epoch::MAX.to_string(), "4095");
    }

    #[test]
    fn batch_numbers_wrap_at_24_bits() {
        assert_eq!(BatchNo::new(41).map(BatchNo::next), BatchNo::new(42));
        assert_eq!(BatchNo::new(16_777_215), Some(BatchNo::MAX));
        assert_eq!(Some(BatchNo::MAX.next()), BatchNo::new(0));
        assert_eq!(BatchNo::new(16_777_216), None);
        assert_eq!(BatchNo::wrapping(u32::MAX), BatchNo::MAX);
    }

    #[test]
    fn tag_indexes_have_24_bits() {
        assert_eq!(TagIndex::new(16_777_215), Some(TagIndex::MAX));
        assert_eq!(TagIndex::new(16_777_216), None);
    }
}

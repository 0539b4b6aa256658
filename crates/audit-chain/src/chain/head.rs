//! The chain's head, and the memory of the highest one this process has seen.
//!
//! A Redis that was wiped, restored from an old copy, or failed over to a replica that lags shows an absent, a lower or
//! another head. None of these is ever written to: the memory turns each into a [`StateLoss`] and keeps what it held, so
//! that the refusal lasts until the true state is back or an operator restarts the process knowing what happened.

use crate::chain::hash::Hash;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most entries of a chain: Lua's numbers, and those of many JSON readers, are exact up to there.
pub(crate) const MAX_SIZE: u64 = (1 << 53) - 1;

/// The length of a stored head: `u64be(size) ‖ hash(32)`.
pub(crate) const HEAD_BYTES: usize = 40;

/// Where the chain ends: how many entries it has, and the hash of the last (for none, the genesis `prev`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Entries in the chain; the next one's seq.
    pub size: u64,
    /// The last entry's hash.
    #[serde(rename = "head")]
    pub hash: Hash,
}

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..].copy_from_slice(self.hash.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, hash) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        Some(Self { size, hash: Hash::from_bytes(hash.try_into().ok()?) })
            .filter(|head| (1..=MAX_SIZE).contains(&head.size))
    }

    /// The head once one more entry, with this hash, stands behind the last; `None` where a chain can have no more.
    pub(crate) fn followed_by(self, hash: Hash) -> Option<Self> {
        let size = self.size.checked_add(1).filter(|size| *size <= MAX_SIZE)?;
        Some(Self { size, hash })
    }
}

/// What shows that the durable state is not the one this process has been working on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateLoss {
    /// A guard of every append does not hold, e.g. the deployment record is another one.
    #[error("guard {check} does not hold")]
    Guard {
        /// Which of the guard's checks, from 0.
        check: usize,
    },
    /// There is no head, and this process has seen one.
    #[error("the audit head is gone; there were at least {size} entries")]
    HeadAbsent {
        /// The size of the highest head seen, or known of.
        size: u64,
    },
    /// The head is lower than one this process has seen.
    #[error("the audit head went back from {seen} entries to {found}")]
    HeadLower {
        /// The size of the highest head seen.
        seen: u64,
        /// The size found.
        found: u64,
    },
    /// The chain holds another entry where this process has seen one.
    #[error("entry {seq} of the audit chain is not the one that was seen")]
    Forked {
        /// The seq of that entry.
        seq: u64,
    },
    /// The stored head is none: not 40 bytes, of no entries, or of more than 2^53 - 1.
    #[error("what is stored in the place of the audit head is no head")]
    NoHead,
}

/// Why nothing can be appended, though no state is known to be lost: the chain does not end as its head says. Reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndFault {
    /// A write was broken off before it moved the head, or somebody pushed entries.
    #[error("{entries} entries stand behind the audit head; factory-service audit repair takes them away")]
    Surplus {
        /// How many.
        entries: u64,
    },
    /// The head counts an entry that is not there.
    #[error("entry {seq} of the audit chain is missing, and its head counts it")]
    Missing {
        /// Which.
        seq: u64,
    },
    /// The last entry is not the one that the head was written for.
    #[error("entry {seq}, the last of the audit chain, has another hash than its head")]
    OtherHash {
        /// Which.
        seq: u64,
    },
    /// A key of another type stands where a segment belongs.
    #[error("segment {number} of the audit chain is not a list")]
    WrongType {
        /// Which segment.
        number: u64,
    },
}

impl EndFault {
    /// From what `chain_end_fault` says; `None` of a kind that is not known, and of a head that is none.
    pub(crate) fn of(kind: i64, number: u64) -> Option<Self> {
        Some(match kind {
            1 => Self::Surplus { entries: number },
            2 => Self::Missing { seq: number },
            3 => Self::OtherHash { seq: number },
            4 => Self::WrongType { number },
            _ => return None,
        })
    }
}

/// Where the chain ends, and whether it ends as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// The head; of a chain without entries its genesis.
    pub head: Head,
    /// Why nothing can be appended.
    pub fault: Option<EndFault>,
}

/// Lua functions for scripts of other crates: see `head.lua`.
pub const HEAD_LUA: &str = include_str!("../lua/head.lua");

/// Judges `found` by its size alone: `least` was taken from the memory before it was read.
pub(crate) fn not_below(least: u64, found: Option<Head>) -> Result<(), StateLoss> {
    match found {
        Some(found) if found.size < least => Err(StateLoss::HeadLower { seen: least, found: found.size }),
        None if least > 0 => Err(StateLoss::HeadAbsent { size: least }),
        _ => Ok(()),
    }
}

/// The highest head this process has seen, shared by all that read or write the chain.
///
/// Beside it stands the largest size that was only observed, in the reply of a script that does something else: what is lower
/// is refused just the same, but whether the chain still holds the entries seen before was not looked at.
#[derive(Debug, Default)]
pub(crate) struct HeadMemory {
    highest: Mutex<Option<Head>>,
    observed: AtomicU64,
    /// The head of that size, where its hash was in the reply too.
    glimpsed_head: Mutex<Option<Head>>,
}

impl HeadMemory {
    /// The highest head seen so far.
    pub(crate) fn seen(&self) -> Option<Head> {
        *self.highest.lock()
    }

    /// The size that no head may be below. To be taken before a head is read: others move it meanwhile.
    pub(crate) fn least(&self) -> u64 {
        self.observed.load(Ordering::Acquire).max(self.seen().map_or(0, |head| head.size))
    }

    /// Remembers the size of a head whose chain was not looked at.
    pub(crate) fn observe(&self, size: u64) {
        self.observed.fetch_max(size, Ordering::AcqRel);
    }

    /// Remembers a head whose chain was not looked at.
    pub(crate) fn observe_head(&self, head: Head) {
        let mut highest = self.glimpsed_head.lock();
        if highest.is_none_or(|highest| highest.size < head.size) {
            *highest = Some(head);
        }
        drop(highest);
        self.observe(head.size);
    }

    /// The highest head whose hash is known, looked at or only observed.
    pub(crate) fn highest(&self) -> Option<Head> {
        let (seen, observed) = (self.seen(), *self.glimpsed_head.lock());
        [seen, observed].into_iter().flatten().max_by_key(|head| head.size)
    }

    /// Whether a higher head was observed than the one seen.
    pub(crate) fn is_behind(&self) -> bool {
        self.least() > self.seen().map_or(0, |head| head.size)
    }

    /// Judges `found` (the stored head, none if absent) against `seen`, which must have been taken before `found` was
    /// read: others move the head meanwhile, but never back. `at_seen` is the hash stored at `seen`'s last entry. A head at which
    /// the chain does not end is not remembered: it may be a forged one, and the true one lower.
    pub(crate) fn accept(
        &self,
        seen: Option<Head>,
        found: Option<Head>,
        at_seen: Option<Hash>,
        fault: Option<EndFault>,
    ) -> Result<(), StateLoss> {
        if let Some(seen) = seen {
            let found = found.ok_or(StateLoss::HeadAbsent { size: seen.size })?;
            if found.size < seen.size {
                return Err(StateLoss::HeadLower { seen: seen.size, found: found.size });
            }
            let still_there = if found.size == seen.size { Some(found.hash) } else { at_seen };
            if still_there != Some(seen.hash) {
                return Err(StateLoss::Forked { seq: seen.size - 1 });
            }
        }
        if let (Some(found), None) = (found, fault) {
            self.raise(found);
        }
        Ok(())
    }

    /// Remembers a head known to follow from the one seen before.
    pub(crate) fn raise(&self, head: Head) {
        let mut highest = self.highest.lock();
        if highest.is_none_or(|highest| highest.size < head.size) {
            *highest = Some(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, fill: u8) -> Head {
        Head { size, hash: Hash::from_bytes([fill; 32]) }
    }

    #[test]
    fn a_head_survives_its_bytes() {
        let bytes = head(0x0102, 9).to_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Head::from_bytes(&bytes), Some(head(0x0102, 9)));
        assert_eq!(Head::from_bytes(&bytes[..39]), None);
        assert_eq!(Head::from_bytes(&head(0, 9).to_bytes()), None, "an empty chain has no stored head");
        assert_eq!(Head::from_bytes(&head(MAX_SIZE, 9).to_bytes()), Some(head(MAX_SIZE, 9)));
        for size in [MAX_SIZE + 1, MAX_SIZE + 2, u64::MAX] {
            assert_eq!(Head::from_bytes(&head(size, 9).to_bytes()), None, "{size}");
        }
    }

    #[test]
    fn a_chain_has_no_more_entries_than_can_be_counted_exactly() {
        let hash = Hash::from_bytes([1; 32]);
        assert_eq!(head(0, 9).followed_by(hash), Some(head(1, 1)));
        assert_eq!(head(MAX_SIZE - 1, 9).followed_by(hash), Some(head(MAX_SIZE, 1)));
        assert_eq!(head(MAX_SIZE, 9).followed_by(hash), None);
        assert_eq!(head(u64::MAX, 9).followed_by(hash), None);
    }

    #[test]
    fn a_head_at_which_the_chain_does_not_end_is_not_remembered() {
        let memory = HeadMemory::default();
        let fault = EndFault::Missing { seq: 5 };
        assert_eq!(memory.accept(None, Some(head(12_288, 1)), None, Some(fault)), Ok(()));
        assert_eq!(memory.seen(), None);
        assert_eq!(memory.accept(None, Some(head(5, 1)), None, None), Ok(()));
        assert_eq!(memory.seen(), Some(head(5, 1)));
    }

    #[test]
    fn a_process_that_has_seen_nothing_takes_any_head_and_none() {
        let memory = HeadMemory::default();
        assert_eq!(memory.accept(None, None, None, None), Ok(()));
        assert_eq!(memory.accept(None, Some(head(7, 1)), None, None), Ok(()));
        assert_eq!(memory.seen(), Some(head(7, 1)));
    }

    #[test]
    fn an_absent_lower_or_other_head_is_a_loss_and_the_memory_stays() {
        let memory = HeadMemory::default();
        memory.raise(head(7, 1));
        let seen = memory.seen();
        assert_eq!(memory.accept(seen, None, None, None), Err(StateLoss::HeadAbsent { size: 7 }));
        assert_eq!(
            memory.accept(seen, Some(head(6, 1)), None, None),
            Err(StateLoss::HeadLower { seen: 7, found: 6 })
        );
        assert_eq!(memory.accept(seen, Some(head(7, 2)), None, None), Err(StateLoss::Forked { seq: 6 }));
        let other = Some(Hash::from_bytes([2; 32]));
        assert_eq!(memory.accept(seen, Some(head(9, 1)), other, None), Err(StateLoss::Forked { seq: 6 }));
        assert_eq!(memory.accept(seen, Some(head(9, 1)), None, None), Err(StateLoss::Forked { seq: 6 }));
        assert_eq!(memory.seen(), seen);
    }

    #[test]
    fn a_observe_raises_what_is_accepted_and_not_what_was_verified() {
        let memory = HeadMemory::default();
        assert_eq!((memory.least(), memory.is_behind()), (0, false));
        memory.raise(head(7, 1));
        assert_eq!((memory.least(), memory.is_behind()), (7, false));
        memory.observe(9);
        memory.observe(8);
        assert_eq!((memory.least(), memory.is_behind(), memory.seen()), (9, true, Some(head(7, 1))));
        assert_eq!(
            not_below(memory.least(), Some(head(8, 2))),
            Err(StateLoss::HeadLower { seen: 9, found: 8 })
        );
        assert_eq!(not_below(memory.least(), None), Err(StateLoss::HeadAbsent { size: 9 }));
        assert_eq!(not_below(memory.least(), Some(head(9, 2))), Ok(()));
        assert_eq!(not_below(0, None), Ok(()));
        memory.raise(head(9, 2));
        assert_eq!((memory.least(), memory.is_behind()), (9, false));
    }

    #[test]
    fn the_highest_head_is_known_with_its_hash_whether_looked_at_or_observed() {
        let memory = HeadMemory::default();
        assert_eq!(memory.highest(), None);
        memory.raise(head(7, 1));
        assert_eq!(memory.highest(), Some(head(7, 1)));
        memory.observe_head(head(9, 2));
        memory.observe_head(head(8, 3));
        assert_eq!((memory.highest(), memory.least()), (Some(head(9, 2)), 9));
        memory.observe(20);
        assert_eq!(memory.highest(), Some(head(9, 2)), "a size without a hash is no head");
        memory.raise(head(10, 4));
        assert_eq!(memory.highest(), Some(head(10, 4)));
    }

    #[test]
    fn a_longer_chain_that_holds_our_entry_is_accepted() {
        let memory = HeadMemory::default();
        memory.raise(head(7, 1));
        let ours = Some(Hash::from_bytes([1; 32]));
        assert_eq!(memory.accept(memory.seen(), Some(head(9, 5)), ours, None), Ok(()));
        assert_eq!(memory.seen(), Some(head(9, 5)));
        assert_eq!(
            memory.accept(Some(head(7, 1)), Some(head(8, 3)), ours, None),
            Ok(()),
            "judged by the earlier look"
        );
        assert_eq!(memory.seen(), Some(head(9, 5)), "and never lowered");
    }
}

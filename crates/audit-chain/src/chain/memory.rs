//! The highest head this process has seen, and the judgement of every head it reads after that.
//!
//! A Redis that was wiped, restored from an old copy, or failed over to a replica that lags holds no head, a
//! lower one or another one. Writing to it would lose acknowledged events. [`HeadMemory`] reports each case
//! as a [`StateLoss`] and keeps the head it knows, so appends stay refused until the true state is back or an
//! operator restarts the process.

use crate::chain::end::{EndFault, StoredHead};
use crate::chain::hash::Hash;
use crate::chain::head::Head;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the durable state is not the one this process has worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateLoss {
    /// A guard of every append does not hold: the deployment record, for example, is another one.
    #[error("guard {check} does not hold")]
    Guard {
        /// Index of the guard's precondition, from 0.
        check: usize,
    },
    /// There is no head, and this process has seen one.
    #[error("the audit head is gone; there were at least {size} entries")]
    HeadAbsent {
        /// Size of the highest head seen.
        size: u64,
    },
    /// The head is lower than one this process has seen.
    #[error("the audit head went back from {seen} entries to {found}")]
    HeadLower {
        /// Size of the highest head seen.
        seen: u64,
        /// Size found.
        found: u64,
    },
    /// The chain holds another entry where this process has seen one.
    #[error("entry {seq} of the audit chain is not the one that was seen")]
    Forked {
        /// Seq of that entry.
        seq: u64,
    },
    /// The stored head is malformed: not 40 bytes, no entries, or more than 2^53 − 1.
    #[error("the stored audit head is malformed")]
    NoHead,
}

/// The highest head this process has seen, shared by everything that reads or appends.
///
/// Scripts of other crates report heads that they met on the way ([`HeadMemory::observe_head`]). Such a head
/// bounds what is accepted from then on, but it does not prove that the chain still holds the entries seen
/// before, so it is kept apart from the verified one.
#[derive(Debug, Default)]
pub(crate) struct HeadMemory {
    verified: Mutex<Option<Head>>,
    /// Highest size observed, with or without its hash.
    observed_size: AtomicU64,
    /// Highest head observed with its hash.
    observed: Mutex<Option<Head>>,
}

impl HeadMemory {
    /// Returns the highest head verified so far.
    pub(crate) fn seen(&self) -> Option<Head> {
        *self.verified.lock()
    }

    /// Returns the size that no head may be below. Call it before reading a head, because others move the
    /// head meanwhile.
    pub(crate) fn least_size(&self) -> u64 {
        self.observed_size.load(Ordering::Acquire).max(self.seen().map_or(0, |head| head.size))
    }

    /// Remembers the size of a head that was not verified.
    pub(crate) fn observe(&self, size: u64) {
        self.observed_size.fetch_max(size, Ordering::AcqRel);
    }

    /// Remembers a head that was not verified.
    pub(crate) fn observe_head(&self, head: Head) {
        keep_higher(&self.observed, head);
        self.observe(head.size);
    }

    /// Returns the highest head whose hash is known, verified or observed.
    pub(crate) fn highest(&self) -> Option<Head> {
        [self.seen(), *self.observed.lock()].into_iter().flatten().max_by_key(|head| head.size)
    }

    /// Returns whether a higher head was observed than the verified one.
    pub(crate) fn is_behind(&self) -> bool {
        self.least_size() > self.seen().map_or(0, |head| head.size)
    }

    /// Judges a head that was read, and remembers it if it is sound.
    ///
    /// `seen` must be taken before the read: others move the head meanwhile, but never back. `hash_at_seen`
    /// is the hash stored with the last entry of `seen`. A head with an [`EndFault`] is accepted but not
    /// remembered: it may be forged, and the true one lower.
    ///
    /// # Errors
    /// [`StateLoss`] when the head is malformed, absent, lower than `seen`, or of another chain.
    pub(crate) fn accept(
        &self,
        seen: Option<Head>,
        found: StoredHead,
        hash_at_seen: Option<Hash>,
        fault: Option<EndFault>,
    ) -> Result<Option<Head>, StateLoss> {
        let found = match found {
            StoredHead::Malformed => return Err(StateLoss::NoHead),
            StoredHead::Absent => None,
            StoredHead::Present(head) => Some(head),
        };
        if let Some(seen) = seen {
            let found = found.ok_or(StateLoss::HeadAbsent { size: seen.size })?;
            if found.size < seen.size {
                return Err(StateLoss::HeadLower { seen: seen.size, found: found.size });
            }
            let hash_now = if found.size == seen.size { Some(found.hash) } else { hash_at_seen };
            if hash_now != Some(seen.hash) {
                return Err(StateLoss::Forked { seq: seen.size - 1 });
            }
        }
        if let (Some(found), None) = (found, fault) {
            self.raise(found);
        }
        Ok(found)
    }

    /// Remembers a head that is known to follow from the one seen before.
    pub(crate) fn raise(&self, head: Head) {
        keep_higher(&self.verified, head);
    }
}

fn keep_higher(kept: &Mutex<Option<Head>>, head: Head) {
    let mut kept = kept.lock();
    if kept.is_none_or(|kept| kept.size < head.size) {
        *kept = Some(head);
    }
}

/// Judges a head by its size alone.
///
/// # Errors
/// [`StateLoss`] when it has fewer entries than `least`, or is absent while `least` is not 0.
pub(crate) fn not_below(least: u64, found: StoredHead) -> Result<(), StateLoss> {
    match found {
        StoredHead::Present(head) if head.size < least => {
            Err(StateLoss::HeadLower { seen: least, found: head.size })
        }
        StoredHead::Absent if least > 0 => Err(StateLoss::HeadAbsent { size: least }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, fill: u8) -> Head {
        Head { size, hash: Hash::from_bytes([fill; 32]) }
    }

    fn present(size: u64, fill: u8) -> StoredHead {
        StoredHead::Present(head(size, fill))
    }

    #[test]
    fn a_head_with_an_end_fault_is_accepted_but_not_remembered() {
        let memory = HeadMemory::default();
        let fault = Some(EndFault::Missing { seq: 5 });
        assert_eq!(memory.accept(None, present(12_288, 1), None, fault), Ok(Some(head(12_288, 1))));
        assert_eq!(memory.seen(), None);
        assert_eq!(memory.accept(None, present(5, 1), None, None), Ok(Some(head(5, 1))));
        assert_eq!(memory.seen(), Some(head(5, 1)));
    }

    #[test]
    fn a_new_process_accepts_any_head_and_an_empty_chain() {
        let memory = HeadMemory::default();
        assert_eq!(memory.accept(None, StoredHead::Absent, None, None), Ok(None));
        assert_eq!(memory.accept(None, present(7, 1), None, None), Ok(Some(head(7, 1))));
        assert_eq!(memory.seen(), Some(head(7, 1)));
        assert_eq!(memory.accept(None, StoredHead::Malformed, None, None), Err(StateLoss::NoHead));
    }

    #[test]
    fn an_absent_lower_or_other_head_is_a_state_loss_and_is_not_remembered() {
        let memory = HeadMemory::default();
        memory.raise(head(7, 1));
        let seen = memory.seen();
        let judge = |found, hash_at_seen| memory.accept(seen, found, hash_at_seen, None);
        assert_eq!(judge(StoredHead::Absent, None), Err(StateLoss::HeadAbsent { size: 7 }));
        assert_eq!(judge(StoredHead::Malformed, None), Err(StateLoss::NoHead));
        assert_eq!(judge(present(6, 1), None), Err(StateLoss::HeadLower { seen: 7, found: 6 }));
        assert_eq!(judge(present(7, 2), None), Err(StateLoss::Forked { seq: 6 }));
        let other = Some(Hash::from_bytes([2; 32]));
        assert_eq!(judge(present(9, 1), other), Err(StateLoss::Forked { seq: 6 }));
        assert_eq!(judge(present(9, 1), None), Err(StateLoss::Forked { seq: 6 }));
        assert_eq!(memory.seen(), seen);
    }

    #[test]
    fn an_observed_head_raises_the_least_size_but_not_the_verified_head() {
        let memory = HeadMemory::default();
        assert_eq!((memory.least_size(), memory.is_behind()), (0, false));
        memory.raise(head(7, 1));
        assert_eq!((memory.least_size(), memory.is_behind()), (7, false));
        memory.observe(9);
        memory.observe(8);
        assert_eq!((memory.least_size(), memory.is_behind(), memory.seen()), (9, true, Some(head(7, 1))));
        let least = memory.least_size();
        assert_eq!(not_below(least, present(8, 2)), Err(StateLoss::HeadLower { seen: 9, found: 8 }));
        assert_eq!(not_below(least, StoredHead::Absent), Err(StateLoss::HeadAbsent { size: 9 }));
        assert_eq!(not_below(least, present(9, 2)), Ok(()));
        assert_eq!(not_below(0, StoredHead::Absent), Ok(()));
        memory.raise(head(9, 2));
        assert_eq!((memory.least_size(), memory.is_behind()), (9, false));
    }

    #[test]
    fn the_highest_head_is_the_higher_of_the_verified_and_the_observed_one() {
        let memory = HeadMemory::default();
        assert_eq!(memory.highest(), None);
        memory.raise(head(7, 1));
        assert_eq!(memory.highest(), Some(head(7, 1)));
        memory.observe_head(head(9, 2));
        memory.observe_head(head(8, 3));
        assert_eq!((memory.highest(), memory.least_size()), (Some(head(9, 2)), 9));
        memory.observe(20);
        assert_eq!(memory.highest(), Some(head(9, 2)), "a size without a hash is not a head");
        memory.raise(head(10, 4));
        assert_eq!(memory.highest(), Some(head(10, 4)));
    }

    #[test]
    fn a_longer_chain_that_holds_the_entry_seen_before_is_accepted() {
        let memory = HeadMemory::default();
        memory.raise(head(7, 1));
        let same = Some(Hash::from_bytes([1; 32]));
        assert!(memory.accept(memory.seen(), present(9, 5), same, None).is_ok());
        assert_eq!(memory.seen(), Some(head(9, 5)));
        let earlier = Some(head(7, 1));
        assert!(memory.accept(earlier, present(8, 3), same, None).is_ok(), "judged by the earlier head");
        assert_eq!(memory.seen(), Some(head(9, 5)), "the memory never goes back");
    }
}

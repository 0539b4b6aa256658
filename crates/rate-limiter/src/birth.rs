//! Detects from the births that a process sees whether its region lost its state. Pure.
//!
//! A region has one birth for as long as its Redis keeps what it was given; another one means the state
//! before it is gone. Replies may overtake each other, so one that still shows the birth before the current
//! one is a straggler, not a loss.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::decision::RegionStatus;

/// The meaning of a birth in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing new.
    Known,
    /// The region existed before this process saw it.
    Joined,
    /// This process wrote the region's first birth record.
    Born,
    /// The region had another birth before, or unusable state.
    Lost,
}

/// The births seen so far. 0 means none.
#[derive(Debug, Default)]
pub(crate) struct BirthWatch {
    current: AtomicU64,
    previous: Mutex<u64>,
}

impl BirthWatch {
    /// Returns the birth as last seen, ms since 1970, or 0.
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    pub(crate) fn see(&self, region: &RegionStatus) -> Sight {
        if self.current.load(Ordering::Acquire) == region.born_at_ms && !region.made {
            return Sight::Known;
        }
        let mut previous = self.previous.lock();
        let current = self.current.load(Ordering::Acquire);
        if current == region.born_at_ms {
            // A reply that came later has shown this birth already, as one found; only its maker knows it was
            // the first.
            return if region.made && *previous == 0 { Sight::Born } else { Sight::Known };
        }
        if region.born_at_ms == *previous && !region.made && !region.lost {
            return Sight::Known;
        }
        *previous = current;
        self.current.store(region.born_at_ms, Ordering::Release);
        match current {
            _ if region.lost => Sight::Lost,
            0 if region.made => Sight::Born,
            0 => Sight::Joined,
            _ => Sight::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn region(born_at_ms: u64) -> RegionStatus {
        RegionStatus { born_at_ms, age: Duration::ZERO, cold: true, made: false, lost: false }
    }

    fn made(born_at_ms: u64) -> RegionStatus {
        RegionStatus { made: true, ..region(born_at_ms) }
    }

    #[test]
    fn the_first_birth_is_no_loss() {
        let watch = BirthWatch::default();
        assert_eq!(watch.see(&made(5)), Sight::Born);
        assert_eq!(watch.see(&region(5)), Sight::Known);
    }

    #[test]
    fn a_warm_region_met_by_a_new_process_is_no_loss() {
        assert_eq!(BirthWatch::default().see(&region(5)), Sight::Joined);
    }

    #[test]
    fn another_birth_is_one_loss_whoever_made_it() {
        for second in [made(9), region(9), region(3)] {
            let watch = BirthWatch::default();
            let _ = watch.see(&made(5));
            assert_eq!(watch.see(&second), Sight::Lost);
            assert_eq!(watch.see(&region(second.born_at_ms)), Sight::Known);
        }
    }

    #[test]
    fn a_straggler_from_before_the_loss_is_not_a_second_one() {
        let watch = BirthWatch::default();
        let _ = watch.see(&made(5));
        let _ = watch.see(&made(9));
        assert_eq!(watch.see(&region(5)), Sight::Known);
        assert_eq!(watch.see(&region(9)), Sight::Known);
        assert_eq!(watch.see(&made(12)), Sight::Lost);
    }

    #[test]
    fn state_given_up_is_a_loss_even_at_first_sight() {
        assert_eq!(BirthWatch::default().see(&RegionStatus { lost: true, ..region(5) }), Sight::Lost);
    }

    #[test]
    fn a_birth_whose_makers_reply_comes_second_is_told_once() {
        let watch = BirthWatch::default();
        assert_eq!(watch.see(&region(5)), Sight::Joined);
        assert_eq!(watch.see(&made(5)), Sight::Born);
    }
}

//! One caller's last minute in constant space: the rule of `lua/limiter.lua` in Rust. [`crate::LocalLimiter`]
//! uses it, and the tests compare it with the script.
//!
//! Units are kept in at most 32 groups `(first, last, units)`. A unit joins the newest group while `now −
//! first` is below 60 s / 32, or if there are 32 groups. Otherwise it begins a group. A group leaves 60 s
//! after its *last* unit. So no unit is forgotten early, and no 60 s window admits more than the limit. The
//! first units of a group stay up to 60 s / 32 too long, so a caller that is evenly spaced at the limit gets
//! at least 32/33 of it, which is 97 %.
//!
//! Time may step back by any amount: a caller's now is never before its newest unit.

use std::collections::VecDeque;

/// The length of a window, ms.
pub(crate) const WINDOW_MS: u64 = 60_000;
const JOIN_MS: u64 = WINDOW_MS / MAX_GROUPS as u64;
const MAX_GROUPS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    first: u64,
    last: u64,
    units: u32,
}

/// The units that one caller has used, oldest group first. Times are milliseconds since a common origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlidingWindow {
    total: u32,
    groups: VecDeque<Group>,
}

impl SlidingWindow {
    /// Removes the groups that have left by `now`.
    pub fn expire(&mut self, now: u64) {
        let now = self.callers_now(now);
        while let Some(oldest) = self.groups.front().filter(|group| group.last + WINDOW_MS <= now) {
            self.total -= oldest.units;
            self.groups.pop_front();
        }
    }

    /// Returns the number of units, as of the last [`Self::expire`].
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Returns the time of the newest unit.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.groups.back().map(|group| group.last)
    }

    /// Adds one unit and returns the first time of its group.
    pub fn count(&mut self, now: u64) -> u64 {
        self.expire(now);
        let now = self.callers_now(now);
        let full = self.groups.len() >= MAX_GROUPS;
        self.total += 1;
        match self.groups.back_mut().filter(|newest| full || now - newest.first < JOIN_MS) {
            Some(newest) => {
                newest.last = now;
                newest.units += 1;
                newest.first
            }
            None => {
                self.groups.push_back(Group { first: now, last: now, units: 1 });
                now
            }
        }
    }

    /// The first instant at which `units` of those held have left: 0 when that is none, nothing when fewer
    /// are held.
    #[must_use]
    pub fn left_at(&self, units: i64) -> Option<u64> {
        if units <= 0 {
            return Some(0);
        }
        let mut left = 0;
        let enough = self.groups.iter().find(|group| {
            left += i64::from(group.units);
            left >= units
        });
        enough.map(|group| group.last + WINDOW_MS)
    }

    /// Gives back one unit of the group that began at `stamp`; says whether that group was still there.
    pub fn give_back(&mut self, stamp: u64) -> bool {
        let Some(at) = self.groups.iter().position(|group| group.first == stamp) else { return false };
        self.total -= 1;
        self.groups[at].units -= 1;
        if self.groups[at].units == 0 {
            self.groups.remove(at);
        }
        true
    }

    fn callers_now(&self, now: u64) -> u64 {
        self.newest().map_or(now, |newest| newest.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keeps every timestamp.
    #[derive(Default)]
    struct Oracle(VecDeque<u64>);

    impl Oracle {
        fn within_window(&mut self, now: u64) -> usize {
            while self.0.front().is_some_and(|at| at + WINDOW_MS <= now) {
                self.0.pop_front();
            }
            self.0.len()
        }
    }

    fn admit(sliding_window: &mut SlidingWindow, limit: u32, now: u64) -> bool {
        sliding_window.expire(now);
        let admits = sliding_window.total() < limit;
        if admits {
            sliding_window.count(now);
        }
        admits
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_the_limit(
            limit in 1u32..200,
            gaps in prop::collection::vec(prop_oneof![0u64..30, 0u64..3_000, 0u64..70_000], 1..600),
        ) {
            let mut sliding_window = SlidingWindow::default();
            let (mut oracle, mut now) = (Oracle::default(), 1_000_000);
            for gap in gaps {
                now += gap;
                let held = oracle.within_window(now);
                if admit(&mut sliding_window, limit, now) {
                    oracle.0.push_back(now);
                    prop_assert!(held < limit as usize);
                }
                prop_assert!(sliding_window.groups.len() <= MAX_GROUPS);
            }
        }

        #[test]
        fn denied_until_exactly_the_promised_instant(
            limit in 1u32..60,
            gaps in prop::collection::vec(prop_oneof![0u64..30, 0u64..4_000], 1..300),
        ) {
            let (mut sliding_window, mut now) = (SlidingWindow::default(), 1_000_000);
            for gap in gaps {
                now += gap;
                if admit(&mut sliding_window, limit, now) {
                    continue;
                }
                let units = i64::from(sliding_window.total()) + 1 - i64::from(limit);
                let promised = sliding_window.left_at(units).expect("enough units are held");
                prop_assert!(promised > now);
                for before in [now, now + (promised - now) / 2, promised - 1] {
                    prop_assert!(!admit(&mut sliding_window.clone(), limit, before));
                }
                prop_assert!(admit(&mut sliding_window.clone(), limit, promised));
            }
        }
    }

    #[test]
    fn an_evenly_spaced_caller_gets_95_percent_at_every_limit_to_1000() {
        for limit in 1..=1_000_u64 {
            for (spacing, phase) in
                [(None, 0), (None, 333), (None, 999), (Some(WINDOW_MS.div_ceil(limit)), 0)]
            {
                let asked = 5 * limit;
                let mut sliding_window = SlidingWindow::default();
                let admitted = (0..asked).filter(|i| {
                    let micros = i * WINDOW_MS * 1_000 / limit + phase;
                    let at = spacing.map_or(micros / 1_000, |ms| i * ms);
                    admit(&mut sliding_window, u32::try_from(limit).unwrap(), 1_000_000 + at)
                });
                let admitted = admitted.count() as u64;
                assert!(admitted * 100 >= asked * 95, "limit {limit}, phase {phase}: {admitted} of {asked}");
            }
        }
    }

    #[test]
    fn a_million_a_minute_is_counted_to_the_last() {
        let mut sliding_window = SlidingWindow::default();
        let admitted =
            (0..1_100_000_u64).filter(|i| admit(&mut sliding_window, 1_000_000, 1_000_000 + i / 20)).count();
        assert_eq!(admitted, 1_000_000);
        assert!(sliding_window.groups.len() <= MAX_GROUPS);
    }

    #[test]
    fn a_unit_given_back_can_be_used_again_and_a_gone_group_takes_nothing() {
        let mut sliding_window = SlidingWindow::default();
        let first = sliding_window.count(1_000);
        let second = sliding_window.count(5_000);
        assert!(sliding_window.give_back(second));
        assert!(!sliding_window.give_back(second));
        assert_eq!(sliding_window.total(), 1);
        sliding_window.expire(1_000 + WINDOW_MS);
        assert!(!sliding_window.give_back(first));
        assert_eq!(sliding_window.total(), 0);
    }
}

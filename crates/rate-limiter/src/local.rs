//! The limit in this process while the limiter's Redis is unavailable. It has the cold-start size and is
//! never unlimited.
//!
//! It keeps at most [`LocalLimiter::MAX_SUBJECTS`] subjects, so that a flood of addresses cannot exhaust
//! memory. When it is full, it denies new subjects. Each call removes a few expired subjects, in the order in
//! which they expire, so that the work of a call is bounded. The caller passes the time in; the rule is
//! [`SlidingWindow`]'s.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::decision::{Decision, Report, Reservation, Status};
use crate::quota::{Dimension, Factor, assert_sound};
use crate::sliding_window::{SlidingWindow, WINDOW_MS};

/// Subjects that each call checks for expiry, in addition to two for each dimension. This is more than a call
/// can add.
const SWEPT_PER_CALL: usize = 4;

/// Limits requests in this process alone.
pub struct LocalLimiter {
    factor: Factor,
    capacity: usize,
    subjects: Mutex<Subjects>,
}

/// Every subject is once in each collection.
#[derive(Default)]
struct Subjects {
    windows: HashMap<Arc<str>, SlidingWindow>,
    /// When to check each subject for expiry, ms, approximately in order.
    due: VecDeque<(u64, Arc<str>)>,
}

impl LocalLimiter {
    /// The most subjects that are kept.
    pub const MAX_SUBJECTS: usize = 100_000;

    /// Creates an empty limiter that reduces limits by `factor`.
    #[must_use]
    pub fn new(factor: Factor) -> Self {
        Self::with_capacity(factor, Self::MAX_SUBJECTS)
    }

    fn with_capacity(factor: Factor, capacity: usize) -> Self {
        Self { factor, capacity, subjects: Mutex::default() }
    }

    /// Decides on one request at `now`, monotonic since any one origin. A newcomer denied because the limiter
    /// is full is told when a place may come free; that instant is a guess.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub fn decide(&self, dimensions: &[Dimension<'_>], now: Duration) -> Decision {
        assert_sound(dimensions);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut subjects = self.subjects.lock();
        subjects.sweep(now, SWEPT_PER_CALL + 2 * dimensions.len());
        let mut places = self.capacity - subjects.windows.len();
        let asked: Vec<(Arc<str>, u32, bool)> = dimensions
            .iter()
            .map(|dimension| {
                let (key, limit) = (key(dimension), self.factor.of(dimension.quota));
                let allows = match subjects.windows.get_mut(&key) {
                    Some(sliding_window) => {
                        sliding_window.expire(now);
                        sliding_window.total() < limit
                    }
                    None => places.checked_sub(1).inspect(|left| places = *left).is_some(),
                };
                (key, limit, allows)
            })
            .collect();
        let allowed = asked.iter().all(|(_, _, allows)| *allows);
        let mut stamps = Vec::new();
        if allowed {
            stamps.extend(asked.iter().map(|(key, _, _)| subjects.count(key, now)));
        }
        let statuses: Vec<Status> = dimensions
            .iter()
            .zip(&asked)
            .map(|(dimension, (key, limit, allows))| subjects.status(dimension, key, *limit, *allows, now))
            .collect();
        let waits = statuses.iter().filter(|status| !status.allows).filter_map(|status| status.reset_after);
        let retry_after = waits.max().unwrap_or_default();
        let report = Report { statuses, region: None };
        if allowed {
            Decision::Allowed { reservation: Reservation { stamps }, report }
        } else {
            Decision::Denied { retry_after, report }
        }
    }

    /// Gives back what an allowed request used; `dimensions` are the ones it was decided on. Says how many
    /// units were given back.
    pub fn refund(&self, reservation: &Reservation, dimensions: &[Dimension<'_>]) -> u32 {
        let mut subjects = self.subjects.lock();
        let given_back = dimensions.iter().zip(&reservation.stamps).filter(|(dimension, stamp)| {
            subjects
                .windows
                .get_mut(&key(dimension))
                .is_some_and(|sliding_window| sliding_window.give_back(**stamp))
        });
        u32::try_from(given_back.count()).unwrap_or(u32::MAX)
    }
}

impl Subjects {
    fn sweep(&mut self, now: u64, at_most: usize) {
        for _ in 0..at_most {
            let Some((_, key)) = self.due.pop_front_if(|(due, _)| *due <= now) else { return };
            match self.windows.get(&key).and_then(SlidingWindow::newest) {
                Some(newest) if newest + WINDOW_MS > now => self.due.push_back((newest + WINDOW_MS, key)),
                _ => {
                    self.windows.remove(&key);
                }
            }
        }
    }

    fn count(&mut self, key: &Arc<str>, now: u64) -> u64 {
        if let Some(sliding_window) = self.windows.get_mut(key) {
            return sliding_window.count(now);
        }
        self.due.push_back((now + WINDOW_MS, Arc::clone(key)));
        self.windows.entry(Arc::clone(key)).or_default().count(now)
    }

    fn status(&self, dimension: &Dimension<'_>, key: &str, limit: u32, allows: bool, now: u64) -> Status {
        let sliding_window = self.windows.get(key);
        let total = sliding_window.map_or(0, SlidingWindow::total);
        let full = sliding_window.is_none() && !allows;
        let remaining = if full { 0 } else { limit.saturating_sub(total) };
        let units = i64::from(total) + i64::from(remaining) + 1 - i64::from(limit);
        let grows_at = match sliding_window {
            Some(sliding_window) => sliding_window.left_at(units),
            None if full => Some(self.due.front().map_or(now, |(due, _)| *due).max(now + 1)),
            None => None,
        };
        let reset_after = grows_at.map(|at| Duration::from_millis(at.saturating_sub(now)));
        Status { name: dimension.name.as_str(), allows, limit, remaining, reset_after }
    }
}

fn key(dimension: &Dimension<'_>) -> Arc<str> {
    [dimension.name.as_str(), ":", dimension.subject].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{DimensionName, Quota};

    fn ip(subject: &str, quota: u32) -> Dimension<'_> {
        Dimension { name: DimensionName::Ip, subject, quota: Quota::new(quota).unwrap() }
    }

    fn half() -> Factor {
        Factor::new(0.5).unwrap()
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_limit_is_the_cold_start_size_and_the_promised_wait_exact() {
        let limiter = LocalLimiter::new(half());
        let admitted = (0..500).filter(|i| limiter.decide(&[ip("a", 100)], at(*i)).is_allowed()).count();
        assert_eq!(admitted, 50);
        let Decision::Denied { retry_after, .. } = limiter.decide(&[ip("a", 100)], at(600)) else {
            panic!("denied")
        };
        assert!(!limiter.decide(&[ip("a", 100)], at(600) + retry_after - at(1)).is_allowed());
        assert!(limiter.decide(&[ip("a", 100)], at(600) + retry_after).is_allowed());
    }

    #[test]
    fn a_denied_request_uses_up_nothing() {
        let limiter = LocalLimiter::new(half());
        let key = Dimension { name: DimensionName::Key, subject: "k", quota: Quota::new(2).unwrap() };
        assert!(limiter.decide(&[ip("a", 100), key], at(0)).is_allowed());
        for _ in 0..100 {
            assert!(!limiter.decide(&[ip("a", 100), key], at(1)).is_allowed());
        }
        assert_eq!(limiter.decide(&[ip("a", 100)], at(2)).report().statuses[0].remaining, 48);
    }

    #[test]
    fn newcomers_are_denied_when_it_is_full_and_let_in_when_others_have_expired() {
        let limiter = LocalLimiter::with_capacity(half(), 3);
        for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(limiter.decide(&[ip(name, 4)], at(i as u64 * 1_000)).is_allowed());
        }
        let Decision::Denied { retry_after, .. } = limiter.decide(&[ip("d", 4)], at(3_000)) else {
            panic!("full")
        };
        assert_eq!(retry_after, at(57_000));
        assert!(limiter.decide(&[ip("a", 4)], at(3_000)).is_allowed(), "who is in stays in");
        assert!(!limiter.decide(&[ip("d", 4)], at(60_000)).is_allowed(), "a is still within its minute");
        assert!(limiter.decide(&[ip("d", 4)], at(61_000)).is_allowed(), "b has left");
        assert_eq!(limiter.subjects.lock().windows.len(), 3);
    }

    #[test]
    fn two_newcomers_of_one_request_need_two_places() {
        let limiter = LocalLimiter::with_capacity(half(), 1);
        let key = Dimension { name: DimensionName::Key, ..ip("a", 4) };
        assert!(!limiter.decide(&[ip("a", 4), key], at(0)).is_allowed());
        assert_eq!(limiter.subjects.lock().windows.len(), 0);
    }

    #[test]
    fn it_never_holds_more_than_its_subjects_and_forgets_them_all_in_time() {
        let limiter = LocalLimiter::with_capacity(half(), 1_000);
        let admitted =
            (0..5_000).filter(|i| limiter.decide(&[ip(&i.to_string(), 4)], at(*i / 10)).is_allowed()).count();
        assert_eq!(admitted, 1_000);
        for _ in 0..400 {
            let _ = limiter.decide(&[ip("x", 4)], at(200_000));
        }
        let subjects = limiter.subjects.lock();
        assert_eq!((subjects.windows.len(), subjects.due.len()), (1, 1));
    }

    #[test]
    fn a_refund_can_be_used_again() {
        let limiter = LocalLimiter::new(half());
        let Decision::Allowed { reservation, .. } = limiter.decide(&[ip("a", 2)], at(0)) else {
            panic!("allowed")
        };
        assert!(!limiter.decide(&[ip("a", 2)], at(1)).is_allowed());
        assert_eq!(limiter.refund(&reservation, &[ip("a", 2)]), 1);
        assert!(limiter.decide(&[ip("a", 2)], at(2)).is_allowed());
    }
}

//! Remembers in the process which callers are denied. The limiter says exactly when a denied caller may come
//! back, so that nothing has to be asked before.
//!
//! **Never longer than the limiter denies.** A denied request uses no quota, so the promised wait holds
//! whatever the caller sends meanwhile. The wait is counted from when the request to Redis was *sent*, which
//! is before the limiter read its clock. One millisecond is subtracted, because that clock cuts off the
//! fraction of a millisecond.
//!
//! - A denial is dropped if its region was born again: the state that it rests on is lost.
//! - With several limits, a denial is dropped when one of its numbers grows, because its headers would be
//!   wrong then.
//! - With a global limit, which may give quota back, a denial is kept for at most one second.
//! - A denial by the in-process limiter is not kept. It costs no Redis call, and ends early when Redis is
//!   available.
//!
//! **Bounded.** At most [`DeniedCache::MAX_SUBJECTS`] are kept. Beyond that the least used one is dropped,
//! which costs one request to Redis.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::decision::{Decision, Status};
use crate::quota::{Dimension, DimensionName};

/// The limiter's clock counts whole milliseconds.
const TICK: Duration = Duration::from_millis(1);
/// The longest that a denial is kept if quota may be given back.
const REFUND: Duration = Duration::from_secs(1);

/// A denial that is still in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// How long until the same request passes if nothing else comes.
    pub retry_after: Duration,
    /// The caller's state in every dimension of the decision.
    pub statuses: Vec<Status>,
}

#[derive(Debug)]
struct Remembered {
    /// When the request to Redis was sent, monotonic time.
    sent: Duration,
    /// When the denial ends, monotonic time.
    until: Duration,
    born_at_ms: u64,
    retry_after: Duration,
    /// Proof of the caller's identity, e.g. the digest of a verified key. Empty for an address.
    proof: Vec<u8>,
    statuses: Vec<Status>,
}

/// The denials in force, by dimension and subject.
#[derive(Debug)]
pub struct DeniedCache {
    subjects: Cache<String, Arc<Remembered>>,
}

impl Default for DeniedCache {
    fn default() -> Self {
        Self { subjects: Cache::new(Self::MAX_SUBJECTS) }
    }
}

impl DeniedCache {
    /// The most callers that are kept.
    pub const MAX_SUBJECTS: usize = 100_000;

    /// Remembers `decision` if it is a denial by a region's Redis.
    ///
    /// - `sent` is a time not later than when the limiter was asked, by the same monotonic clock as `now` of
    ///   [`Self::get`].
    /// - `proof` is what a caller has to present to be this caller, e.g. the digest of a verified key.
    /// - `refunds` says whether quota may be given back.
    pub fn put(
        &self,
        dimension: &Dimension<'_>,
        proof: &[u8],
        decision: &Decision,
        sent: Duration,
        refunds: bool,
    ) {
        let Decision::Denied { retry_after, report } = decision else { return };
        let Some(region) = report.region else { return };
        let grows = report.statuses.iter().filter_map(|status| status.reset_after).min();
        let promised = grows.map_or(*retry_after, |grows| grows.min(*retry_after));
        let mut believed = promised.saturating_sub(TICK);
        if refunds {
            believed = believed.min(REFUND);
        }
        if believed.is_zero() {
            return;
        }
        let remembered = Remembered {
            sent,
            until: sent + believed,
            born_at_ms: region.born_at_ms,
            retry_after: *retry_after,
            proof: proof.to_vec(),
            statuses: report.statuses.clone(),
        };
        self.subjects.insert(key(dimension.name, dimension.subject), Arc::new(remembered));
    }

    /// Returns the caller's denial if it is in force at `now`, with its waits counted down. `born_at_ms` is
    /// the region's birth as last seen.
    #[must_use]
    pub fn get(
        &self,
        name: DimensionName,
        subject: &str,
        proof: &[u8],
        now: Duration,
        born_at_ms: u64,
    ) -> Option<Denial> {
        let key = key(name, subject);
        let found = self.subjects.get(&key)?;
        if now >= found.until || born_at_ms != found.born_at_ms {
            self.subjects.remove(&key);
            return None;
        }
        if found.proof != proof {
            return None;
        }
        let passed = now.saturating_sub(found.sent);
        let left = |wait: Duration| wait.saturating_sub(passed);
        let counted_down = |status: &Status| Status { reset_after: status.reset_after.map(left), ..*status };
        let statuses = found.statuses.iter().map(counted_down).collect();
        Some(Denial { retry_after: left(found.retry_after), statuses })
    }
}

fn key(name: DimensionName, subject: &str) -> String {
    [name.as_str(), ":", subject].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{RegionStatus, Report};
    use crate::quota::Quota;

    const BORN: u64 = 1_771_243_200_000;

    fn ip(subject: &str) -> Dimension<'_> {
        Dimension { name: DimensionName::Ip, subject, quota: Quota::new(1).unwrap() }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn status(name: &'static str, allows: bool, reset_after: u64) -> Status {
        Status { name, allows, limit: 1, remaining: u32::from(allows), reset_after: Some(at(reset_after)) }
    }

    fn region() -> Option<RegionStatus> {
        let age = Duration::ZERO;
        Some(RegionStatus { born_at_ms: BORN, age, cold: false, made: false, lost: false })
    }

    fn denied(retry_after: u64, statuses: Vec<Status>) -> Decision {
        Decision::Denied { retry_after: at(retry_after), report: Report { statuses, region: region() } }
    }

    fn get(cache: &DeniedCache, now: u64) -> Option<Denial> {
        cache.get(DimensionName::Ip, "a", b"", at(now), BORN)
    }

    #[test]
    fn a_denial_holds_from_when_it_was_asked_for_until_the_promised_instant_and_counts_down() {
        let cache = DeniedCache::default();
        cache.put(&ip("a"), b"", &denied(5_000, vec![status("ip", false, 5_000)]), at(1_000), false);
        let found = get(&cache, 3_000).unwrap();
        assert_eq!((found.retry_after, found.statuses[0].reset_after), (at(3_000), Some(at(3_000))));
        assert_eq!(get(&cache, 5_998).unwrap().retry_after, at(2));
        assert_eq!(get(&cache, 5_999), None, "the limiter's clock may be a part of a millisecond further");
        assert!(cache.get(DimensionName::Key, "a", b"", at(2_000), BORN).is_none(), "another dimension");
    }

    #[test]
    fn where_quota_may_be_given_back_a_second_at_most() {
        let cache = DeniedCache::default();
        cache.put(&ip("a"), b"", &denied(50_000, vec![status("ip", false, 50_000)]), at(0), true);
        assert_eq!(get(&cache, 999).unwrap().retry_after, at(49_001));
        assert_eq!(get(&cache, 1_000), None);
    }

    #[test]
    fn a_denial_is_forgotten_before_one_of_its_numbers_would_be_wrong() {
        let cache = DeniedCache::default();
        let both = vec![status("ip", true, 300), status("global", false, 900)];
        cache.put(&ip("a"), b"", &denied(900, both), at(0), true);
        assert_eq!(get(&cache, 298).unwrap().statuses[0].remaining, 1);
        assert_eq!(get(&cache, 299), None);
    }

    #[test]
    fn what_is_no_denial_of_a_regions_redis_is_not_remembered() {
        let cache = DeniedCache::default();
        let here = Report { statuses: vec![status("ip", false, 5_000)], region: None };
        cache.put(&ip("a"), b"", &Decision::Denied { retry_after: at(5_000), report: here }, at(0), false);
        cache.put(&ip("a"), b"", &denied(0, Vec::new()), at(0), false);
        assert_eq!(get(&cache, 0), None);
    }

    #[test]
    fn a_region_born_again_forgets_and_a_wrong_proof_finds_nothing() {
        let cache = DeniedCache::default();
        let denial = denied(5_000, vec![status("ip", false, 5_000)]);
        cache.put(&ip("a"), b"right", &denial, at(0), false);
        assert!(cache.get(DimensionName::Ip, "a", b"wrong", at(1), BORN).is_none());
        assert!(cache.get(DimensionName::Ip, "a", b"right", at(1), BORN).is_some(), "and takes nothing away");
        assert!(cache.get(DimensionName::Ip, "a", b"right", at(1), BORN + 1).is_none());
        assert!(cache.get(DimensionName::Ip, "a", b"right", at(1), BORN).is_none());
    }

    #[test]
    fn no_more_than_the_bound_are_remembered() {
        let cache = DeniedCache::default();
        let denial = denied(60_000, vec![status("ip", false, 60_000)]);
        for number in 0..DeniedCache::MAX_SUBJECTS + 20_000 {
            cache.put(&ip(&number.to_string()), b"", &denial, at(0), false);
        }
        assert!(cache.subjects.len() <= DeniedCache::MAX_SUBJECTS, "{}", cache.subjects.len());
    }
}

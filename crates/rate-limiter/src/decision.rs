//! The limiter's decision, read from the integers of the script's reply.

use std::time::Duration;

use redis_pool::PoolError;

use crate::quota::MAX_DIMENSIONS;

/// Integers before the first dimension's, and for each dimension.
const HEAD: usize = 6;
const PER_DIMENSION: usize = 5;
const COLD: i64 = 1;
const MADE: i64 = 2;
const LOST: i64 = 4;

/// The decision on one request.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// The request may pass. It used one unit of every dimension.
    Allowed {
        /// Needed for a refund.
        reservation: Reservation,
        /// The caller's state after this request.
        report: Report,
    },
    /// The request may not pass. It used nothing.
    Denied {
        /// The exact wait, by Redis's clock in whole ms, after which the same request passes if nothing else
        /// comes.
        retry_after: Duration,
        /// The caller's state.
        report: Report,
    },
}

impl Decision {
    /// Returns the caller's state.
    #[must_use]
    pub fn report(&self) -> &Report {
        match self {
            Self::Allowed { report, .. } | Self::Denied { report, .. } => report,
        }
    }

    /// Returns whether the request may pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// The units that an allowed request used, for one refund. It cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The first time of the group that counted each unit, in the order of the dimensions.
    pub(crate) stamps: Vec<u64>,
}

/// Where a caller stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every dimension asked, in the order asked.
    pub statuses: Vec<Status>,
    /// The region, when it was a region's Redis that answered.
    pub region: Option<RegionStatus>,
}

/// Where a caller stands in one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `ip`, `key` or `global`.
    pub name: &'static str,
    /// Whether this dimension by itself lets the request pass.
    pub allows: bool,
    /// Requests per 60 s in force now.
    pub limit: u32,
    /// Requests left now.
    pub remaining: u32,
    /// How long until `remaining` grows if nothing else comes; nothing when it is at its full size.
    pub reset_after: Option<Duration>,
}

/// A region at the moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionStatus {
    /// Its birth, ms since 1970 by Redis's clock.
    pub born_at_ms: u64,
    /// How long ago that was.
    pub age: Duration,
    /// Whether limits are reduced.
    pub cold: bool,
    /// Whether this call made the birth record, there being none.
    pub made: bool,
    /// Whether this call found state it had to give up (stamped far in the future, or unreadable) and so
    /// began the region anew.
    pub lost: bool,
}

impl Decision {
    /// Reads the limiter's part, which the integers begin with; whatever follows is somebody else's.
    pub(crate) fn read(ints: &[i64], names: &[&'static str], in_region: bool) -> Result<Self, PoolError> {
        let [allowed, retry_after, born, now, flags, count, rest @ ..] = ints else {
            return Err(misshapen("too short"));
        };
        if usize::try_from(*count) != Ok(names.len()) || names.len() > MAX_DIMENSIONS {
            return Err(misshapen("another number of dimensions"));
        }
        if rest.len() < names.len() * PER_DIMENSION {
            return Err(misshapen("a dimension is missing"));
        }
        let mut statuses = Vec::with_capacity(names.len() + 1);
        let mut stamps = Vec::with_capacity(names.len());
        for (name, ints) in names.iter().zip(rest.chunks_exact(PER_DIMENSION)) {
            let reset_after = unsigned(ints[3])?;
            statuses.push(Status {
                name,
                allows: ints[0] == 1,
                limit: u32::try_from(ints[1]).map_err(|_| misshapen("a limit"))?,
                remaining: u32::try_from(ints[2]).map_err(|_| misshapen("a remainder"))?,
                reset_after: (reset_after > 0).then(|| Duration::from_millis(reset_after)),
            });
            stamps.push(unsigned(ints[4])?);
        }
        let born_at_ms = unsigned(*born)?;
        let region = in_region.then_some(RegionStatus {
            born_at_ms,
            age: Duration::from_millis(unsigned(*now)?.saturating_sub(born_at_ms)),
            cold: flags & COLD != 0,
            made: flags & MADE != 0,
            lost: flags & LOST != 0,
        });
        let report = Report { statuses, region };
        Ok(match allowed {
            1 => Self::Allowed { reservation: Reservation { stamps }, report },
            0 => Self::Denied { retry_after: Duration::from_millis(unsigned(*retry_after)?), report },
            _ => return Err(misshapen("neither allowed nor denied")),
        })
    }

    /// How many integers the limiter's part has.
    #[must_use]
    pub const fn reply_len(dimensions: usize) -> usize {
        HEAD + PER_DIMENSION * dimensions
    }
}

fn unsigned(value: i64) -> Result<u64, PoolError> {
    u64::try_from(value).map_err(|_| misshapen("a number below zero"))
}

fn misshapen(what: &str) -> PoolError {
    PoolError::Reply { what: format!("rate limiter: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: [i64; 11] = [1, 0, 1_000, 4_000, 3, 1, 1, 50, 49, 60_000, 4_000];

    #[test]
    fn a_reply_is_read_field_by_field() {
        let Decision::Allowed { reservation, report } = Decision::read(&REPLY, &["ip"], true).unwrap() else {
            panic!("allowed")
        };
        assert_eq!(reservation.stamps, [4_000]);
        let reset_after = Some(Duration::from_secs(60));
        assert_eq!(
            report.statuses,
            [Status { name: "ip", allows: true, limit: 50, remaining: 49, reset_after }]
        );
        let age = Duration::from_secs(3);
        let region = RegionStatus { born_at_ms: 1_000, age, cold: true, made: true, lost: false };
        assert_eq!(report.region, Some(region));
    }

    #[test]
    fn what_follows_the_limiters_part_is_left_alone() {
        let mut longer = REPLY.to_vec();
        longer.extend([7, 8, 9]);
        assert_eq!(
            Decision::read(&longer, &["ip"], true).unwrap(),
            Decision::read(&REPLY, &["ip"], true).unwrap()
        );
        assert_eq!(Decision::reply_len(1), REPLY.len());
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error() {
        for cut in 0..REPLY.len() {
            assert!(Decision::read(&REPLY[..cut], &["ip"], true).is_err(), "{cut}");
        }
        assert!(Decision::read(&REPLY, &["ip", "key"], true).is_err());
        for at in [0, 1, 2, 7, 8, 9, 10] {
            let mut wrong = REPLY;
            wrong[0] = i64::from(at != 1);
            wrong[at] = -1;
            assert!(Decision::read(&wrong, &["ip"], true).is_err(), "{at}");
        }
    }
}

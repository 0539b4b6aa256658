//! What may be asked for: limits, dimensions, and the cold start's shape, each parsed once.

use std::num::NonZeroU32;
use std::time::Duration;

/// The most dimensions in one decision.
pub const MAX_DIMENSIONS: usize = 8;

/// A value that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A quota out of range.
    #[error("a limit is a whole number from 1 to {}", Quota::MAX)]
    Quota,
    /// A cold-start factor out of range.
    #[error("a cold-start factor is a number from 0 to 1")]
    Factor,
    /// A cold phase out of range.
    #[error("a cold phase lasts at most {} days", ColdStart::MAX_PERIOD.as_secs() / 86_400)]
    ColdPeriod,
    /// A region's name that cannot stand in a key.
    #[error("a region is 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
    Region,
    /// Neither of the two things to do while Redis is away.
    #[error("what to do while redis is down is either closed or local")]
    OnRedisDown,
}

/// Requests per 60 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota(NonZeroU32);

impl Quota {
    /// The largest quota that can be configured; twice as much still fits the 24 bits a state counts in.
    pub const MAX: u32 = 8_000_000;

    /// A quota of `per_minute` requests.
    ///
    /// # Errors
    /// When it is 0 or more than [`Self::MAX`].
    pub fn new(per_minute: u32) -> Result<Self, Invalid> {
        NonZeroU32::new(per_minute).filter(|quota| quota.get() <= Self::MAX).map(Self).ok_or(Invalid::Quota)
    }

    /// Requests per 60 s.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// What a caller may do over all regions together: twice the quota of one.
    pub(crate) fn over_all_regions(self) -> u32 {
        self.get() * 2
    }
}

/// Which share of a limit holds in the cold phase: 0 to 1, to six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    millionths: u32,
}

impl Factor {
    /// All of a limit.
    pub const WHOLE: Self = Self { millionths: 1_000_000 };

    /// A factor of `share`.
    ///
    /// # Errors
    /// When it is not within 0 to 1.
    pub fn new(share: f64) -> Result<Self, Invalid> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Invalid::Factor);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 1,000,000")]
        Ok(Self { millionths: (share * 1e6).round() as u32 })
    }

    /// The factor as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.millionths) / 1e6
    }

    /// `max(1, floor(quota × factor))`, in whole numbers, so that 100 × 0.29 is 29.
    #[must_use]
    pub fn of(self, quota: Quota) -> u32 {
        let share = u64::from(quota.get()) * u64::from(self.millionths) / 1_000_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}

/// How a region starts: for `period` from its birth, limits are `factor` of their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdStart {
    period: Duration,
    factor: Factor,
}

impl ColdStart {
    /// The longest cold phase: a year. Beyond it, lower the limit.
    pub const MAX_PERIOD: Duration = Duration::from_secs(365 * 86_400);

    /// A cold phase of `period`, in whole milliseconds; zero for none.
    ///
    /// # Errors
    /// When `period` is longer than [`Self::MAX_PERIOD`].
    pub fn new(period: Duration, factor: Factor) -> Result<Self, Invalid> {
        if period > Self::MAX_PERIOD { Err(Invalid::ColdPeriod) } else { Ok(Self { period, factor }) }
    }

    /// How long the cold phase lasts.
    #[must_use]
    pub fn period(self) -> Duration {
        self.period
    }

    /// Which share of a limit holds while it lasts.
    #[must_use]
    pub fn factor(self) -> Factor {
        self.factor
    }

    pub(crate) fn period_ms(self) -> u64 {
        u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a caller is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DimensionName {
    /// The client's address (IPv6 by its /64).
    Ip,
    /// A partner's key.
    Key,
    /// What a [`crate::SteadyLimiter`]'s caller counts by; its name stands in keys, headers and metrics.
    Named(&'static str),
}

impl DimensionName {
    /// The name in keys, headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Key => "key",
            Self::Named(name) => name,
        }
    }
}

/// One limit a request is held against.
#[derive(Debug, Clone, Copy)]
pub struct Dimension<'a> {
    /// What it counts by.
    pub name: DimensionName,
    /// Who: it stands in a Redis key as it is, so never put a secret here.
    pub subject: &'a str,
    /// How many per 60 s.
    pub quota: Quota,
}

/// Panics unless `dimensions` are 1 to 8 different ones; two of the same would count one request once.
pub(crate) fn assert_sound(dimensions: &[Dimension<'_>]) {
    assert!(
        (1..=MAX_DIMENSIONS).contains(&dimensions.len()),
        "a decision takes 1 to {MAX_DIMENSIONS} dimensions"
    );
    for (i, one) in dimensions.iter().enumerate() {
        let twice =
            dimensions[..i].iter().any(|other| other.name == one.name && other.subject == one.subject);
        assert!(!twice, "a decision takes each dimension and subject once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold(quota: u32, factor: f64) -> u32 {
        Factor::new(factor).unwrap().of(Quota::new(quota).unwrap())
    }

    #[test]
    fn a_cold_limit_is_rounded_down_and_never_zero() {
        assert_eq!(cold(100, 0.5), 50);
        assert_eq!(cold(101, 0.5), 50);
        assert_eq!(cold(1, 0.5), 1);
        assert_eq!(cold(7, 0.0), 1);
        assert_eq!(cold(1_000, 1.0), 1_000);
    }

    #[test]
    fn a_cold_limit_is_not_a_victim_of_binary_fractions() {
        assert!((100.0_f64 * 0.29).floor() < 29.0);
        assert_eq!(cold(100, 0.29), 29);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        assert_eq!(Quota::new(0), Err(Invalid::Quota));
        assert_eq!(Quota::new(Quota::MAX + 1), Err(Invalid::Quota));
        assert_eq!(Quota::new(Quota::MAX).unwrap().over_all_regions(), 16_000_000);
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Factor::new(share), Err(Invalid::Factor), "{share}");
        }
        let half = Factor::new(0.5).unwrap();
        assert_eq!(ColdStart::new(Duration::MAX, half), Err(Invalid::ColdPeriod));
    }

    #[test]
    #[should_panic(expected = "each dimension and subject once")]
    fn one_subject_twice_is_a_fault_of_the_program() {
        let ip = Dimension { name: DimensionName::Ip, subject: "192.0.2.1", quota: Quota::new(1).unwrap() };
        assert_sound(&[ip, ip]);
    }
}

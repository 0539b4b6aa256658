//! The thresholds and times of a breaker.
//!
//! All fields are plain values, so a test can choose its own. A value that is out of range is no error: the
//! nearest value in range is used instead, as each field says.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many failures open a breaker, how long it stays open, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// The number of failures in a row that opens a closed breaker. The largest effective value is 4,194,303.
    pub failure_threshold: NonZeroU32,
    /// The number of successful probes in a row that closes a half-open breaker. The largest effective value
    /// is 4,194,303.
    pub success_threshold: NonZeroU32,
    /// The time during which an open breaker rejects all calls, before jitter.
    pub open_for: Duration,
    /// The largest difference between an open time and `open_for`, to either side, in thousandths of
    /// `open_for`. The largest effective value is 1,000.
    pub jitter_permille: u16,
    /// The time after which a probe without a report is given up, so that another may start. Zero counts as
    /// one nanosecond.
    pub probe_timeout: Duration,
}

impl BreakerConfig {
    /// Returns the numbers of the public contract (docs/contract.md §7): 5 failures, 3 successes, 10 s ± 20
    /// %.
    ///
    /// In the contract, `probe_timeout` is twice the command timeout, which only the caller knows.
    #[must_use]
    pub const fn new(probe_timeout: Duration) -> Self {
        Self {
            failure_threshold: NonZeroU32::new(5).expect("five is not zero"),
            success_threshold: NonZeroU32::new(3).expect("three is not zero"),
            open_for: Duration::from_secs(10),
            jitter_permille: 200,
            probe_timeout,
        }
    }
}

//! The breaker's numbers. All of them are plain values, so a test can choose its own; [`BreakerConfig::new`] gives those of
//! the public contract. Nothing here fails: what is out of range is drawn to the nearest value that makes sense, as
//! each field says.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many failures open a breaker, how long it stays open, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open a closed breaker. More than 4,194,303 count as that many.
    pub failure_threshold: NonZeroU32,
    /// Probes in a row that must succeed to close a half-open breaker. More than 4,194,303 count as that many.
    pub success_threshold: NonZeroU32,
    /// How long an open breaker lets nobody through, before jitter.
    pub open_for: Duration,
    /// How far, in thousandths of `open_for`, each opening's length may lie from it to either side. More than 1,000
    /// count as 1,000.
    pub jitter_permille: u16,
    /// How long a probe may go without a report before it loses its place. Zero counts as a nanosecond.
    pub probe_timeout: Duration,
}

impl BreakerConfig {
    /// The numbers of the public contract (docs/contract.md §7): 5 failures, 3 successes, 10 s ± 20 %. The contract
    /// sets `probe_timeout` to twice the command timeout, which only the caller knows.
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

//! A [`BreakerConfig`] in the units and bounds of the packed state.

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::state::Rejected;
use crate::word::{BreakerPhase, MAX_COUNT, MAX_NANOS, Word, nanos};

/// Thresholds, and times in nanoseconds.
#[derive(Debug)]
pub(crate) struct BreakerLimits {
    pub(crate) failures: u64,
    pub(crate) successes: u64,
    pub(crate) shortest_open: u64,
    pub(crate) longest_open: u64,
    pub(crate) probe: u64,
}

impl BreakerLimits {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        let open_for = nanos(config.open_for);
        let permille = u128::from(config.jitter_permille.min(1_000));
        let spread = u64::try_from(u128::from(open_for) * permille / 1_000).unwrap_or(open_for);
        Self {
            failures: u64::from(config.failure_threshold.get()).min(MAX_COUNT),
            successes: u64::from(config.success_threshold.get()).min(MAX_COUNT),
            shortest_open: open_for - spread,
            longest_open: open_for.saturating_add(spread).min(MAX_NANOS),
            probe: nanos(config.probe_timeout).max(1),
        }
    }

    /// The rejection for a word whose deadline is not stored yet: it names the latest possible deadline.
    #[cold]
    pub(crate) fn not_yet_known(&self, word: Word) -> Rejected {
        let nanos = if word.phase() == BreakerPhase::Open { self.longest_open } else { self.probe };
        Rejected { retry_after: Duration::from_nanos(nanos.max(1)) }
    }
}

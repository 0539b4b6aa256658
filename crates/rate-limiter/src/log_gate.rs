//! Keeps an outage from filling the log: one line per kind and interval, saying how many it stands for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const EVERY_MS: u64 = 10_000;

/// Lets one line through each 10 s.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    /// When the next may pass, ms of the monotonic clock.
    opens_at: AtomicU64,
    withheld: AtomicU64,
}

impl LogGate {
    /// Whether to log now, and then how many were withheld since the last line.
    pub(crate) fn pass(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let opens_at = self.opens_at.load(Ordering::Relaxed);
        let won = now >= opens_at
            && self
                .opens_at
                .compare_exchange(
                    opens_at,
                    now.saturating_add(EVERY_MS),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            return Some(self.withheld.swap(0, Ordering::Relaxed));
        }
        self.withheld.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_and_it_counts_the_others() {
        let gate = LogGate::default();
        let at = Duration::from_secs;
        assert_eq!(gate.pass(at(0)), Some(0));
        assert_eq!(gate.pass(at(1)), None);
        assert_eq!(gate.pass(at(9)), None);
        assert_eq!(gate.pass(at(10)), Some(2));
        assert_eq!(gate.pass(at(11)), None);
    }
}

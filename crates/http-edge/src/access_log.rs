//! The access log: the requests that are logged, and how many per second at most.
//!
//! A line has the route template, and neither the path, a tag, a key nor an address.

use std::time::Duration;

use parking_lot::Mutex;

/// The most lines per second. So an attack writes at most 2 GB a day.
const LINES_PER_SECOND: u32 = 100;

/// The requests that are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// None. Events with the target `access` and the level `debug` remain, for the log's filter.
    #[default]
    Off,
    /// Those with a status of 400 or more.
    Errors,
    /// All.
    All,
}

/// Bounds the lines of each second.
#[derive(Debug, Default)]
pub(crate) struct LineBudget(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    number: u64,
    lines: u32,
    suppressed: u64,
}

impl LineBudget {
    /// Returns the number of lines that were suppressed since the last line if another may be written at
    /// `now`, a monotonic time, else `None`.
    pub(crate) fn take(&self, now: Duration) -> Option<u64> {
        let mut second = self.0.lock();
        if second.number != now.as_secs() {
            second.number = now.as_secs();
            second.lines = 0;
        }
        if second.lines >= LINES_PER_SECOND {
            second.suppressed += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_second_are_bounded_and_those_suppressed_are_counted() {
        let budget = LineBudget::default();
        let now = Duration::from_millis(7_900);
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(budget.take(now), Some(0));
        }
        assert_eq!((budget.take(now), budget.take(now)), (None, None));
        let later = Duration::from_secs(8);
        assert_eq!((budget.take(later), budget.take(later)), (Some(2), Some(0)));
    }
}

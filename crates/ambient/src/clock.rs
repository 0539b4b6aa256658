//! Clocks: a monotonic reading for deadlines and breakers, a wall-clock reading for timestamps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// A source of time.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The time since an arbitrary origin. It never goes back.
    fn monotonic(&self) -> Duration;
    /// Milliseconds since 1970-01-01T00:00:00Z by the wall clock. It may jump.
    fn unix_millis(&self) -> u64;
    /// The wall clock's time in UTC, in whole milliseconds.
    fn utc(&self) -> OffsetDateTime {
        from_unix_millis(self.unix_millis())
    }
}

/// Unix milliseconds as a date in UTC. A time beyond the year 9999 becomes 1970.
#[must_use]
pub fn from_unix_millis(millis: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The clocks of the operating system.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Creates a clock whose monotonic origin is now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "all other code reads the clock through this type")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "all other code reads the clock through this type")]
    fn unix_millis(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when a test advances it.
///
/// ```
/// use std::time::Duration;
/// use ambient::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.set_unix_millis(1_000);
/// clock.advance(Duration::from_millis(7));
/// assert_eq!((clock.monotonic(), clock.unix_millis()), (Duration::from_millis(7), 1_007));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    monotonic_nanos: AtomicU64,
    unix_millis: AtomicU64,
}

impl ManualClock {
    /// Creates a clock with both readings at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves both readings forward by `by`, the wall-clock reading in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.unix_millis.fetch_add(nanos / 1_000_000, Ordering::SeqCst);
    }

    /// Sets the wall-clock reading, forward or back. The monotonic reading stays.
    pub fn set_unix_millis(&self, millis: u64) {
        self.unix_millis.store(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_nanos.load(Ordering::SeqCst))
    }

    fn unix_millis(&self) -> u64 {
        self.unix_millis.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_advanced() {
        let clock = ManualClock::new();
        clock.set_unix_millis(1_000);
        assert_eq!(clock.monotonic(), Duration::ZERO);
        clock.advance(Duration::from_millis(7));
        assert_eq!(clock.monotonic(), Duration::from_millis(7));
        assert_eq!(clock.unix_millis(), 1_007);
        clock.set_unix_millis(5);
        assert_eq!((clock.unix_millis(), clock.monotonic()), (5, Duration::from_millis(7)));
        assert_eq!(clock.utc(), OffsetDateTime::UNIX_EPOCH + Duration::from_millis(5));
        assert_eq!(from_unix_millis(u64::MAX), OffsetDateTime::UNIX_EPOCH);
    }

    #[test]
    fn system_clock_is_monotonic_and_after_2020() {
        let clock = SystemClock::new();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
        assert!(clock.unix_millis() > 1_577_836_800_000);
    }
}

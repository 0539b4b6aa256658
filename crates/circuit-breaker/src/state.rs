//! What callers read from a breaker: its state, its transitions, and its rejections.

use std::time::Duration;

/// The state of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// No call passes. The state stays `Open` after the open time has ended, until a caller asks to pass.
    Open,
    /// One call at a time passes, as a probe.
    HalfOpen,
}

impl BreakerState {
    /// Returns the state as a metric label: `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The number of transitions to each state since the breaker was created.
///
/// The three counters are read one after another, so one of them can already include a transition that the
/// others do not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transitions {
    /// Transitions to open, from closed or from half-open.
    pub opened: u64,
    /// Transitions from open to half-open. Further probes in the same half-open period are not counted.
    pub half_opened: u64,
    /// Transitions to closed.
    pub closed: u64,
}

/// The breaker does not let the call pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Time until the next probe can pass: until the open time ends or, if a probe is in flight, until that
    /// probe times out. Never zero.
    pub retry_after: Duration,
}

impl Rejected {
    /// `deadline` and `now` in nanoseconds since the origin; `now` is before `deadline`.
    pub(crate) const fn until(deadline: u64, now: u64) -> Self {
        Self { retry_after: Duration::from_nanos(deadline - now) }
    }
}

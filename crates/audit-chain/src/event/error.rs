//! Why an event cannot be built.

use crate::event::limits::MAX_EVENT_BYTES;

/// Why an event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The id is not a UUID of version 7 (RFC 9562).
    #[error("the event id is not a version 7 UUID")]
    IdVersion,
    /// The time is after the year 9999.
    #[error("the event time of {unix_millis} ms lies beyond the year 9999")]
    Time {
        /// The time given, in Unix milliseconds.
        unix_millis: u64,
    },
    /// An integer is outside ±(2^53−1).
    #[error("the integer {0} lies outside ±(2^53−1)")]
    Integer(i128),
    /// The canonical form has more than [`MAX_EVENT_BYTES`].
    #[error("the event has {bytes} bytes of at most {MAX_EVENT_BYTES}")]
    TooLarge {
        /// Length of the canonical form, in bytes.
        bytes: usize,
    },
}

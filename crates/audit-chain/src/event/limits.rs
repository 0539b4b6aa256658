//! Bounds of an event. All of them are part of the public contract (docs/contract.md §8).

/// Most bytes of an event's canonical form.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

/// 2^53 − 1: the largest integer that every JSON reader keeps exact (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// 9999-12-31T23:59:59.999Z in Unix milliseconds: the last instant that RFC 3339 can express.
pub(crate) const MAX_UNIX_MILLIS: u64 = 253_402_300_799_999;

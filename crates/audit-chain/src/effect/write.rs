//! Writes to Redis keys, as data.

use std::time::Duration;

/// Redis stores strings of up to 512 MiB. Half of that bounds the memory that one `SETRANGE` can allocate.
const MAX_STRING_BYTES: u64 = 256 * 1024 * 1024;

/// Longest time to live, in milliseconds: a hundred years, far below what Redis rejects as an invalid expiry.
const MAX_TTL_MS: u64 = 100 * 365 * 86_400_000;

/// Largest absolute score: scores are doubles, which round integers beyond 2^53.
const MAX_SCORE: u64 = 1 << 53;

/// One write to a Redis key. A time to live is at least a millisecond and at most a hundred years.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisWrite {
    /// `SET`: replaces the key, whatever its type, and drops its time to live.
    Set {
        /// Key in Redis.
        key: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// `SET … PX`.
    SetFor {
        /// Key in Redis.
        key: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
        /// Time until the key expires.
        ttl: Duration,
    },
    /// `SETRANGE`.
    SetRange {
        /// Key in Redis.
        key: Vec<u8>,
        /// Offset in bytes, from 0. Missing bytes before it become zero.
        offset: u32,
        /// The bytes to write there.
        bytes: Vec<u8>,
    },
    /// `ZADD`.
    SortedAdd {
        /// Key in Redis.
        key: Vec<u8>,
        /// Score, within ±2^53.
        score: i64,
        /// Member of the set.
        member: Vec<u8>,
    },
    /// `ZREM`.
    SortedRemove {
        /// Key in Redis.
        key: Vec<u8>,
        /// Member of the set.
        member: Vec<u8>,
    },
    /// `HSET`.
    FieldSet {
        /// Key in Redis.
        key: Vec<u8>,
        /// Field of the hash.
        field: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// `HDEL`.
    FieldDelete {
        /// Key in Redis.
        key: Vec<u8>,
        /// Field of the hash.
        field: Vec<u8>,
    },
    /// `DEL`. A later write of the same effect must use the key as the type it had before.
    Delete {
        /// Key in Redis.
        key: Vec<u8>,
    },
    /// `PEXPIRE`.
    Expire {
        /// Key in Redis.
        key: Vec<u8>,
        /// Time until the key expires.
        ttl: Duration,
    },
}

/// The type of key that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    Any,
    String,
    SortedSet,
    Hash,
}

impl RedisWrite {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Set { key, .. }
            | Self::SetFor { key, .. }
            | Self::SetRange { key, .. }
            | Self::SortedAdd { key, .. }
            | Self::SortedRemove { key, .. }
            | Self::FieldSet { key, .. }
            | Self::FieldDelete { key, .. }
            | Self::Delete { key }
            | Self::Expire { key, .. } => key,
        }
    }

    /// Returns whether Redis accepts the command: offset, score and time to live are in range.
    pub(crate) fn is_possible(&self) -> bool {
        let is_valid_ttl = |ttl: &Duration| (1..=u128::from(MAX_TTL_MS)).contains(&ttl.as_millis());
        match self {
            Self::SetFor { ttl, .. } | Self::Expire { ttl, .. } => is_valid_ttl(ttl),
            Self::SetRange { offset, bytes, .. } => {
                u64::from(*offset) + bytes.len() as u64 <= MAX_STRING_BYTES
            }
            Self::SortedAdd { score, .. } => score.unsigned_abs() <= MAX_SCORE,
            _ => true,
        }
    }

    /// Passes the command for this write to `push`, name first, one argument at a time.
    pub(crate) fn encode(&self, mut push: impl FnMut(&[u8])) {
        let mut all = |arguments: &[&[u8]]| arguments.iter().for_each(|argument| push(argument));
        let ms = |ttl: &Duration| ttl.as_millis().to_string().into_bytes();
        match self {
            Self::Set { key, value } => all(&[b"SET", key, value]),
            Self::SetFor { key, value, ttl } => all(&[b"SET", key, value, b"PX", &ms(ttl)]),
            Self::SetRange { key, offset, bytes } => {
                all(&[b"SETRANGE", key, offset.to_string().as_bytes(), bytes])
            }
            Self::SortedAdd { key, score, member } => {
                all(&[b"ZADD", key, score.to_string().as_bytes(), member])
            }
            Self::SortedRemove { key, member } => all(&[b"ZREM", key, member]),
            Self::FieldSet { key, field, value } => all(&[b"HSET", key, field, value]),
            Self::FieldDelete { key, field } => all(&[b"HDEL", key, field]),
            Self::Delete { key } => all(&[b"DEL", key]),
            Self::Expire { key, ttl } => all(&[b"PEXPIRE", key, &ms(ttl)]),
        }
    }

    /// Returns the number of arguments that [`Self::encode`] passes, the command's name included.
    pub(crate) fn arguments(&self) -> usize {
        let mut arguments = 0;
        self.encode(|_| arguments += 1);
        arguments
    }

    /// Returns the length of all arguments, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.encode(|argument| bytes += argument.len());
        bytes
    }

    /// Returns the type of key that the command needs.
    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Set { .. } | Self::SetFor { .. } | Self::SetRange { .. } => KeyType::String,
            Self::SortedAdd { .. } | Self::SortedRemove { .. } => KeyType::SortedSet,
            Self::FieldSet { .. } | Self::FieldDelete { .. } => KeyType::Hash,
            Self::Delete { .. } | Self::Expire { .. } => KeyType::Any,
        }
    }
}

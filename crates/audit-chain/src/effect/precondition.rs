//! Conditions on Redis keys that must hold for an effect, or for every append.

/// A condition on one Redis key that must hold before anything is written.
///
/// A key of another type than the condition reads does not satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent {
        /// Key in Redis.
        key: Vec<u8>,
    },
    /// The string at the key equals `value`.
    Equals {
        /// Key in Redis.
        key: Vec<u8>,
        /// The expected bytes.
        value: Vec<u8>,
    },
    /// The string at the key begins with `prefix`.
    Prefix {
        /// Key in Redis.
        key: Vec<u8>,
        /// The expected first bytes.
        prefix: Vec<u8>,
    },
    /// The byte at `offset` of the string differs from `byte`. A byte beyond the end reads as zero, as
    /// `SETRANGE` pads.
    ByteNot {
        /// Key in Redis.
        key: Vec<u8>,
        /// Offset in bytes, from 0.
        offset: u32,
        /// The byte that must not be there.
        byte: u8,
    },
    /// The field of the hash at the key equals `value`.
    FieldEquals {
        /// Key in Redis.
        key: Vec<u8>,
        /// Field of the hash.
        field: Vec<u8>,
        /// The expected bytes.
        value: Vec<u8>,
    },
    /// The hash at the key has no such field, or the key does not exist.
    FieldAbsent {
        /// Key in Redis.
        key: Vec<u8>,
        /// Field of the hash.
        field: Vec<u8>,
    },
    /// The sorted set at the key has fewer than `members` members, counting those that earlier entries of the
    /// same call add. A missing key is an empty set.
    FewerThan {
        /// Key in Redis.
        key: Vec<u8>,
        /// The number of members that must not be reached.
        members: u32,
    },
}

impl Precondition {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Absent { key }
            | Self::Equals { key, .. }
            | Self::Prefix { key, .. }
            | Self::ByteNot { key, .. }
            | Self::FieldEquals { key, .. }
            | Self::FieldAbsent { key, .. }
            | Self::FewerThan { key, .. } => key,
        }
    }

    /// Passes the script's arguments for this condition to `push`, one by one.
    pub(crate) fn encode(&self, mut push: impl FnMut(&[u8])) {
        let (name, key): (&[u8], _) = match self {
            Self::Absent { key } => (b"absent", key),
            Self::Equals { key, .. } => (b"equals", key),
            Self::Prefix { key, .. } => (b"prefix", key),
            Self::ByteNot { key, .. } => (b"byte_not", key),
            Self::FieldEquals { key, .. } => (b"hfield_equals", key),
            Self::FieldAbsent { key, .. } => (b"hfield_absent", key),
            Self::FewerThan { key, .. } => (b"zcard_below", key),
        };
        push(name);
        push(key);
        match self {
            Self::Absent { .. } => {}
            Self::Equals { value, .. } => push(value),
            Self::Prefix { prefix, .. } => push(prefix),
            Self::ByteNot { offset, byte, .. } => {
                push(offset.to_string().as_bytes());
                push(&[*byte]);
            }
            Self::FieldEquals { field, value, .. } => {
                push(field);
                push(value);
            }
            Self::FieldAbsent { field, .. } => push(field),
            Self::FewerThan { members, .. } => push(members.to_string().as_bytes()),
        }
    }

    /// Returns the length of all arguments, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.encode(|argument| bytes += argument.len());
        bytes
    }
}

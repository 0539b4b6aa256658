//! The state change that is written together with an event: preconditions and writes as data, so that this crate knows
//! nothing of what they mean and one script serves every caller.
//!
//! Everything that could make Redis refuse a write half way is refused before: [`Effect::validate`] bounds sizes, numbers
//! and times, and the script looks at the type of each key first. Lua does not roll back, so nothing may fail after the
//! first write.

pub(crate) mod conflict;

use crate::effect::conflict::Kind;
use std::collections::HashMap;
use std::time::Duration;

/// Most checks and writes of one effect together.
pub const MAX_EFFECT_STEPS: usize = 512;

/// Most bytes of keys and values of one effect together.
pub const MAX_EFFECT_BYTES: usize = 256 * 1024;

/// Redis holds strings of up to 512 MiB; half of it bounds what one `SETRANGE` can make it allocate.
const MAX_STRING_BYTES: u64 = 256 * 1024 * 1024;

/// The longest time to live, a hundred years, far below where Redis calls an expiry invalid.
const MAX_TTL_MS: u64 = 100 * 365 * 86_400_000;

/// Sorted-set scores are doubles: integers beyond 2^53 would be rounded.
const MAX_SCORE: u64 = 1 << 53;

/// Something that must hold before a write. A key of another type than the check reads fails the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent {
        /// The key.
        key: Vec<u8>,
    },
    /// The string at the key is exactly this.
    Equals {
        /// The key.
        key: Vec<u8>,
        /// The bytes wanted.
        value: Vec<u8>,
    },
    /// The string at the key begins with this.
    Prefix {
        /// The key.
        key: Vec<u8>,
        /// The bytes wanted at the beginning.
        prefix: Vec<u8>,
    },
    /// The byte at this offset of the string is another one. A byte that is not there reads as zero, as `SETRANGE` pads.
    ByteNot {
        /// The key.
        key: Vec<u8>,
        /// From 0.
        offset: u32,
        /// The byte not wanted.
        byte: u8,
    },
    /// The field of the hash at the key is exactly this.
    FieldEquals {
        /// The key.
        key: Vec<u8>,
        /// The field.
        field: Vec<u8>,
        /// The bytes wanted.
        value: Vec<u8>,
    },
    /// The hash at the key has no such field, or there is no hash.
    FieldAbsent {
        /// The key.
        key: Vec<u8>,
        /// The field.
        field: Vec<u8>,
    },
    /// The sorted set at the key has fewer members than this, those counted that entries before this one in the same call add. The
    /// key not being there is a set without members.
    FewerThan {
        /// The key.
        key: Vec<u8>,
        /// The least number of members not wanted.
        members: u32,
    },
}

/// One write. Times to live are at least a millisecond and at most a hundred years.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisWrite {
    /// `SET`: whatever the key held is replaced, a time to live is dropped.
    Set {
        /// The key.
        key: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// `SET … PX`.
    SetFor {
        /// The key.
        key: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
        /// Until it expires.
        ttl: Duration,
    },
    /// `SETRANGE`.
    SetRange {
        /// The key.
        key: Vec<u8>,
        /// From 0; bytes before it that are not there become zero.
        offset: u32,
        /// What is written there.
        bytes: Vec<u8>,
    },
    /// `ZADD`.
    SortedAdd {
        /// The key.
        key: Vec<u8>,
        /// Within ±2^53.
        score: i64,
        /// The member.
        member: Vec<u8>,
    },
    /// `ZREM`.
    SortedRemove {
        /// The key.
        key: Vec<u8>,
        /// The member.
        member: Vec<u8>,
    },
    /// `HSET`.
    FieldSet {
        /// The key.
        key: Vec<u8>,
        /// The field.
        field: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// `HDEL`.
    FieldDelete {
        /// The key.
        key: Vec<u8>,
        /// The field.
        field: Vec<u8>,
    },
    /// `DEL`. A later write of the same effect must take the key for the type it had before.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// `PEXPIRE`.
    Expire {
        /// The key.
        key: Vec<u8>,
        /// Until it expires.
        ttl: Duration,
    },
}

/// What is written together with an event, and what must hold for it. Checks are asked in order; the first that fails is
/// named. They see the state before any write of the same effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// What must hold.
    pub checks: Vec<Precondition>,
    /// What is written.
    pub writes: Vec<RedisWrite>,
}

/// Why an effect cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// Too many steps or bytes.
    #[error("an effect may have {MAX_EFFECT_STEPS} steps and {MAX_EFFECT_BYTES} bytes")]
    TooLarge,
    /// An offset, score or time to live out of range, or one key written as two types.
    #[error("write {write} of the effect can never be carried out")]
    Impossible {
        /// Which write, from 0.
        write: usize,
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

    /// Gives the script's words for this check to `push`.
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

    fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.encode(|word| bytes += word.len());
        bytes
    }
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

    fn is_possible(&self) -> bool {
        let lasts = |ttl: &Duration| (1..=u128::from(MAX_TTL_MS)).contains(&ttl.as_millis());
        match self {
            Self::SetFor { ttl, .. } | Self::Expire { ttl, .. } => lasts(ttl),
            Self::SetRange { offset, bytes, .. } => {
                u64::from(*offset) + bytes.len() as u64 <= MAX_STRING_BYTES
            }
            Self::SortedAdd { score, .. } => score.unsigned_abs() <= MAX_SCORE,
            _ => true,
        }
    }

    /// Gives the command for this write to `push`, word by word, its name first.
    pub(crate) fn encode(&self, mut push: impl FnMut(&[u8])) {
        let mut all = |words: &[&[u8]]| words.iter().for_each(|word| push(word));
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

    /// How many words [`Self::encode`] gives.
    pub(crate) fn words(&self) -> usize {
        let mut words = 0;
        self.encode(|_| words += 1);
        words
    }

    fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.encode(|word| bytes += word.len());
        bytes
    }
}

impl Effect {
    /// An effect that checks and writes nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { checks: Vec::new(), writes: Vec::new() }
    }

    /// The same effect and one more check.
    #[must_use]
    pub fn check(mut self, check: Precondition) -> Self {
        self.checks.push(check);
        self
    }

    /// The same effect and one more write.
    #[must_use]
    pub fn write(mut self, write: RedisWrite) -> Self {
        self.writes.push(write);
        self
    }

    /// Whether there is nothing to check and nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.writes.is_empty()
    }

    /// The bytes of all its words.
    pub(crate) fn bytes(&self) -> usize {
        self.checks.iter().map(Precondition::bytes).sum::<usize>()
            + self.writes.iter().map(RedisWrite::bytes).sum::<usize>()
    }

    /// Whether the script will be able to carry it out, whatever the keys hold.
    ///
    /// # Errors
    /// See [`EffectError`].
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.checks.len() + self.writes.len() > MAX_EFFECT_STEPS || self.bytes() > MAX_EFFECT_BYTES {
            return Err(EffectError::TooLarge);
        }
        let mut kinds = HashMap::new();
        for (write, step) in self.writes.iter().enumerate() {
            let one_kind =
                step.kind() == Kind::Any || *kinds.entry(step.key()).or_insert(step.kind()) == step.kind();
            if !step.is_possible() || !one_kind {
                return Err(EffectError::Impossible { write });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(encode: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<String> {
        let mut words = Vec::new();
        encode(&mut |word: &[u8]| words.push(String::from_utf8_lossy(word).into_owned()));
        words
    }

    fn set_range(offset: u32, bytes: &[u8]) -> Effect {
        Effect::none().write(RedisWrite::SetRange { key: "k".into(), offset, bytes: bytes.into() })
    }

    fn field_set(field: &str) -> Effect {
        Effect::none().write(RedisWrite::FieldSet { key: "k".into(), field: field.into(), value: "v".into() })
    }

    #[test]
    fn steps_are_encoded_as_the_script_reads_them() {
        let check = Precondition::ByteNot { key: "k".into(), offset: 70, byte: b'x' };
        assert_eq!(words(|push| check.encode(push)), ["byte_not", "k", "70", "x"]);
        let write = RedisWrite::SetFor { key: "k".into(), value: "v".into(), ttl: Duration::from_secs(2) };
        assert_eq!(words(|push| write.encode(push)), ["SET", "k", "v", "PX", "2000"]);
        let write = RedisWrite::SortedAdd { key: "k".into(), score: -5, member: "m".into() };
        assert_eq!(words(|push| write.encode(push)), ["ZADD", "k", "-5", "m"]);
    }

    #[test]
    fn an_effect_that_redis_would_refuse_half_way_is_refused_before() {
        let key = || b"k".to_vec();
        let impossible = [
            RedisWrite::Expire { key: key(), ttl: Duration::ZERO },
            RedisWrite::Expire { key: key(), ttl: Duration::MAX },
            RedisWrite::SetRange { key: key(), offset: u32::MAX, bytes: vec![1] },
            RedisWrite::SortedAdd { key: key(), score: i64::MAX, member: vec![1] },
        ];
        for write in impossible {
            assert_eq!(Effect::none().write(write).validate(), Err(EffectError::Impossible { write: 0 }));
        }
        let mut two_types = field_set("f");
        two_types.writes.push(RedisWrite::Set { key: key(), value: vec![] });
        assert_eq!(two_types.validate(), Err(EffectError::Impossible { write: 1 }));
        assert_eq!(set_range(0, &vec![0; MAX_EFFECT_BYTES]).validate(), Err(EffectError::TooLarge));
        let many = (0..=MAX_EFFECT_STEPS)
            .fold(Effect::none(), |effect, _| effect.write(RedisWrite::Delete { key: key() }));
        assert_eq!(many.validate(), Err(EffectError::TooLarge));
    }
}

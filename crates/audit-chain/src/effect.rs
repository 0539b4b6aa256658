//! The state change that is written together with an event: preconditions and writes, as data.
//!
//! This crate does not know what an effect means; one script carries out all of them. Lua does not roll back,
//! so nothing may fail after the first write: [`Effect::validate`] bounds sizes, numbers and times, and the
//! script tests the type of every key before it writes.
//!
//! - [`precondition`]: conditions on keys.
//! - [`mod@write`]: the writes.
//! - [`conflict`]: which effects may share one script call.

pub(crate) mod conflict;
pub(crate) mod precondition;
pub(crate) mod write;

use self::precondition::Precondition;
use self::write::{KeyType, RedisWrite};
use std::collections::HashMap;

/// Most preconditions and writes of one effect, together.
pub const MAX_EFFECT_STEPS: usize = 512;

/// Most bytes of keys and values of one effect, together.
pub const MAX_EFFECT_BYTES: usize = 256 * 1024;

/// The state change that is written together with an event, and the preconditions for it.
///
/// Preconditions are tested in order, and the first that fails is reported. They see the state before any
/// write of the same effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// Conditions that must hold.
    pub checks: Vec<Precondition>,
    /// Writes, in order.
    pub writes: Vec<RedisWrite>,
}

/// Why an effect is rejected before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// It has more than [`MAX_EFFECT_STEPS`] or [`MAX_EFFECT_BYTES`].
    #[error("an effect may have {MAX_EFFECT_STEPS} steps and {MAX_EFFECT_BYTES} bytes")]
    TooLarge,
    /// An offset, a score or a time to live is out of range, or one key is written as two types.
    #[error("write {write} of the effect can never be carried out")]
    Impossible {
        /// Index of the write, from 0.
        write: usize,
    },
}

impl Effect {
    /// Makes an effect without preconditions and writes.
    #[must_use]
    pub const fn none() -> Self {
        Self { checks: Vec::new(), writes: Vec::new() }
    }

    /// Adds a precondition.
    #[must_use]
    pub fn check(mut self, check: Precondition) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: RedisWrite) -> Self {
        self.writes.push(write);
        self
    }

    /// Returns whether the effect has no preconditions and no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.writes.is_empty()
    }

    /// Returns the length of all arguments for the script, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.checks.iter().map(Precondition::bytes).sum::<usize>()
            + self.writes.iter().map(RedisWrite::bytes).sum::<usize>()
    }

    /// Checks that the script can carry the effect out, whatever the keys hold.
    ///
    /// # Errors
    /// [`EffectError`] when it cannot.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.checks.len() + self.writes.len() > MAX_EFFECT_STEPS || self.bytes() > MAX_EFFECT_BYTES {
            return Err(EffectError::TooLarge);
        }
        let mut types = HashMap::new();
        for (write, step) in self.writes.iter().enumerate() {
            let key_type = step.key_type();
            let is_same_type =
                key_type == KeyType::Any || *types.entry(step.key()).or_insert(key_type) == key_type;
            if !step.is_possible() || !is_same_type {
                return Err(EffectError::Impossible { write });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn arguments(encode: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<String> {
        let mut arguments = Vec::new();
        encode(&mut |argument: &[u8]| arguments.push(String::from_utf8_lossy(argument).into_owned()));
        arguments
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
        assert_eq!(arguments(|push| check.encode(push)), ["byte_not", "k", "70", "x"]);
        let write = RedisWrite::SetFor { key: "k".into(), value: "v".into(), ttl: Duration::from_secs(2) };
        assert_eq!(arguments(|push| write.encode(push)), ["SET", "k", "v", "PX", "2000"]);
        let write = RedisWrite::SortedAdd { key: "k".into(), score: -5, member: "m".into() };
        assert_eq!(arguments(|push| write.encode(push)), ["ZADD", "k", "-5", "m"]);
    }

    #[test]
    fn an_effect_that_redis_would_reject_half_way_is_rejected_before_it_is_sent() {
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

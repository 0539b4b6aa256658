//! Which effects may share one script call.
//!
//! The script tests all preconditions of a call before its first write. An entry whose precondition reads
//! what an earlier entry writes therefore has to wait for the next call.

use crate::effect::Effect;
use crate::effect::precondition::Precondition;
use crate::effect::write::{KeyType, RedisWrite};
use std::collections::HashMap;

/// The part of a key that a precondition reads or a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyPart<'a> {
    Whole,
    Bytes {
        from: u64,
        to: u64,
    },
    Field(&'a [u8]),
    /// One more member of a sorted set.
    OneMore,
    /// The number of members of a sorted set. The script counts those that earlier entries of the same call
    /// add.
    Count,
}

impl KeyPart<'_> {
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (KeyPart::Bytes { from, to }, KeyPart::Bytes { from: other_from, to: other_to }) => {
                from < other_to && other_from < to
            }
            (KeyPart::Field(field), KeyPart::Field(other)) => field == other,
            (KeyPart::OneMore, KeyPart::Count) => false,
            _ => true,
        }
    }
}

impl Precondition {
    fn part(&self) -> KeyPart<'_> {
        match self {
            Self::ByteNot { offset, .. } => {
                KeyPart::Bytes { from: u64::from(*offset), to: u64::from(*offset) + 1 }
            }
            Self::FieldEquals { field, .. } | Self::FieldAbsent { field, .. } => KeyPart::Field(field),
            Self::Absent { .. } | Self::Equals { .. } => KeyPart::Whole,
            Self::FewerThan { .. } => KeyPart::Count,
            Self::Prefix { prefix, .. } => KeyPart::Bytes { from: 0, to: prefix.len() as u64 },
        }
    }
}

impl RedisWrite {
    fn part(&self) -> KeyPart<'_> {
        match self {
            Self::SetRange { offset, bytes, .. } => {
                KeyPart::Bytes { from: u64::from(*offset), to: u64::from(*offset) + bytes.len() as u64 }
            }
            Self::FieldSet { field, .. } | Self::FieldDelete { field, .. } => KeyPart::Field(field),
            Self::SortedAdd { .. } => KeyPart::OneMore,
            _ => KeyPart::Whole,
        }
    }
}

/// What the entries of one call write so far.
#[derive(Debug, Default)]
pub(crate) struct WriteSet<'a>(HashMap<&'a [u8], Vec<(KeyPart<'a>, KeyType)>>);

impl<'a> WriteSet<'a> {
    /// Adds an effect and returns true. Returns false, and adds nothing, if one of its preconditions reads a
    /// part that is written already, or if it writes a key as another type.
    pub(crate) fn admit(&mut self, effect: &'a Effect) -> bool {
        let reads_written = |check: &Precondition| {
            self.0
                .get(check.key())
                .is_some_and(|parts| parts.iter().any(|(part, _)| part.overlaps(check.part())))
        };
        let has_other_type = |write: &RedisWrite| {
            self.0
                .get(write.key())
                .is_some_and(|parts| parts.iter().any(|(_, key_type)| *key_type != write.key_type()))
        };
        if effect.checks.iter().any(reads_written) || effect.writes.iter().any(has_other_type) {
            return false;
        }
        for write in &effect.writes {
            self.0.entry(write.key()).or_default().push((write.part(), write.key_type()));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte_not(offset: u32) -> Effect {
        Effect::none().check(Precondition::ByteNot { key: "k".into(), offset, byte: 1 })
    }

    fn set_range(offset: u32, bytes: &[u8]) -> Effect {
        Effect::none().write(RedisWrite::SetRange { key: "k".into(), offset, bytes: bytes.into() })
    }

    fn field_set(field: &str) -> Effect {
        Effect::none().write(RedisWrite::FieldSet { key: "k".into(), field: field.into(), value: "v".into() })
    }

    #[test]
    fn only_a_precondition_on_what_an_earlier_entry_writes_has_to_wait() {
        let (first, same, near) = (set_range(8, &[1, 1]), byte_not(9), byte_not(10));
        let mut written = WriteSet::default();
        assert!(written.admit(&same), "a precondition alone delays nothing");
        assert!(written.admit(&first) && written.admit(&first) && written.admit(&near));
        assert!(!written.admit(&same));
        let absent = Effect::none().check(Precondition::Absent { key: "k".into() });
        assert!(!written.admit(&absent));
        let elsewhere = Effect::none().check(Precondition::Absent { key: "other".into() });
        assert!(written.admit(&elsewhere));
    }

    #[test]
    fn fields_of_one_hash_do_not_delay_each_other() {
        let (a, b) = (field_set("a"), field_set("b"));
        let absent = |field: &str| {
            Effect::none().check(Precondition::FieldAbsent { key: "k".into(), field: field.into() })
        };
        let (absent_b, absent_a) = (absent("b"), absent("a"));
        let mut written = WriteSet::default();
        assert!(written.admit(&a) && written.admit(&absent_b) && written.admit(&b));
        assert!(!written.admit(&absent_a) && !written.admit(&absent_b));
    }

    #[test]
    fn added_members_do_not_delay_a_count_but_removed_ones_do() {
        let key = || b"k".to_vec();
        let added =
            Effect::none().write(RedisWrite::SortedAdd { key: key(), score: 0, member: b"m".to_vec() });
        let removed = Effect::none().write(RedisWrite::SortedRemove { key: key(), member: b"m".to_vec() });
        let counted = Effect::none().check(Precondition::FewerThan { key: key(), members: 2 });
        let absent = Effect::none().check(Precondition::Absent { key: key() });
        let mut written = WriteSet::default();
        assert!(written.admit(&added) && written.admit(&counted) && !written.admit(&absent));
        assert!(written.admit(&removed) && !written.admit(&counted));
    }

    #[test]
    fn one_key_is_never_written_as_two_types_in_one_call() {
        let (text, fields) = (set_range(0, &[1]), field_set("a"));
        let mut written = WriteSet::default();
        assert!(written.admit(&text) && !written.admit(&fields));
    }
}

//! Which effects can share one script call: all checks of a call are asked before its first write, so an entry that checks what
//! one before it writes has to wait for the next call, and the order of arrival is kept. Pure; admitting or not is all it does.

use crate::effect::{Effect, Precondition, RedisWrite};
use std::collections::HashMap;

/// The part of a key that a step reads or writes: what must not be checked after an earlier entry of the same call has
/// written it, since the script asks all checks before the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Whole,
    Bytes {
        from: u64,
        to: u64,
    },
    Field(&'a [u8]),
    /// That a sorted set gets one more member.
    OneMore,
    /// How many members a sorted set has: the script counts what entries before it in the same call add.
    Count,
}

impl Part<'_> {
    fn touches(self, other: Self) -> bool {
        match (self, other) {
            (Part::Bytes { from, to }, Part::Bytes { from: other_from, to: other_to }) => {
                from < other_to && other_from < to
            }
            (Part::Field(field), Part::Field(other)) => field == other,
            (Part::OneMore, Part::Count) => false,
            _ => true,
        }
    }
}

impl Precondition {
    pub(crate) fn part(&self) -> Part<'_> {
        match self {
            Self::ByteNot { offset, .. } => {
                Part::Bytes { from: u64::from(*offset), to: u64::from(*offset) + 1 }
            }
            Self::FieldEquals { field, .. } | Self::FieldAbsent { field, .. } => Part::Field(field),
            Self::Absent { .. } | Self::Equals { .. } => Part::Whole,
            Self::FewerThan { .. } => Part::Count,
            Self::Prefix { prefix, .. } => Part::Bytes { from: 0, to: prefix.len() as u64 },
        }
    }
}

/// What a write takes the key for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Text,
    Sorted,
    Fields,
}

impl RedisWrite {
    pub(crate) fn part(&self) -> Part<'_> {
        match self {
            Self::SetRange { offset, bytes, .. } => {
                Part::Bytes { from: u64::from(*offset), to: u64::from(*offset) + bytes.len() as u64 }
            }
            Self::FieldSet { field, .. } | Self::FieldDelete { field, .. } => Part::Field(field),
            Self::SortedAdd { .. } => Part::OneMore,
            _ => Part::Whole,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Set { .. } | Self::SetFor { .. } | Self::SetRange { .. } => Kind::Text,
            Self::SortedAdd { .. } | Self::SortedRemove { .. } => Kind::Sorted,
            Self::FieldSet { .. } | Self::FieldDelete { .. } => Kind::Fields,
            Self::Delete { .. } | Self::Expire { .. } => Kind::Any,
        }
    }
}

/// What the entries taken into one call write, to find the first that has to wait for the next call.
#[derive(Debug, Default)]
pub(crate) struct Written<'a>(HashMap<&'a [u8], Vec<(Part<'a>, Kind)>>);

impl<'a> Written<'a> {
    /// Takes `effect` in, unless it checks what is written already, or writes a key as another type.
    pub(crate) fn admit(&mut self, effect: &'a Effect) -> bool {
        let read = |check: &Precondition| {
            self.0
                .get(check.key())
                .is_some_and(|parts| parts.iter().any(|(part, _)| part.touches(check.part())))
        };
        let clashes = |write: &RedisWrite| {
            self.0.get(write.key()).is_some_and(|parts| parts.iter().any(|(_, kind)| *kind != write.kind()))
        };
        if effect.checks.iter().any(read) || effect.writes.iter().any(clashes) {
            return false;
        }
        for write in &effect.writes {
            self.0.entry(write.key()).or_default().push((write.part(), write.kind()));
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
    fn only_a_check_of_what_an_earlier_entry_writes_has_to_wait() {
        let (first, same, near) = (set_range(8, &[1, 1]), byte_not(9), byte_not(10));
        let mut written = Written::default();
        assert!(written.admit(&same), "a check alone holds nobody up");
        assert!(written.admit(&first) && written.admit(&first) && written.admit(&near));
        assert!(!written.admit(&same));
        let absent = Effect::none().check(Precondition::Absent { key: "k".into() });
        assert!(!written.admit(&absent));
        let elsewhere = Effect::none().check(Precondition::Absent { key: "other".into() });
        assert!(written.admit(&elsewhere));
    }

    #[test]
    fn fields_of_one_hash_do_not_hold_each_other_up() {
        let (a, b) = (field_set("a"), field_set("b"));
        let absent = |field: &str| {
            Effect::none().check(Precondition::FieldAbsent { key: "k".into(), field: field.into() })
        };
        let (absent_b, absent_a) = (absent("b"), absent("a"));
        let mut written = Written::default();
        assert!(written.admit(&a) && written.admit(&absent_b) && written.admit(&b));
        assert!(!written.admit(&absent_a) && !written.admit(&absent_b));
    }

    #[test]
    fn members_added_before_hold_a_count_up_only_where_they_are_taken_away() {
        let key = || b"k".to_vec();
        let added =
            Effect::none().write(RedisWrite::SortedAdd { key: key(), score: 0, member: b"m".to_vec() });
        let removed = Effect::none().write(RedisWrite::SortedRemove { key: key(), member: b"m".to_vec() });
        let counted = Effect::none().check(Precondition::FewerThan { key: key(), members: 2 });
        let absent = Effect::none().check(Precondition::Absent { key: key() });
        let mut written = Written::default();
        assert!(written.admit(&added) && written.admit(&counted) && !written.admit(&absent));
        assert!(written.admit(&removed) && !written.admit(&counted));
    }

    #[test]
    fn one_key_is_never_written_as_two_types_in_one_call() {
        let (text, fields) = (set_range(0, &[1]), field_set("a"));
        let mut written = Written::default();
        assert!(written.admit(&text) && !written.admit(&fields));
    }
}

//! A patch of an optional field, as in JSON merge patch (RFC 7396).

use serde::{Deserialize, Deserializer};

/// What a patch does to an optional field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum FieldPatch<T> {
    /// The member is absent.
    #[default]
    Keep,
    /// The member is null.
    Remove,
    /// The member holds a value.
    Set(T),
}

impl<T: PartialEq> FieldPatch<T> {
    pub(crate) fn is_keep(&self) -> bool {
        *self == Self::Keep
    }

    /// Applies the patch. Returns whether `field` changed.
    pub(crate) fn apply_to(self, field: &mut Option<T>) -> bool {
        let patched = match self {
            Self::Keep => return false,
            Self::Remove => None,
            Self::Set(value) => Some(value),
        };
        let changed = *field != patched;
        *field = patched;
        changed
    }
}

impl<T> FieldPatch<T> {
    /// Converts the new value, if there is one.
    ///
    /// # Errors
    /// The error of `convert`.
    pub(crate) fn try_map<U, E>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Result<FieldPatch<U>, E> {
        Ok(match self {
            Self::Keep => FieldPatch::Keep,
            Self::Remove => FieldPatch::Remove,
            Self::Set(value) => FieldPatch::Set(convert(value)?),
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldPatch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Remove, Self::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Patch {
        #[serde(default)]
        field: FieldPatch<u8>,
    }

    #[test]
    fn an_absent_member_keeps_null_removes_and_a_value_replaces() {
        for (json, patch, from_one, from_none) in [
            ("{}", FieldPatch::Keep, Some(1), None),
            (r#"{"field":null}"#, FieldPatch::Remove, None, None),
            (r#"{"field":2}"#, FieldPatch::Set(2), Some(2), Some(2)),
        ] {
            let read = serde_json::from_str::<Patch>(json).unwrap().field;
            assert_eq!(read, patch, "{json}");
            assert_eq!(read.is_keep(), patch == FieldPatch::Keep);
            for (before, after) in [(Some(1), from_one), (None, from_none)] {
                let mut field = before;
                assert_eq!(read.clone().apply_to(&mut field), before != after, "{json} on {before:?}");
                assert_eq!(field, after, "{json} on {before:?}");
            }
        }
        assert!(serde_json::from_str::<Patch>(r#"{"field":"x"}"#).is_err());
    }

    #[test]
    fn only_a_new_value_is_converted() {
        let fail = |_: u8| Err::<u8, _>("fault");
        assert_eq!(FieldPatch::Keep.try_map(fail), Ok(FieldPatch::Keep));
        assert_eq!(FieldPatch::Remove.try_map(fail), Ok(FieldPatch::Remove));
        assert_eq!(FieldPatch::Set(1).try_map(fail), Err("fault"));
        assert_eq!(FieldPatch::Set(1).try_map(|value| Ok::<_, ()>(value + 1)), Ok(FieldPatch::Set(2)));
    }
}

//! The `details` of an event: a flat map of strings, booleans, integers and nulls, in canonical order.

use crate::event::error::EventError;
use crate::event::json::utf16_order;
use crate::event::limits::MAX_SAFE_INTEGER;

/// An integer within ±(2^53−1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeInt(i64);

impl SafeInt {
    /// Makes one of a value that the reader has bounded already.
    pub(crate) const fn from_bounded(value: i64) -> Self {
        Self(value)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for SafeInt {
    type Error = EventError;

    fn try_from(value: i64) -> Result<Self, EventError> {
        if value.unsigned_abs() > MAX_SAFE_INTEGER.unsigned_abs() {
            return Err(EventError::Integer(value.into()));
        }
        Ok(Self(value))
    }
}

impl TryFrom<u64> for SafeInt {
    type Error = EventError;

    fn try_from(value: u64) -> Result<Self, EventError> {
        i64::try_from(value).map_err(|_| EventError::Integer(value.into()))?.try_into()
    }
}

/// A value in an event's `details`. There are no floats, because JSON readers disagree on their text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetailValue {
    /// A string.
    Str(String),
    /// A boolean.
    Bool(bool),
    /// Null.
    Null,
    /// An integer within ±(2^53−1).
    Int(SafeInt),
}

impl From<&str> for DetailValue {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for DetailValue {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<bool> for DetailValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for DetailValue {
    fn from(value: u32) -> Self {
        Self::Int(SafeInt(value.into()))
    }
}

impl From<i32> for DetailValue {
    fn from(value: i32) -> Self {
        Self::Int(SafeInt(value.into()))
    }
}

impl From<SafeInt> for DetailValue {
    fn from(value: SafeInt) -> Self {
        Self::Int(value)
    }
}

impl<T: Into<DetailValue>> From<Option<T>> for DetailValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The `details` of an event: a flat map whose keys are in canonical order (by UTF-16 code units).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details(Vec<(String, DetailValue)>);

impl Details {
    /// Makes an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes a map of pairs that are in canonical order already, each key once.
    pub(crate) const fn from_ordered(pairs: Vec<(String, DetailValue)>) -> Self {
        Self(pairs)
    }

    /// Adds one detail. A key given twice keeps the later value.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<DetailValue>) -> Self {
        self.insert(key, value);
        self
    }

    /// Inserts one detail and returns the value that the key held before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<DetailValue>) -> Option<DetailValue> {
        let (key, value) = (key.into(), value.into());
        match self.0.binary_search_by(|(other, _)| utf16_order(other, &key)) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&DetailValue> {
        let at = self.0.binary_search_by(|(other, _)| utf16_order(other, key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Iterates over keys and values in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &DetailValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl<K: Into<String>, V: Into<DetailValue>> FromIterator<(K, V)> for Details {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |details, (key, value)| details.with(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_2_to_the_53_are_rejected() {
        assert!(SafeInt::try_from(MAX_SAFE_INTEGER).is_ok() && SafeInt::try_from(-MAX_SAFE_INTEGER).is_ok());
        assert!(SafeInt::try_from(MAX_SAFE_INTEGER + 1).is_err() && SafeInt::try_from(i64::MIN).is_err());
        assert!(SafeInt::try_from(u64::MAX).is_err());
    }
}

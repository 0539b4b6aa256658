//! The name of a tenant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, bytes: it stands in keys, and its length in one byte of a key's record.
const LONGEST: usize = 32;

/// A text that is no tenant id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tenant id: it takes 1 to 32 of the characters a-z 0-9 -, the first and the last no -")]
pub struct NotATenantId;

/// 1 to 32 of `a-z 0-9 -`, neither beginning nor ending with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TenantId(String);

impl TenantId {
    /// What an id matches, as a regular expression.
    pub const PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$";

    /// The tenant that every deployment has from the start: it needs no record, is always active and cannot be suspended.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// Whether it is that one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = NotATenantId;

    fn from_str(text: &str) -> Result<Self, NotATenantId> {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(sound)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good { Ok(Self(text.to_owned())) } else { Err(NotATenantId) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pattern_says_what_the_code_takes(text in "[a-z09Aé\\-\n]{0,34}") {
            let pattern = regex::Regex::new(TenantId::PATTERN).unwrap();
            prop_assert_eq!(text.parse::<TenantId>().is_ok(), pattern.is_match(&text));
        }
    }

    #[test]
    fn ids_are_short_plain_names() {
        let longest = "a".repeat(32);
        for good in ["a", "0", "acme", "acme-eu-2", "a--b", &longest] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(33);
        for wrong in ["", "-", "-a", "a-", "A", "a_b", "a b", "a:b", "a\n", "é", "a\0", &too_long] {
            assert_eq!(wrong.parse::<TenantId>(), Err(NotATenantId), "{wrong:?}");
        }
        assert!(TenantId::default_tenant().is_default() && TenantId::default_tenant().as_str() == "default");
    }
}

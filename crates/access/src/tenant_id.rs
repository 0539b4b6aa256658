//! Ids of tenants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Maximum length in bytes. Ids are part of Redis keys, and a key's record stores the length in one byte.
const MAX_BYTES: usize = 32;

/// The text is not a tenant id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tenant id: it takes 1 to 32 of the characters a-z 0-9 -, the first and the last no -")]
pub struct NotATenantId;

/// The id of a tenant: 1 to 32 of the characters `a-z 0-9 -`, neither beginning nor ending with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TenantId(String);

impl TenantId {
    /// Regular expression that exactly the valid ids match.
    pub const PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$";

    /// Returns the id of the tenant that every deployment has from the start.
    ///
    /// This tenant needs no record, is always active and cannot be suspended.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// Returns whether this is the id of [`Self::default_tenant`].
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = NotATenantId;

    fn from_str(text: &str) -> Result<Self, NotATenantId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_id = (1..=MAX_BYTES).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if is_id { Ok(Self(text.to_owned())) } else { Err(NotATenantId) }
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
        fn the_pattern_matches_exactly_the_accepted_texts(text in "[a-z09Aé\\-\n]{0,34}") {
            let pattern = regex::Regex::new(TenantId::PATTERN).unwrap();
            prop_assert_eq!(text.parse::<TenantId>().is_ok(), pattern.is_match(&text));
        }
    }

    #[test]
    fn ids_are_1_to_32_plain_characters() {
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

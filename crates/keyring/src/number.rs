//! References to keys: family and number.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tag_id::Epoch;

/// The two families of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFamily {
    /// Epochs of tag secrets (docs/contract.md §2).
    Tag,
    /// Ed25519 keys that sign the audit chain's checkpoints.
    Audit,
}

impl KeyFamily {
    /// Returns `tag` or `audit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for KeyFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is neither a family name nor a key number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it takes {0}")]
pub struct NoSuchName(&'static str);

impl FromStr for KeyFamily {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        match text {
            "tag" => Ok(Self::Tag),
            "audit" => Ok(Self::Audit),
            _ => Err(NoSuchName("tag or audit")),
        }
    }
}

/// A key's number within its family, 1 to 4095. The number of a tag key is its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyNumber(Epoch);

impl KeyNumber {
    /// The smallest number, 1.
    pub const FIRST: Self = Self(Epoch::MIN);

    /// Returns `None` unless `number` is 1 to 4095.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match Epoch::new(number) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }

    /// Returns the number, 1 to 4095.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the number as the epoch of a tag key.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.0
    }
}

impl From<Epoch> for KeyNumber {
    fn from(epoch: Epoch) -> Self {
        Self(epoch)
    }
}

impl From<KeyNumber> for NonZeroU16 {
    fn from(number: KeyNumber) -> Self {
        Self::new(number.get()).expect("numbers begin at 1")
    }
}

impl fmt::Display for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyNumber {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        let number = text.parse::<u16>().ok().filter(|number| number.to_string() == text);
        number.and_then(Self::new).ok_or(NoSuchName("a whole number from 1 to 4095"))
    }
}

impl Serialize for KeyNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.get())
    }
}

impl<'de> Deserialize<'de> for KeyNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a key's number is 1 to 4095"))
    }
}

/// A reference to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef {
    /// The family.
    pub family: KeyFamily,
    /// The number within the family.
    pub number: KeyNumber,
}

impl KeyRef {
    /// Returns the reference to the tag key of `epoch`.
    #[must_use]
    pub fn tag(epoch: Epoch) -> Self {
        Self { family: KeyFamily::Tag, number: epoch.into() }
    }

    /// Returns the reference to an audit signing key.
    #[must_use]
    pub const fn audit(number: KeyNumber) -> Self {
        Self { family: KeyFamily::Audit, number }
    }

    /// Returns the resource name in audit events: `keyring/<family>/<number>`.
    #[must_use]
    pub fn resource(self) -> String {
        format!("keyring/{}/{}", self.family, self.number)
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}", self.family, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_families_are_parsed_from_their_canonical_text_only() {
        assert_eq!("7".parse::<KeyNumber>().unwrap().get(), 7);
        assert_eq!("4095".parse::<KeyNumber>().unwrap().epoch(), Epoch::MAX);
        for wrong in ["", "0", "07", "+7", "4096", "x", "-1"] {
            assert!(wrong.parse::<KeyNumber>().is_err(), "{wrong}");
        }
        assert_eq!("audit".parse::<KeyFamily>().unwrap(), KeyFamily::Audit);
        assert!("Tag".parse::<KeyFamily>().is_err());
        assert_eq!(KeyRef::tag(Epoch::MIN).resource(), "keyring/tag/1");
        assert_eq!(KeyRef::audit(KeyNumber::FIRST).to_string(), "audit key 1");
    }
}

//! The limiter's keys: `vtrl1` in a region's Redis, `vtgl1` in the global one; the digit is the version of
//! what they hold.
//!
//! All keys of a region share the hash tag `{region}`, since one script touches them together. A state has a
//! TTL, a birth record has none. The global keys have a prefix of their own, so a region called "global"
//! meets nothing.

use std::fmt;

use crate::quota::{DimensionName, Invalid};

/// A region's name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// A region called `name`.
    ///
    /// # Errors
    /// When the name has another length or other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&name.len()) && name.bytes().all(sound) {
            Ok(Self(name))
        } else {
            Err(Invalid::Region)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn born(region: &Region) -> String {
    format!("vtrl1:{{{region}}}:born")
}

pub(crate) fn state(region: &Region, name: DimensionName, subject: &str) -> String {
    ["vtrl1:{", region.as_str(), "}:", name.as_str(), ":", subject].concat()
}

pub(crate) fn global(name: DimensionName, subject: &str) -> String {
    ["vtgl1:", name.as_str(), ":", subject].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_these_bytes() {
        let region = Region::new("eu-west.1_a").unwrap();
        assert_eq!(born(&region), "vtrl1:{eu-west.1_a}:born");
        assert_eq!(state(&region, DimensionName::Ip, "192.0.2.1"), "vtrl1:{eu-west.1_a}:ip:192.0.2.1");
        assert_eq!(state(&region, DimensionName::Key, "k1"), "vtrl1:{eu-west.1_a}:key:k1");
        assert_eq!(global(DimensionName::Ip, "2001:db8:1:2::"), "vtgl1:ip:2001:db8:1:2::");
        assert_eq!(global(DimensionName::Key, "k1"), "vtgl1:key:k1");
    }

    #[test]
    fn a_region_called_global_does_not_meet_the_global_limit() {
        let region = Region::new("global").unwrap();
        assert_ne!(state(&region, DimensionName::Ip, "192.0.2.1"), global(DimensionName::Ip, "192.0.2.1"));
    }

    #[test]
    fn names_that_would_break_a_key_are_refused() {
        for name in ["", "a b", "a{b}", "a:b", "å", &"x".repeat(65)] {
            assert_eq!(Region::new(name), Err(Invalid::Region), "{name:?}");
        }
        assert!(Region::new("x".repeat(64)).is_ok());
    }
}

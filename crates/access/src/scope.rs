//! Scopes: the operations that an API key permits. No scope implies another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `factory:write`: create and change products and batches, revoke and recall.
    FactoryWrite,
    /// `factory:read`: read products, batches and tags.
    FactoryRead,
    /// `audit:read`: read and verify the audit chain.
    AuditRead,
    /// `scan:partner`: scan under the key's own quota.
    ScanPartner,
    /// `admin`: manage tenants, keys and the keyring, and read the events of all tenants.
    Admin,
}

impl Scope {
    /// All scopes, in the order of their bits in a stored record, lowest bit first.
    pub const ALL: [Self; 5] =
        [Self::FactoryWrite, Self::FactoryRead, Self::AuditRead, Self::ScanPartner, Self::Admin];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FactoryWrite => "factory:write",
            Self::FactoryRead => "factory:read",
            Self::AuditRead => "audit:read",
            Self::ScanPartner => "scan:partner",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::FactoryWrite => 1,
            Self::FactoryRead => 1 << 1,
            Self::AuditRead => 1 << 2,
            Self::ScanPartner => 1 << 3,
            Self::Admin => 1 << 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: it takes factory:write, factory:read, audit:read, scan:partner or admin")]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(NotAScope)
    }
}

/// A set of scopes. In JSON, it is a list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Returns the empty set.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Returns the set of all scopes.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Returns whether the scope is in the set.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the scopes in the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// Returns the stored form: bit 0 stands for the first scope of [`Scope::ALL`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads the stored form. Bits that this version does not know are ignored.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::all().0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl<const N: usize> From<[Scope; N]> for Scopes {
    fn from(scopes: [Scope; N]) -> Self {
        scopes.into_iter().collect()
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::as_str)).finish()
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Scope>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_names_never_change() {
        let names = ["factory:write", "factory:read", "audit:read", "scan:partner", "admin"];
        for (bit, (scope, name)) in Scope::ALL.into_iter().zip(names).enumerate() {
            assert_eq!((scope.as_str(), Scopes::from([scope]).bits()), (name, 1 << bit));
            assert_eq!(name.parse(), Ok(scope));
        }
        assert_eq!("Admin".parse::<Scope>(), Err(NotAScope));
    }

    #[test]
    fn no_scope_implies_another() {
        for granted in Scope::ALL {
            for required in Scope::ALL {
                assert_eq!(Scopes::from([granted]).contains(required), granted == required);
            }
        }
    }

    #[test]
    fn bits_of_a_later_version_are_ignored() {
        assert_eq!(Scopes::from_bits(0b1110_1000), Scopes::from([Scope::ScanPartner]));
    }

    #[test]
    fn scopes_are_a_list_of_names_in_json() {
        let scopes = Scopes::from([Scope::Admin, Scope::FactoryRead]);
        let json = serde_json::to_string(&scopes).unwrap();
        assert_eq!(json, r#"["factory:read","admin"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), scopes);
        assert!(serde_json::from_str::<Scopes>(r#"["root"]"#).is_err());
    }
}

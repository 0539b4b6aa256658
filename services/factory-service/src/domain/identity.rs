//! Who acts: the key that was shown becomes a principal, and with the request it came in, a caller.
//!
//! Everything below takes a [`Caller`], so that nothing can be read or changed in nobody's name.

use std::fmt;
use std::net::IpAddr;

use audit_chain::{Details, NewEvent};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of an API key. Keys are long and random, so a plain digest gives nothing away.
#[derive(Clone)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether `key` is the one; takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// Whose data it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantId(String);

impl TenantId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a stored record is this tenant's.
    pub(crate) fn owns(&self, stored_tenant: &str) -> bool {
        self.0 == stored_tenant
    }
}

/// Who a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) tenant: TenantId,
    /// As audit events name it, e.g. `key/bootstrap`.
    pub(crate) actor: String,
}

/// Knows the keys.
pub(crate) struct Authenticator {
    key: KeyDigest,
    principal: Principal,
}

impl Authenticator {
    /// The one key of a fresh deployment: tenant `default`'s first.
    pub(crate) fn bootstrap(key: KeyDigest) -> Self {
        let principal =
            Principal { tenant: TenantId("default".to_owned()), actor: "key/bootstrap".to_owned() };
        Self { key, principal }
    }

    /// Whose key it is, if anybody's.
    pub(crate) fn principal_of(&self, key: &str) -> Option<&Principal> {
        self.key.matches(key).then_some(&self.principal)
    }
}

/// A principal at work: in one request, from one address.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) request_id: String,
    pub(crate) ip: Option<IpAddr>,
}

impl Caller {
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.principal.tenant
    }

    /// What this caller did, for the audit chain.
    pub(crate) fn event(&self, action: &str, resource: String, details: Details) -> NewEvent {
        NewEvent {
            tenant: self.tenant().as_str().to_owned(),
            actor: self.principal.actor.clone(),
            action: action.to_owned(),
            resource,
            request_id: self.request_id.clone(),
            ip: self.ip,
            details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_all_of_it() {
        let key = "0123456789abcdef0123456789abcdef";
        let authenticator = Authenticator::bootstrap(KeyDigest::of(key));
        assert_eq!(authenticator.principal_of(key).unwrap().actor, "key/bootstrap");
        for other in ["", &key[1..], "0123456789abcdef0123456789abcdeF", &format!("{key} ")] {
            assert!(authenticator.principal_of(other).is_none(), "{other:?}");
        }
    }
}

//! Every key of tenants and API keys, in the durable Redis. None has a time to live.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `vt1:k:<id>` | string | an API key's record: see [`crate::KeyRecord`] |
//! | `vt1:kx:<tenant>` | sorted set | the ids of a tenant's keys, the score is when each was made, Unix ms |
//! | `vt1:ku` | hash | key id → when it was last used, Unix minutes |
//! | `vt1:tn:<tenant>` | string | a tenant's record: see [`crate::Tenant`] |
//! | `vt1:cl` | string | the revision of all claims below, decimal |
//! | `vt1:clb` | hash | what a verified brand is compared by ([`crate::BrandKeys`]) → the tenant that has it |
//! | `vt1:clp` | sorted set | `<GTIN prefix>:<tenant>`, the score is the first twelve-digit number under the prefix |
//! | `vt1:tnx` | sorted set | the tenants' ids, all of score 0 |

use crate::key::KeyId;
use crate::tenant_id::TenantId;

/// The deployment record; what it holds is the catalogue's.
pub(crate) const DEPLOYMENT: &str = "vt1:deployment";

/// When each key was last used.
pub const LAST_USE: &str = "vt1:ku";

/// The tenants that have a record.
pub const TENANTS: &str = "vt1:tnx";

/// The revision of the claims.
pub(crate) const CLAIMS: &str = "vt1:cl";

/// Which tenant has which brand.
pub(crate) const BRANDS: &str = "vt1:clb";

/// Which tenant has which GTIN prefix.
pub(crate) const GTIN_PREFIXES: &str = "vt1:clp";

/// An API key's record.
#[must_use]
pub fn key(id: &KeyId) -> String {
    ["vt1:k:", id.as_str()].concat()
}

/// A tenant's keys.
#[must_use]
pub fn keys_of(tenant: &TenantId) -> String {
    ["vt1:kx:", tenant.as_str()].concat()
}

/// A tenant's record.
#[must_use]
pub fn tenant(id: &TenantId) -> String {
    ["vt1:tn:", id.as_str()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_is_already_stored() {
        let acme: TenantId = "acme".parse().unwrap();
        assert_eq!(DEPLOYMENT, "vt1:deployment");
        assert_eq!((LAST_USE, TENANTS), ("vt1:ku", "vt1:tnx"));
        assert_eq!((CLAIMS, BRANDS, GTIN_PREFIXES), ("vt1:cl", "vt1:clb", "vt1:clp"));
        assert_eq!(key(&"0123abcd".parse().unwrap()), "vt1:k:0123abcd");
        assert_eq!(keys_of(&acme), "vt1:kx:acme");
        assert_eq!(tenant(&acme), "vt1:tn:acme");
        assert!(include_str!("lua/access.lua").contains("'vt1:tn:' .."));
    }
}

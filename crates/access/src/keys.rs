//! The Redis keys of tenants and API keys, in the durable Redis. None has a TTL.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `vt1:k:<id>` | string | an API key's record: see [`crate::KeyRecord`] |
//! | `vt1:kx:<tenant>` | sorted set | ids of a tenant's keys, score: creation time, Unix ms |
//! | `vt1:ku` | hash | key id → time of its last use, Unix minutes |
//! | `vt1:tn:<tenant>` | string | a tenant's record: see [`crate::Tenant`] |
//! | `vt1:cl` | string | the revision of the claims in the next two keys, decimal |
//! | `vt1:clb` | hash | skeleton of a verified brand ([`crate::BrandKeys`]) → the tenant that owns it |
//! | `vt1:clp` | sorted set | `<GTIN prefix>:<tenant>`, score: first twelve-digit number under the prefix |
//! | `vt1:tnx` | sorted set | tenant ids, score 0 |

use crate::key::KeyId;
use crate::tenant_id::TenantId;

/// Key of the deployment record, which the crate `catalog` owns.
pub(crate) const DEPLOYMENT: &str = "vt1:deployment";

/// Key of the last uses.
pub const LAST_USE: &str = "vt1:ku";

/// Key of the list of tenants that have a record.
pub const TENANTS: &str = "vt1:tnx";

/// Key of the claims' revision.
pub(crate) const CLAIMS: &str = "vt1:cl";

/// Key of the claimed brands.
pub(crate) const BRANDS: &str = "vt1:clb";

/// Key of the claimed GTIN prefixes.
pub(crate) const GTIN_PREFIXES: &str = "vt1:clp";

/// Returns the key of an API key's record.
#[must_use]
pub fn key(id: &KeyId) -> String {
    ["vt1:k:", id.as_str()].concat()
}

/// Returns the key of the list of a tenant's API keys.
#[must_use]
pub fn keys_of(tenant: &TenantId) -> String {
    ["vt1:kx:", tenant.as_str()].concat()
}

/// Returns the key of a tenant's record.
#[must_use]
pub fn tenant(id: &TenantId) -> String {
    ["vt1:tn:", id.as_str()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_never_change() {
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

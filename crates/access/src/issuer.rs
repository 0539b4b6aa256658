//! The issuer of a tag as a scan reports it: the tenant's name, and whether an operator verified its brand.

use crate::brand::BrandKeys;
use crate::gtin::GtinPrefix;
use crate::records::Tenant;
use crate::tenant_id::TenantId;

/// A tenant as scans report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    name: String,
    verified: Verified,
}

/// The brands and GTINs that an operator has verified for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verified {
    /// Everything. Tenant `default` belongs to the operator; all its brands and GTINs count as verified until
    /// an operator stores a brand or a prefix for it.
    All,
    /// These brands (case-folded), with GTINs under these prefixes.
    Only { brands: Vec<String>, prefixes: Vec<GtinPrefix> },
}

impl Issuer {
    /// Describes tenant `id`. `record` is its record, `None` if it has none.
    #[must_use]
    pub fn of(id: &TenantId, record: Option<&Tenant>) -> Self {
        let name = record.and_then(|tenant| tenant.name.clone()).unwrap_or_else(|| id.to_string());
        let claims_nothing =
            record.is_none_or(|tenant| tenant.brands.is_empty() && tenant.gtin_prefixes.is_empty());
        let verified = match record {
            _ if id.is_default() && claims_nothing => Verified::All,
            None => Verified::Only { brands: Vec::new(), prefixes: Vec::new() },
            Some(tenant) => Verified::Only {
                brands: tenant.brands.iter().map(|brand| brand.keys().folded().to_owned()).collect(),
                prefixes: tenant.gtin_prefixes.clone(),
            },
        };
        Self { name, verified }
    }

    /// Describes a tenant whose record cannot be read: nothing is verified.
    #[must_use]
    pub fn unreadable(id: &str) -> Self {
        Self { name: id.to_owned(), verified: Verified::Only { brands: Vec::new(), prefixes: Vec::new() } }
    }

    /// Returns the tenant's name, or its id if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the brand is verified for the tenant and one of its prefixes covers the GTIN, if there
    /// is one.
    ///
    /// A tenant without a prefix has no verified GTIN.
    #[must_use]
    pub fn is_verified_for(&self, brand: &BrandKeys, gtin: Option<&str>) -> bool {
        match &self.verified {
            Verified::All => true,
            Verified::Only { brands, prefixes } => {
                brands.iter().any(|verified| verified == brand.folded())
                    && gtin.is_none_or(|gtin| prefixes.iter().any(|prefix| prefix.covers(gtin)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brand::BrandName;
    use time::OffsetDateTime;

    fn tenant(id: &str, brands: &[&str], prefixes: &[&str]) -> Tenant {
        let mut tenant = Tenant::new(id.parse().unwrap(), None, OffsetDateTime::UNIX_EPOCH);
        tenant.brands = brands.iter().map(|brand| BrandName::new(*brand).unwrap()).collect();
        tenant.gtin_prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        tenant
    }

    #[test]
    fn both_the_brand_and_the_gtin_must_be_verified() {
        let acme = tenant("acme", &["Acme", "Ácme Home"], &["4006381"]);
        let issuer = Issuer::of(&acme.id, Some(&acme));
        let verified = |brand: &str, gtin| issuer.is_verified_for(&BrandKeys::of(brand), gtin);
        assert!(verified("ACME", None) && verified("acme", Some("4006381333931")));
        assert!(!verified("Acme", Some("4006382333930")) && !verified("Other", Some("4006381333931")));
        assert!(!verified("Αcme", None), "a brand that only looks like a verified one is not verified");
        let bare = tenant("acme", &["Acme"], &[]);
        let issuer = Issuer::of(&bare.id, Some(&bare));
        assert!(issuer.is_verified_for(&BrandKeys::of("Acme"), None));
        assert!(!issuer.is_verified_for(&BrandKeys::of("Acme"), Some("4006381333931")));
    }

    #[test]
    fn everything_of_the_default_tenant_is_verified_until_it_claims_a_brand() {
        let (default, other) = (TenantId::default_tenant(), "other".parse().unwrap());
        let brand = BrandKeys::of("Anything");
        assert!(Issuer::of(&default, None).is_verified_for(&brand, Some("4006381333931")));
        assert!(!Issuer::of(&other, None).is_verified_for(&brand, None));
        let named = tenant("default", &[], &[]);
        assert!(Issuer::of(&default, Some(&named)).is_verified_for(&brand, None));
        let claiming = tenant("default", &["Acme"], &[]);
        assert!(!Issuer::of(&default, Some(&claiming)).is_verified_for(&brand, None));
        assert!(!Issuer::unreadable("default").is_verified_for(&brand, None));
    }
}

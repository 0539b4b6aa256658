//! Who has made a tag, and whether that may be believed: what a scan tells of the tenant behind it.

use crate::brand::BrandKeys;
use crate::gtin::GtinPrefix;
use crate::records::Tenant;
use crate::tenant_id::TenantId;

/// A tenant as it is told of in scans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    name: String,
    vouching: Vouching,
}

/// For what an operator vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Vouching {
    /// Tenant `default` is the operator's own: while no brand and no prefix of it were written down, the operator vouches for all of it.
    ForAll,
    /// For these brands (folded) under these prefixes.
    For { brands: Vec<String>, prefixes: Vec<GtinPrefix> },
}

impl Issuer {
    /// The issuer that tenant `id` is, with its record if there is one that can be read.
    #[must_use]
    pub fn of(id: &TenantId, record: Option<&Tenant>) -> Self {
        let name = record.and_then(|tenant| tenant.name.clone()).unwrap_or_else(|| id.to_string());
        let claims_nothing =
            record.is_none_or(|tenant| tenant.brands.is_empty() && tenant.gtin_prefixes.is_empty());
        let vouching = match record {
            _ if id.is_default() && claims_nothing => Vouching::ForAll,
            None => Vouching::For { brands: Vec::new(), prefixes: Vec::new() },
            Some(tenant) => Vouching::For {
                brands: tenant.brands.iter().map(|brand| brand.keys().folded().to_owned()).collect(),
                prefixes: tenant.gtin_prefixes.clone(),
            },
        };
        Self { name, vouching }
    }

    /// An issuer whose record cannot be read: nothing of it is verified.
    #[must_use]
    pub fn unreadable(id: &str) -> Self {
        Self { name: id.to_owned(), vouching: Vouching::For { brands: Vec::new(), prefixes: Vec::new() } }
    }

    /// The tenant's name, or its id where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the brand is one of the tenant's verified brands, and the GTIN, if there is one, falls under its prefixes. Without any
    /// prefix no GTIN does.
    #[must_use]
    pub fn is_verified_for(&self, brand: &BrandKeys, gtin: Option<&str>) -> bool {
        match &self.vouching {
            Vouching::ForAll => true,
            Vouching::For { brands, prefixes } => {
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
    fn brand_and_gtin_must_both_be_the_tenants() {
        let acme = tenant("acme", &["Acme", "Ácme Home"], &["4006381"]);
        let issuer = Issuer::of(&acme.id, Some(&acme));
        let verified = |brand: &str, gtin| issuer.is_verified_for(&BrandKeys::of(brand), gtin);
        assert!(verified("ACME", None) && verified("acme", Some("4006381333931")));
        assert!(!verified("Acme", Some("4006382333930")) && !verified("Other", Some("4006381333931")));
        assert!(!verified("Αcme", None), "what looks like a verified brand is not one");
        let bare = tenant("acme", &["Acme"], &[]);
        let issuer = Issuer::of(&bare.id, Some(&bare));
        assert!(issuer.is_verified_for(&BrandKeys::of("Acme"), None));
        assert!(!issuer.is_verified_for(&BrandKeys::of("Acme"), Some("4006381333931")));
    }

    #[test]
    fn the_operator_vouches_for_its_own_tenant_until_it_names_brands() {
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

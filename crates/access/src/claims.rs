//! Claims: which tenant owns which brand and which GTIN prefix.
//!
//! No two tenants own brands that look alike or prefixes that overlap. Claims are stored next to the tenants'
//! records and change together with them. Every change of a claim raises one common revision.
//! [`Claims::guard`] checks that the revision is unchanged since the read, so two concurrent claims, or a
//! claim and a new product with the claimed brand, cannot both succeed.

use std::collections::HashMap;
use std::sync::LazyLock;

use audit_chain::{Effect, Precondition, RedisWrite};
use redis_pool::{PoolError, RedisPool, Script};

use crate::brand::{BrandKeys, BrandName};
use crate::gtin::{GtinPrefix, GtinRange};
use crate::keys;
use crate::records::Tenant;
use crate::tenant_id::TenantId;

/// Maximum number of brands of one tenant, and of its GTIN prefixes. `claims.lua` relies on it.
pub const MAX_CLAIMS: usize = 50;

static CLAIMS: LazyLock<Script> = LazyLock::new(|| Script::new("claims", include_str!("lua/claims.lua")));

/// The owners of the requested brands and GTIN ranges, in one revision of the claims.
#[derive(Debug, Clone)]
pub struct Claims {
    revision: Vec<u8>,
    brands: HashMap<String, TenantId>,
    prefixes: Vec<(GtinPrefix, TenantId)>,
}

impl Claims {
    /// Reads the owners of brands that look like `brands`, and of prefixes that overlap `ranges`, in one
    /// round trip.
    pub(crate) async fn read(
        pool: &RedisPool,
        brands: &[BrandKeys],
        ranges: &[GtinRange],
    ) -> Result<Self, PoolError> {
        let skeletons: Vec<&str> = brands.iter().flat_map(BrandKeys::lookalikes).collect();
        let mut call = CLAIMS.invoke().key(keys::CLAIMS).key(keys::BRANDS).key(keys::GTIN_PREFIXES);
        call.push_arg(skeletons.len());
        skeletons.iter().for_each(|skeleton| call.push_arg(skeleton));
        for range in ranges {
            call.push_arg(range.start());
            call.push_arg(range.end());
        }
        let (revision, owners, members): (Vec<u8>, Vec<String>, Vec<String>) = call.run(pool).await?;
        let owned = skeletons.into_iter().zip(owners).filter(|(_, owner)| !owner.is_empty());
        let owned = owned.map(|(skeleton, owner)| Ok((skeleton.to_owned(), tenant(&owner)?)));
        Ok(Self {
            revision,
            brands: owned.collect::<Result<_, PoolError>>()?,
            prefixes: members.iter().map(|member| parse_member(member)).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the precondition that no claim has changed since the read.
    #[must_use]
    pub fn guard(&self) -> Precondition {
        let key = keys::CLAIMS.into();
        if self.revision.is_empty() {
            Precondition::Absent { key }
        } else {
            Precondition::Equals { key, value: self.revision.clone() }
        }
    }

    /// Returns a tenant other than `own` that owns a brand that looks like this one.
    #[must_use]
    pub fn brand_of_another(&self, brand: &BrandKeys, own: &TenantId) -> Option<&TenantId> {
        brand.lookalikes().filter_map(|skeleton| self.brands.get(skeleton)).find(|owner| *owner != own)
    }

    /// Returns a tenant other than `own` that owns a prefix that overlaps this range.
    #[must_use]
    pub fn gtin_of_another(&self, range: &GtinRange, own: &TenantId) -> Option<&TenantId> {
        let overlaps = |prefix: &GtinPrefix| {
            let theirs = prefix.range();
            theirs.start() <= range.end() && range.start() <= theirs.end()
        };
        let found = self.prefixes.iter().find(|(prefix, owner)| owner != own && overlaps(prefix));
        found.map(|(_, owner)| owner)
    }

    /// Adds the writes to `effect` that release the claims of `before` and store those of `after`.
    pub(crate) fn replace(&self, effect: Effect, before: Option<&Tenant>, after: &Tenant) -> Effect {
        let owner = after.id.as_str();
        let (brands, prefixes): (&[String], &[GtinPrefix]) =
            before.map_or((&[], &[]), |before| (&before.brand_keys, &before.gtin_prefixes));
        let mut effect = effect.check(self.guard()).write(RedisWrite::Set {
            key: keys::CLAIMS.into(),
            value: next_revision(&self.revision).into_bytes(),
        });
        let key = || keys::BRANDS.into();
        for skeleton in brands.iter().filter(|skeleton| !after.brand_keys.contains(skeleton)) {
            effect.writes.push(RedisWrite::FieldDelete { key: key(), field: skeleton.as_str().into() });
        }
        for skeleton in after.brand_keys.iter().filter(|skeleton| !brands.contains(skeleton)) {
            let (field, value) = (skeleton.as_str().into(), owner.into());
            effect.writes.push(RedisWrite::FieldSet { key: key(), field, value });
        }
        let key = || keys::GTIN_PREFIXES.into();
        for prefix in prefixes.iter().filter(|prefix| !after.gtin_prefixes.contains(prefix)) {
            effect.writes.push(RedisWrite::SortedRemove { key: key(), member: member(prefix, owner) });
        }
        for prefix in after.gtin_prefixes.iter().filter(|prefix| !prefixes.contains(prefix)) {
            let score = i64::try_from(*prefix.range().start()).expect("twelve digits");
            effect.writes.push(RedisWrite::SortedAdd { key: key(), score, member: member(prefix, owner) });
        }
        effect
    }
}

/// Returns the skeletons that a tenant with these brands claims, sorted and without duplicates.
///
/// They are stored with the tenant, so a later change releases exactly these, even if a newer Unicode version
/// computes other skeletons for the same brands.
pub(crate) fn keys_of(brands: &[BrandName]) -> Vec<String> {
    let mut skeletons: Vec<String> = Vec::new();
    for brand in brands {
        skeletons.extend(brand.keys().lookalikes().map(str::to_owned));
    }
    skeletons.sort_unstable();
    skeletons.dedup();
    skeletons
}

fn member(prefix: &GtinPrefix, owner: &str) -> Vec<u8> {
    format!("{prefix}:{owner}").into_bytes()
}

fn parse_member(member: &str) -> Result<(GtinPrefix, TenantId), PoolError> {
    let parts =
        member.split_once(':').and_then(|(prefix, owner)| Some((prefix.parse().ok()?, tenant(owner).ok()?)));
    parts.ok_or_else(|| PoolError::Reply {
        what: format!("claims: {member:?} is not a GTIN prefix and a tenant"),
    })
}

fn tenant(text: &str) -> Result<TenantId, PoolError> {
    text.parse().map_err(|_| PoolError::Reply { what: format!("claims: {text:?} is not a tenant id") })
}

fn next_revision(revision: &[u8]) -> String {
    let number = std::str::from_utf8(revision).ok().and_then(|text| text.parse::<u64>().ok());
    number.unwrap_or(0).wrapping_add(1).to_string()
}

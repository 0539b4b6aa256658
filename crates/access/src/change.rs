//! Changes of tenants and keys as effects: preconditions and writes that are stored together with an audit
//! event.
//!
//! The functions are pure. A change of an existing record requires that its bytes are still those that were
//! read.

use audit_chain::{Effect, Precondition, RedisWrite};
use time::OffsetDateTime;

use crate::brand::BrandName;
use crate::claims::{Claims, keys_of};
use crate::gtin::GtinPrefix;
use crate::keys;
use crate::records::{ACTIVE, Cause, KeyRecord, Rotation, StoredAccess, Tenant, unix_millis};
use crate::tenant_id::TenantId;

/// Creates a tenant.
///
/// Precondition 0: no tenant with this id exists. Tenant `default` exists without a record; [`update_tenant`]
/// creates one for it.
#[must_use]
pub fn create_tenant(tenant: &Tenant) -> Effect {
    let (key, id) = (keys::tenant(&tenant.id), tenant.id.as_str());
    Effect::none()
        .check(Precondition::Absent { key: key.clone().into() })
        .write(RedisWrite::Set { key: key.into(), value: tenant.encode(1) })
        .write(RedisWrite::SortedAdd { key: keys::TENANTS.into(), score: 0, member: id.into() })
}

/// Changes a tenant's name, brands, GTIN prefixes or limits.
///
/// `before` is the record as it was read. It is `None` for tenant `default` without a record; the effect then
/// creates the record. `claims` is the state of the claims in which the new brands and prefixes were free.
///
/// Precondition 0: the record is unchanged. Precondition 1, if brands or prefixes change: the claims are
/// unchanged.
#[must_use]
pub fn update_tenant(before: Option<&StoredAccess<Tenant>>, changed: &Tenant, claims: &Claims) -> Effect {
    let key: Vec<u8> = keys::tenant(&changed.id).into();
    let (check, revision) = match before {
        Some(stored) => {
            let value = stored.bytes.clone();
            (Precondition::Equals { key: key.clone(), value }, stored.revision.wrapping_add(1))
        }
        None => (Precondition::Absent { key: key.clone() }, 1),
    };
    let effect = Effect::none().check(check).write(RedisWrite::Set { key, value: changed.encode(revision) });
    let before = before.map(|stored| &stored.value);
    let (brands, prefixes): (&[BrandName], &[GtinPrefix]) =
        before.map_or((&[], &[]), |before| (&before.brands, &before.gtin_prefixes));
    if brands == changed.brands && prefixes == changed.gtin_prefixes {
        effect
    } else {
        claims.replace(effect, before, changed)
    }
}

/// Suspends the tenant: from the next request on, all its keys are rejected.
///
/// Precondition 0: the record is unchanged.
#[must_use]
pub fn suspend(stored: &StoredAccess<Tenant>, at: OffsetDateTime, reason: &str) -> Effect {
    put_tenant(stored, stored.value.suspended(at, reason))
}

/// Makes a suspended tenant active. Precondition 0: the record is unchanged.
#[must_use]
pub fn resume(stored: &StoredAccess<Tenant>) -> Effect {
    put_tenant(stored, stored.value.resumed())
}

/// Creates a key.
///
/// Precondition 0: no key with this id exists. Precondition 1, except for tenant `default`: the key's tenant
/// exists and is active.
#[must_use]
pub fn create_key(record: &KeyRecord) -> Effect {
    let absent = Precondition::Absent { key: keys::key(&record.id).into() };
    add_key(if_active(Effect::none().check(absent), &record.tenant), record)
}

/// Creates a successor and ends the old key at `until`, or earlier if it already ends earlier.
///
/// Precondition 0: the old key's record is unchanged. Precondition 1: no key with the successor's id exists.
/// Precondition 2, except for tenant `default`: the tenant is active.
#[must_use]
pub fn rotate(
    stored: &StoredAccess<KeyRecord>,
    successor: &KeyRecord,
    at: OffsetDateTime,
    until: OffsetDateTime,
) -> Effect {
    let absent = Precondition::Absent { key: keys::key(&successor.id).into() };
    let old = put_key(stored, &stored.value.rotated_to(successor, at, until));
    add_key(if_active(old.check(absent), &successor.tenant), successor)
}

/// Revokes the key permanently, from the next request on. Precondition 0: the record is unchanged.
#[must_use]
pub fn revoke(stored: &StoredAccess<KeyRecord>, at: OffsetDateTime, reason: &str) -> Effect {
    put_key(stored, &stored.value.revoked(at, reason))
}

impl Tenant {
    /// Returns this tenant with these brands in place of its previous ones.
    #[must_use]
    pub fn with_brands(&self, brands: Vec<BrandName>) -> Self {
        Self { brand_keys: keys_of(&brands), brands, ..self.clone() }
    }

    /// Returns this tenant as [`suspend`] stores it.
    #[must_use]
    pub fn suspended(&self, at: OffsetDateTime, reason: &str) -> Self {
        Self { suspended: Some(Cause { at, reason: reason.to_owned() }), ..self.clone() }
    }

    /// Returns this tenant as [`resume`] stores it.
    #[must_use]
    pub fn resumed(&self) -> Self {
        Self { suspended: None, ..self.clone() }
    }
}

impl KeyRecord {
    /// Returns this key as [`revoke`] stores it. A key that is already revoked keeps its first revocation.
    #[must_use]
    pub fn revoked(&self, at: OffsetDateTime, reason: &str) -> Self {
        let cause = || Cause { at, reason: reason.to_owned() };
        Self { revoked: Some(self.revoked.clone().unwrap_or_else(cause)), ..self.clone() }
    }

    /// Returns this key as [`rotate`] stores it. A second rotation never moves the end of the key later.
    #[must_use]
    pub fn rotated_to(&self, successor: &Self, at: OffsetDateTime, until: OffsetDateTime) -> Self {
        let until = self.rotated.as_ref().map_or(until, |earlier| earlier.until.min(until));
        Self { rotated: Some(Rotation { at, to: successor.id, until }), ..self.clone() }
    }
}

fn put_tenant(stored: &StoredAccess<Tenant>, changed: Tenant) -> Effect {
    let key: Vec<u8> = keys::tenant(&changed.id).into();
    Effect::none()
        .check(Precondition::Equals { key: key.clone(), value: stored.bytes.clone() })
        .write(RedisWrite::Set { key, value: changed.encode(stored.revision.wrapping_add(1)) })
}

fn put_key(stored: &StoredAccess<KeyRecord>, changed: &KeyRecord) -> Effect {
    let key: Vec<u8> = keys::key(&changed.id).into();
    Effect::none()
        .check(Precondition::Equals { key: key.clone(), value: stored.bytes.clone() })
        .write(RedisWrite::Set { key, value: changed.encode(stored.revision.wrapping_add(1)) })
}

fn add_key(effect: Effect, record: &KeyRecord) -> Effect {
    let score = i64::try_from(unix_millis(record.created_at)).expect("48 bits");
    effect.write(RedisWrite::Set { key: keys::key(&record.id).into(), value: record.encode(1) }).write(
        RedisWrite::SortedAdd {
            key: keys::keys_of(&record.tenant).into(),
            score,
            member: record.id.as_str().into(),
        },
    )
}

fn if_active(effect: Effect, tenant: &TenantId) -> Effect {
    if tenant.is_default() {
        return effect;
    }
    effect.check(Precondition::Prefix { key: keys::tenant(tenant).into(), prefix: vec![ACTIVE] })
}

//! Changes of tenants and keys as data: what must hold and what is written, to travel with their audit event. Pure; a change
//! of something that stands compares the exact bytes it was read as.

use audit_chain::{Effect, Precondition, RedisWrite};
use time::OffsetDateTime;

use crate::brand::BrandName;
use crate::claims::{Claims, keys_of};
use crate::gtin::GtinPrefix;
use crate::keys;
use crate::records::{ACTIVE, Cause, KeyRecord, Rotation, StoredAccess, Tenant, unix_millis};
use crate::tenant_id::TenantId;

/// A new tenant. Precondition 0: there is none of this id. Tenant `default` is there without a record; [`update_tenant`] gives it one, which says
/// nothing of its keys.
#[must_use]
pub fn create_tenant(tenant: &Tenant) -> Effect {
    let (key, id) = (keys::tenant(&tenant.id), tenant.id.as_str());
    Effect::none()
        .check(Precondition::Absent { key: key.clone().into() })
        .write(RedisWrite::Set { key: key.into(), value: tenant.encode(1) })
        .write(RedisWrite::SortedAdd { key: keys::TENANTS.into(), score: 0, member: id.into() })
}

/// A tenant with another name, other brands, prefixes or bounds. `before` is the record as it was read; tenant `default` may have none
/// and then gets one. `claims` are those that the new brands and prefixes were found free under. Precondition 0: the record is as it was read;
/// check 1, where brands or prefixes change: nothing was claimed since.
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
        claims.moved(effect, before, changed)
    }
}

/// The tenant suspended: from the next request on none of its keys is accepted. Precondition 0: it is as it was read.
#[must_use]
pub fn suspend(stored: &StoredAccess<Tenant>, at: OffsetDateTime, reason: &str) -> Effect {
    put_tenant(stored, stored.value.suspended(at, reason))
}

/// The tenant active again. Precondition 0: it is as it was read.
#[must_use]
pub fn resume(stored: &StoredAccess<Tenant>) -> Effect {
    put_tenant(stored, stored.value.resumed())
}

/// A new key. Precondition 0: there is none of this id; check 1, but for tenant `default`: its tenant is there and active.
#[must_use]
pub fn create_key(record: &KeyRecord) -> Effect {
    let absent = Precondition::Absent { key: keys::key(&record.id).into() };
    add_key(if_active(Effect::none().check(absent), &record.tenant), record)
}

/// A successor, and the old key's end at `until` (or earlier, where it ends earlier). Precondition 0: the old key is as it was read; check 1:
/// there is none of the successor's id; check 2, but for tenant `default`: the tenant is active.
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

/// The key revoked, for good, from the next request on. Precondition 0: it is as it was read.
#[must_use]
pub fn revoke(stored: &StoredAccess<KeyRecord>, at: OffsetDateTime, reason: &str) -> Effect {
    put_key(stored, &stored.value.revoked(at, reason))
}

impl Tenant {
    /// This tenant with these brands instead of its own.
    #[must_use]
    pub fn with_brands(&self, brands: Vec<BrandName>) -> Self {
        Self { brand_keys: keys_of(&brands), brands, ..self.clone() }
    }

    /// This tenant as [`suspend`] leaves it.
    #[must_use]
    pub fn suspended(&self, at: OffsetDateTime, reason: &str) -> Self {
        Self { suspended: Some(Cause { at, reason: reason.to_owned() }), ..self.clone() }
    }

    /// This tenant as [`resume`] leaves it.
    #[must_use]
    pub fn resumed(&self) -> Self {
        Self { suspended: None, ..self.clone() }
    }
}

impl KeyRecord {
    /// This key as [`revoke`] leaves it. One that is revoked already stays as it is.
    #[must_use]
    pub fn revoked(&self, at: OffsetDateTime, reason: &str) -> Self {
        let cause = || Cause { at, reason: reason.to_owned() };
        Self { revoked: Some(self.revoked.clone().unwrap_or_else(cause)), ..self.clone() }
    }

    /// This key as [`rotate`] leaves it: a key's end is never moved later.
    #[must_use]
    pub fn rotated_to(&self, successor: &Self, at: OffsetDateTime, until: OffsetDateTime) -> Self {
        let until = self.rotated.as_ref().map_or(until, |former| former.until.min(until));
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

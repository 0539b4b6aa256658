//! Tenants and API keys as they are stored: a small binary header that scripts can read without parsing JSON,
//! then JSON.
//!
//! - Tenant: `u8 state (1 active, 0 suspended) ‖ u32be revision ‖ JSON`
//! - API key: `u32be revision ‖ digest (32 bytes) ‖ u8 scopes ‖ u48be valid_until ‖ u8 length of the tenant
//!   id ‖ tenant id ‖ JSON`
//!
//! `valid_until` is in Unix ms. Scripts compare it with the time, and so reject revoked keys (0), expired
//! keys and rotated keys whose overlap has ended; [`FOR_EVER`] never ends. Each change increments the
//! revision.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::brand::BrandName;
use crate::gtin::GtinPrefix;
use crate::key::{KeyDigest, KeyId};
use crate::scope::Scopes;
use crate::tenant_id::TenantId;

/// `valid_until` of a key without an end: 2^48 − 1.
pub const FOR_EVER: u64 = (1 << 48) - 1;

/// First byte of an active tenant's record.
pub(crate) const ACTIVE: u8 = 1;
const SUSPENDED: u8 = 0;
/// Length of a key's header before the tenant's id, in bytes.
const KEY_HEADER_BYTES: usize = 44;

/// A stored record cannot be decoded: it is damaged, or another program wrote it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored {kind} record cannot be read: {why}")]
pub struct AccessRecordError {
    kind: &'static str,
    why: String,
}

/// Maximum number of batches of a tenant for which an operator set no other limit.
pub const DEFAULT_MAX_BATCHES: u32 = 100_000;

/// A record as read, with the exact bytes that a change must find unchanged.
#[derive(Debug, Clone)]
pub struct StoredAccess<T> {
    /// The decoded record.
    pub value: T,
    /// The version of the record: 1 at first, incremented by each change.
    pub revision: u32,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

/// When and why a tenant was suspended or a key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The time of the suspension or revocation.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The reason that the operator gave.
    pub reason: String,
}

/// A tenant: an organisation with its own products, batches, API keys and audit events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The tenant's id.
    pub id: TenantId,
    /// A name for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The time of creation.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// Set while the tenant is suspended: all its keys are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Cause>,
    /// The brands that an operator verified as the tenant's own. No brand of another tenant looks like one of
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brands: Vec<BrandName>,
    /// The skeletons of the brands, as they were claimed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brand_keys: Vec<String>,
    /// The GTIN company prefixes that an operator verified as the tenant's own. No prefix of another tenant
    /// overlaps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gtin_prefixes: Vec<GtinPrefix>,
    /// Maximum number of batches; [`DEFAULT_MAX_BATCHES`] applies if it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batches: Option<u32>,
}

/// The rotation of a key to its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The time of the rotation.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The id of the successor.
    pub to: KeyId,
    /// The end of the overlap: the old key is rejected from then on.
    #[serde(with = "rfc3339")]
    pub until: OffsetDateTime,
}

/// The stored record of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The key's public id.
    pub id: KeyId,
    /// The tenant for which the key acts.
    pub tenant: TenantId,
    /// The digest of the key's text. It is stored in the header, not in the JSON.
    #[serde(skip, default = "no_digest")]
    pub digest: KeyDigest,
    /// The operations that the key permits.
    pub scopes: Scopes,
    /// A name for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The time of creation.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The creator, in the form of an audit event's actor.
    pub created_by: String,
    /// The time from which on the key is rejected.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OffsetDateTime>,
    /// Set once the key is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Cause>,
    /// Set once the key was rotated to a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Rotation>,
    /// The id of the key that this key succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyId>,
}

const fn no_digest() -> KeyDigest {
    KeyDigest::from_bytes([0; 32])
}

/// The status of a key, regardless of its tenant's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// The key is accepted.
    Active,
    /// The key was rotated and is accepted until the overlap ends.
    Rotating,
    /// The key was rotated and the overlap has ended.
    Rotated,
    /// The key's expiry has passed.
    Expired,
    /// The key was revoked.
    Revoked,
}

impl KeyStatus {
    /// All statuses.
    pub const ALL: [Self; 5] = [Self::Active, Self::Rotating, Self::Rotated, Self::Expired, Self::Revoked];
}

impl KeyRecord {
    /// Returns the time from which on the key is rejected, in Unix ms: 0 if it is revoked, [`FOR_EVER`] if it
    /// has no end.
    #[must_use]
    pub fn valid_until(&self) -> u64 {
        if self.revoked.is_some() {
            return 0;
        }
        let ends = [self.expires_at, self.rotated.as_ref().map(|rotation| rotation.until)];
        ends.into_iter().flatten().map(unix_millis).min().unwrap_or(FOR_EVER)
    }

    /// Returns the status at `now`.
    #[must_use]
    pub fn status(&self, now: OffsetDateTime) -> KeyStatus {
        let over = |end: OffsetDateTime| unix_millis(end) <= unix_millis(now);
        match (&self.revoked, self.expires_at, &self.rotated) {
            (Some(_), ..) => KeyStatus::Revoked,
            (None, Some(end), _) if over(end) => KeyStatus::Expired,
            (None, _, Some(rotation)) if over(rotation.until) => KeyStatus::Rotated,
            (None, _, Some(_)) => KeyStatus::Rotating,
            (None, _, None) => KeyStatus::Active,
        }
    }

    /// Returns the bytes to store.
    ///
    /// # Panics
    /// Never: a tenant's id has at most 32 bytes.
    #[must_use]
    pub fn encode(&self, revision: u32) -> Vec<u8> {
        let mut bytes = revision.to_be_bytes().to_vec();
        bytes.extend(self.header());
        serde_json::to_writer(&mut bytes, self).expect("plain data is always serialisable into memory");
        bytes
    }

    /// Returns the header between the revision and the JSON.
    fn header(&self) -> Vec<u8> {
        let tenant = self.tenant.as_str().as_bytes();
        let length = u8::try_from(tenant.len()).expect("a tenant's id has at most 32 bytes");
        let until = self.valid_until().to_be_bytes();
        [self.digest.as_bytes(), &[self.scopes.bits()][..], &until[2..], &[length], tenant].concat()
    }

    /// Decodes a stored record.
    ///
    /// # Errors
    /// [`AccessRecordError`] if the bytes are not the record of an API key, or if header and JSON contradict
    /// each other.
    pub fn decode(bytes: Vec<u8>) -> Result<StoredAccess<Self>, AccessRecordError> {
        let fail = |why: &str| AccessRecordError { kind: "API key", why: why.to_owned() };
        let (revision, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| fail("it is too short"))?;
        let (digest, _) = rest.split_first_chunk::<32>().ok_or_else(|| fail("it is too short"))?;
        let length = *bytes.get(KEY_HEADER_BYTES - 1).ok_or_else(|| fail("it is too short"))?;
        let json =
            bytes.get(KEY_HEADER_BYTES + usize::from(length)..).ok_or_else(|| fail("it is too short"))?;
        let mut value: Self = serde_json::from_slice(json).map_err(|error| fail(&error.to_string()))?;
        value.digest = KeyDigest::from_bytes(*digest);
        if !rest.starts_with(&value.header()) {
            return Err(fail("its header and its JSON contradict each other"));
        }
        Ok(StoredAccess { value, revision: u32::from_be_bytes(*revision), bytes })
    }
}

impl Tenant {
    /// Returns the bytes to store.
    #[must_use]
    pub fn encode(&self, revision: u32) -> Vec<u8> {
        let mut bytes = vec![self.state()];
        bytes.extend(revision.to_be_bytes());
        serde_json::to_writer(&mut bytes, self).expect("plain data is always serialisable into memory");
        bytes
    }

    /// Creates an active tenant without brands, GTIN prefixes or a limit of its own.
    #[must_use]
    pub fn new(id: TenantId, name: Option<String>, created_at: OffsetDateTime) -> Self {
        Self {
            id,
            name,
            created_at,
            suspended: None,
            brands: Vec::new(),
            brand_keys: Vec::new(),
            gtin_prefixes: Vec::new(),
            max_batches: None,
        }
    }

    /// Returns the maximum number of batches.
    #[must_use]
    pub fn max_batches(&self) -> u32 {
        self.max_batches.unwrap_or(DEFAULT_MAX_BATCHES)
    }

    fn state(&self) -> u8 {
        if self.suspended.is_some() { SUSPENDED } else { ACTIVE }
    }

    /// Decodes a stored record.
    ///
    /// # Errors
    /// [`AccessRecordError`] if the bytes are not the record of a tenant, or if header and JSON contradict
    /// each other.
    pub fn decode(bytes: Vec<u8>) -> Result<StoredAccess<Self>, AccessRecordError> {
        let fail = |why: &str| AccessRecordError { kind: "tenant", why: why.to_owned() };
        let (state, rest) = bytes.split_first().ok_or_else(|| fail("it is too short"))?;
        let (revision, json) = rest.split_first_chunk::<4>().ok_or_else(|| fail("it is too short"))?;
        let value: Self = serde_json::from_slice(json).map_err(|error| fail(&error.to_string()))?;
        if *state != value.state() {
            return Err(fail("its header and its JSON contradict each other"));
        }
        Ok(StoredAccess { revision: u32::from_be_bytes(*revision), value, bytes })
    }
}

/// Returns the time in Unix ms, clamped to 0 ..= [`FOR_EVER`].
pub(crate) fn unix_millis(time: OffsetDateTime) -> u64 {
    let millis = (time.unix_timestamp_nanos() / 1_000_000).clamp(0, i128::from(FOR_EVER));
    u64::try_from(millis).expect("clamped to 48 bits")
}

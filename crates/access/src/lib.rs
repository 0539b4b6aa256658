//! Tenants and API keys: who may do what, and for which tenant.
//!
//! - [`ApiKey`] is the text that a client presents; only its [`KeyDigest`] is stored.
//! - [`authenticate`] looks a key up in one round trip; [`ACCESS_LUA`] does the same inside another script.
//! - [`Access`] reads tenants and keys. Changes ([`create_tenant`], [`create_key`], [`rotate`], [`revoke`] …)
//!   are effects that are written together with their audit event.
//! - [`LastUse`] records when keys were last used, to the minute.
//!
//! Nothing is cached: the next request of a revoked key or a suspended tenant is rejected, on every instance.
//! A denied key is a value ([`Authenticated`]); an unavailable Redis or a damaged record is an error
//! ([`AccessError`]). Stored bytes are in `records.rs`, Redis keys in [`keys`].

mod authenticate;
mod brand;
mod change;
mod claims;
mod gtin;
mod issuer;
mod key;
pub mod keys;
mod last_use;
mod records;
mod scope;
mod store;
mod tenant_id;

pub use authenticate::{ACCESS_LUA, Authenticated, KeyPrincipal, authenticate, authenticate_with_permit};
pub use brand::{BrandKeys, BrandName, NotABrand};
pub use change::{create_key, create_tenant, resume, revoke, rotate, suspend, update_tenant};
pub use claims::{Claims, MAX_CLAIMS};
pub use gtin::{GtinPrefix, GtinRange, NotAGtinPrefix, gtin_number};
pub use issuer::Issuer;
pub use key::{ApiKey, KeyDigest, KeyId, NotAKey, NotAKeyId};
pub use last_use::{LastUse, MOST_KEYS};
pub use records::{
    AccessRecordError, Cause, DEFAULT_MAX_BATCHES, FOR_EVER, KeyRecord, KeyStatus, Rotation, StoredAccess,
    Tenant,
};
pub use scope::{NotAScope, Scope, Scopes};
pub use store::{Access, AccessError, AccessPage, ApiKeyEntry};
pub use tenant_id::{NotATenantId, TenantId};

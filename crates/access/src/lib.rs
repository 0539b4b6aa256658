//! Tenants and API keys: who may do what, in whose name.
//!
//! - [`ApiKey`]: the text that a holder has; [`KeyDigest`] is all that is kept of it.
//! - [`authenticate`]: whose key it is, in one round trip; [`ACCESS_LUA`] does the same inside somebody else's script.
//! - [`Access`]: reading tenants and keys. Changes are effects that travel with their audit event: [`create_tenant`], [`suspend`],
//!   [`resume`], [`create_key`], [`rotate`], [`revoke`].
//! - [`LastUse`]: when keys were last used, coarsely.
//!
//! Nothing is cached: what was revoked or suspended is refused by the next request, on every instance.

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

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
//!
//! ```
//! # use std::{num::NonZeroUsize, sync::Arc, time::Duration};
//! # use ambient::{Clock, SystemClock};
//! # use audit_chain::{Appender, AppenderConfig, AuditMetrics, Details, Event, NewEvent};
//! # use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
//! use access::{Access, ApiKey, Authenticated, KeyRecord, Scope, Scopes, TenantId, authenticate};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let redis = test_support::RedisServer::start().await;
//! # let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! # let config = PoolConfig {
//! #     name: "durable",
//! #     url: redis.url().parse()?,
//! #     permits: NonZeroUsize::MIN,
//! #     connections: NonZeroUsize::MIN,
//! #     wait: Duration::from_secs(30),
//! #     command_timeout: Duration::from_secs(30),
//! #     open_for: redis_pool::OPEN_FOR,
//! # };
//! # let pool = RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default());
//! # let deployment = r#"{"id":"ab"}"#;
//! # let mut set = redis::cmd("SET");
//! # set.arg("vt1:deployment").arg(deployment);
//! # pool.command(set).await?;
//! # let (now, unix_millis) = (clock.utc(), clock.unix_millis());
//! # let config = AppenderConfig::new("example.org/audit", Vec::new());
//! # let appender = Appender::start(pool.clone(), config, clock, &AuditMetrics::default());
//! # let event = |action: &str, nonce: u8| {
//! #     let what = NewEvent {
//! #         tenant: "default".to_owned(), actor: "cli".to_owned(), action: action.to_owned(),
//! #         resource: "key".to_owned(), request_id: "r".to_owned(), ip: None, details: Details::new(),
//! #     };
//! #     Event::new(unix_millis, ambient::uuid_v7(unix_millis), [nonce; 16], what)
//! # };
//! # let (created, revoked) = (event("key.created", 1)?, event("key.revoked", 2)?);
//! let key = ApiKey::generate(); // `key.reveal()` is shown to its holder once
//! let record = KeyRecord {
//!     id: *key.id(),
//!     tenant: TenantId::default_tenant(),
//!     digest: *key.digest(),
//!     scopes: Scopes::from([Scope::FactoryRead]),
//!     created_at: now,
//!     created_by: "cli".to_owned(),
//!     # label: None, expires_at: None, revoked: None, rotated: None, replaces: None,
//!     // …
//! };
//! appender.append(&created, access::create_key(&record)).await?;
//! let outcome = authenticate(&pool, deployment, &key).await?;
//! assert!(matches!(outcome, Authenticated::Principal(found) if found.scopes.contains(Scope::FactoryRead)));
//!
//! let stored = Access::new(pool.clone()).key(key.id()).await?.ok_or("the key is missing")?;
//! appender.append(&revoked, access::revoke(&stored, now, "leaked")).await?;
//! assert_eq!(authenticate(&pool, deployment, &key).await?, Authenticated::Invalid);
//! # Ok(())
//! # }
//! ```

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
pub use last_use::{LastUse, MAX_PENDING_KEYS};
pub use records::{
    AccessRecordError, Cause, DEFAULT_MAX_BATCHES, FOR_EVER, KeyRecord, KeyStatus, Rotation, StoredAccess,
    Tenant,
};
pub use scope::{NotAScope, Scope, Scopes};
pub use store::{Access, AccessError, AccessPage, ApiKeyEntry};
pub use tenant_id::{NotATenantId, TenantId};

//! Authenticates an API key in one round trip. Nothing is cached, so the next request of a revoked or expired
//! key is rejected on every instance.

use std::sync::LazyLock;

use redis_pool::{PoolError, PoolPermit, RedisPool, Script};

use crate::key::{ApiKey, KeyId};
use crate::keys;
use crate::scope::Scopes;
use crate::tenant_id::TenantId;

/// The Lua function `access_verify`, for scripts that authenticate as one of several steps. Its header
/// documents its use.
pub const ACCESS_LUA: &str = include_str!("lua/access.lua");

static AUTHENTICATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("authenticate", [ACCESS_LUA, include_str!("lua/authenticate.lua")].concat())
});

const VERIFIED: i64 = 0;
const INVALID: i64 = 1;
const SUSPENDED: i64 = 2;
const STATE_LOST: i64 = 3;
const DAMAGED: i64 = 4;
const TENANT_GONE: i64 = 5;

/// A verified key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrincipal {
    /// The public id of the key.
    pub id: KeyId,
    /// The tenant that it acts for.
    pub tenant: TenantId,
    /// The operations that it permits.
    pub scopes: Scopes,
}

/// Result of authenticating a presented key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticated {
    /// The key is valid.
    Principal(KeyPrincipal),
    /// The key is unknown, wrong, expired, rotated or revoked. The caller must not learn which.
    Invalid,
    /// The key is valid, but its tenant is suspended.
    Suspended,
    /// The deployment record is missing or different.
    StateLost,
    /// The key is valid, but its tenant's record has the wrong type.
    Damaged,
    /// The key is valid, but its tenant's record is missing.
    TenantGone,
}

/// Authenticates `key`. `deployment_prefix` is the required prefix of the deployment record.
///
/// # Errors
/// See [`PoolError`]; [`PoolError::Reply`] if the stored record holds an invalid tenant id.
pub async fn authenticate(
    pool: &RedisPool,
    deployment_prefix: &str,
    key: &ApiKey,
) -> Result<Authenticated, PoolError> {
    let permit = pool.permit().await?;
    authenticate_with_permit(pool, &permit, deployment_prefix, key).await
}

/// Like [`authenticate`], with a permit that the caller holds: waiting for a second permit could deadlock.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_with_permit(
    pool: &RedisPool,
    permit: &PoolPermit,
    deployment_prefix: &str,
    key: &ApiKey,
) -> Result<Authenticated, PoolError> {
    let call = AUTHENTICATE.invoke().key(keys::key(key.id())).key(keys::DEPLOYMENT);
    let (status, scopes, tenant): (i64, u8, String) = call
        .arg(key.digest().as_bytes())
        .arg(deployment_prefix)
        .run_with_permit(pool, permit, pool.command_timeout())
        .await?;
    let invalid_reply = |what: String| PoolError::Reply { what: format!("authenticate: {what}") };
    match status {
        VERIFIED => {
            let tenant = tenant.parse().map_err(|error| invalid_reply(format!("{error}")))?;
            Ok(Authenticated::Principal(KeyPrincipal {
                id: *key.id(),
                tenant,
                scopes: Scopes::from_bits(scopes),
            }))
        }
        INVALID => Ok(Authenticated::Invalid),
        SUSPENDED => Ok(Authenticated::Suspended),
        STATE_LOST => Ok(Authenticated::StateLost),
        DAMAGED => Ok(Authenticated::Damaged),
        TENANT_GONE => Ok(Authenticated::TenantGone),
        other => Err(invalid_reply(format!("status {other}"))),
    }
}

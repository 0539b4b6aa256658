//! Whose key it is, in one round trip. Looked up anew each time: what was revoked, rotated away or suspended is refused by
//! the next request, on every instance.

use std::sync::LazyLock;

use redis_pool::{Error, PoolPermit, RedisPool, Script};

use crate::key::{ApiKey, KeyId};
use crate::keys;
use crate::scope::Scopes;
use crate::tenant_id::TenantId;

/// `access_verify`, for a script that authenticates among other things. The file tells how it is used.
pub const ACCESS_LUA: &str = include_str!("lua/access.lua");

static AUTHENTICATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("authenticate", [ACCESS_LUA, include_str!("lua/authenticate.lua")].concat())
});

const VERIFIED: i64 = 0;
const INVALID: i64 = 1;
const SUSPENDED: i64 = 2;
const LOST: i64 = 3;
const DAMAGED: i64 = 4;
const TENANT_GONE: i64 = 5;

/// A verified key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrincipal {
    /// Its public id.
    pub id: KeyId,
    /// In whose name it acts.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Scopes,
}

/// What is known of a key that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticated {
    /// It is a key, and in force.
    Principal(KeyPrincipal),
    /// Unknown, another secret, expired, rotated away or revoked; which, the caller is not told.
    Invalid,
    /// The key is right and its tenant is suspended.
    Suspended,
    /// The deployment record is gone or another one.
    StateLost,
    /// The key is right, and its tenant's record is of another type.
    Damaged,
    /// The key is right, and its tenant's record is gone.
    TenantGone,
}

/// Whose `key` it is; `deployment_prefix` is what the deployment record must begin with.
///
/// # Errors
/// See [`Error`]; [`Error::Reply`] when what is stored names no tenant.
pub async fn authenticate(
    pool: &RedisPool,
    deployment_prefix: &str,
    key: &ApiKey,
) -> Result<Authenticated, Error> {
    let permit = pool.permit().await?;
    authenticate_with_permit(pool, &permit, deployment_prefix, key).await
}

/// As [`authenticate`], with a permit that is taken already: whoever holds one must not wait for another.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_with_permit(
    pool: &RedisPool,
    permit: &PoolPermit,
    deployment_prefix: &str,
    key: &ApiKey,
) -> Result<Authenticated, Error> {
    let call = AUTHENTICATE.invoke().key(keys::key(key.id())).key(keys::DEPLOYMENT);
    let (status, scopes, tenant): (i64, u8, String) = call
        .arg(key.digest().as_bytes())
        .arg(deployment_prefix)
        .run_with_permit(pool, permit, pool.command_timeout())
        .await?;
    let misshapen = |what: String| Error::Reply { what: format!("authenticate: {what}") };
    match status {
        VERIFIED => {
            let tenant = tenant.parse().map_err(|error| misshapen(format!("{error}")))?;
            Ok(Authenticated::Principal(KeyPrincipal {
                id: *key.id(),
                tenant,
                scopes: Scopes::from_bits(scopes),
            }))
        }
        INVALID => Ok(Authenticated::Invalid),
        SUSPENDED => Ok(Authenticated::Suspended),
        LOST => Ok(Authenticated::StateLost),
        DAMAGED => Ok(Authenticated::Damaged),
        TENANT_GONE => Ok(Authenticated::TenantGone),
        other => Err(misshapen(format!("status {other}"))),
    }
}

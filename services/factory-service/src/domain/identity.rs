//! Who acts. The presented API key becomes a [`Principal`]. With the request, it becomes a [`Caller`].
//!
//! Every domain function that reads or changes a tenant's records takes a [`Caller`]. A key is looked up for
//! every request, so every instance rejects a revoked or suspended key from the next request on.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use access::{ApiKey, Authenticated, LastUse, Scope, Scopes, TenantId};
use ambient::Clock;
use audit_chain::{AuditAction, Details, NewEvent};
use idempotency::Origin;
use redis_pool::RedisPool;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use storage::{DeploymentState, DurableStorage, GateError, StorageError};
use subtle::ConstantTimeEq;

use crate::domain::claimed_request::ClaimedRequest;
use crate::domain::error::FactoryError;

/// The SHA-256 of the bootstrap key. The key is at least 32 characters of random text, so an unsalted digest
/// reveals nothing.
#[derive(Clone)]
pub struct BootstrapDigest([u8; 32]);

impl BootstrapDigest {
    /// Returns the digest of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Returns whether `key` is the bootstrap key. Compares in constant time.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }
}

impl fmt::Debug for BootstrapDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootstrapDigest(..)")
    }
}

/// The tenant, actor and scopes of an authenticated key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) tenant: TenantId,
    /// The name in audit events, e.g. `key/bootstrap`.
    pub(crate) actor: String,
    pub(crate) scopes: Scopes,
}

impl Principal {
    /// Returns the operator of the deployment: tenant `default`, with every scope.
    pub(crate) fn operator(actor: &str) -> Self {
        Self { tenant: TenantId::default_tenant(), actor: actor.to_owned(), scopes: Scopes::all() }
    }
}

/// Authenticates API keys.
pub(crate) struct Authenticator {
    bootstrap: BootstrapDigest,
    pool: RedisPool,
    deployment: Arc<DeploymentState>,
    clock: Arc<dyn Clock>,
    last_use: LastUse,
}

impl Authenticator {
    /// `bootstrap` is the first key of tenant `default`. The other keys are in the durable Redis.
    pub(crate) fn new(
        bootstrap: BootstrapDigest,
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        last_use: LastUse,
    ) -> Self {
        let (pool, deployment) = (storage.pool.clone(), Arc::clone(&storage.deployment));
        Self { bootstrap, pool, deployment, clock, last_use }
    }

    /// Returns the principal of an API key. It takes one round trip, or none for the bootstrap key and for a
    /// text that is no API key.
    ///
    /// # Errors
    /// [`FactoryError::UnknownKey`] for an unknown, revoked or expired key; [`FactoryError::Suspended`].
    pub(crate) async fn principal_of(&self, text: &str) -> Result<Principal, FactoryError> {
        if self.bootstrap.matches(text) {
            return Ok(Principal::operator("key/bootstrap"));
        }
        let Ok(key) = ApiKey::parse(text) else { return Err(FactoryError::UnknownKey) };
        let deployment = self.deployment.deployment()?;
        let answered = access::authenticate(&self.pool, deployment.prefix(), &key).await;
        match answered? {
            Authenticated::Principal(known) => {
                self.last_use.note(&known.id, self.clock.unix_millis());
                Ok(Principal {
                    actor: format!("key/{}", known.id),
                    tenant: known.tenant,
                    scopes: known.scopes,
                })
            }
            Authenticated::Invalid => Err(FactoryError::UnknownKey),
            Authenticated::Suspended => Err(FactoryError::Suspended),
            Authenticated::StateLost => {
                self.deployment.report_lost(
                    "the deployment record was missing or another one when an API key was looked up",
                );
                Err(GateError::StateLost.into())
            }
            Authenticated::Damaged | Authenticated::TenantGone => {
                let what = format!("the record of the tenant of API key {}", key.id());
                Err(StorageError::RecordLost { what }.into())
            }
        }
    }
}

/// A principal in one request, from one address.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) request_id: String,
    pub(crate) ip: Option<IpAddr>,
    /// The claim under which the request is executed, if it has an idempotency key.
    pub(crate) claimed: Option<Arc<ClaimedRequest>>,
}

impl Caller {
    /// Returns the operator who runs a command that is no request, such as `restore accept`. `now` is Unix
    /// time in milliseconds.
    pub(crate) fn command_line(now: u64) -> Self {
        let request_id = ambient::uuid_v7(now).to_string();
        Self { principal: Principal::operator("cli"), request_id, ip: None, claimed: None }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.principal.tenant
    }

    /// Returns whether a stored record belongs to the caller's tenant.
    pub(crate) fn owns(&self, stored_tenant: &str) -> bool {
        self.tenant().as_str() == stored_tenant
    }

    /// Returns whether a stored audit event belongs to the caller's tenant. An event that cannot be read
    /// belongs to no tenant.
    pub(crate) fn owns_event(&self, event: &RawValue) -> bool {
        #[derive(Deserialize)]
        struct EventTenant<'a> {
            #[serde(borrow)]
            tenant: Cow<'a, str>,
        }
        serde_json::from_str::<EventTenant<'_>>(event.get()).is_ok_and(|event| self.owns(&event.tenant))
    }

    /// Returns whether the caller has `scope`.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.principal.scopes.contains(scope)
    }

    /// Returns who sends this try of the request, and from where.
    pub(crate) fn origin(&self) -> Origin {
        Origin { actor: self.principal.actor.clone(), request_id: self.request_id.clone(), ip: self.ip }
    }

    /// Returns an audit event of the caller's own tenant, see [`Self::event_for`].
    pub(crate) fn event(&self, action: AuditAction, resource: String, details: Details) -> NewEvent {
        self.event_for(self.tenant(), action, resource, details)
    }

    /// Returns an audit event of `tenant`: an operator acts on other tenants.
    ///
    /// Actor, request id and address are those of the first try, so every try of a request with an
    /// idempotency key makes the same event. If another actor completes the request, `completed_by` names it.
    pub(crate) fn event_for(
        &self,
        tenant: &TenantId,
        action: AuditAction,
        resource: String,
        mut details: Details,
    ) -> NewEvent {
        let first = self.claimed.as_ref().map(|claimed| claimed.claim().origin().clone());
        let Origin { actor, request_id, ip } = first.unwrap_or_else(|| self.origin());
        if actor != self.principal.actor {
            details.insert("completed_by", self.principal.actor.as_str());
        }
        let (tenant, action) = (tenant.as_str().to_owned(), action.into());
        NewEvent { tenant, actor, action, resource, request_id, ip, details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_bootstrap_key_matches() {
        let key = "0123456789abcdef0123456789abcdef";
        let digest = BootstrapDigest::of(key);
        assert!(digest.matches(key));
        for other in ["", &key[1..], "0123456789abcdef0123456789abcdeF", &format!("{key} ")] {
            assert!(!digest.matches(other), "{other:?}");
        }
    }
}

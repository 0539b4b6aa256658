//! Who acts: the key that was shown becomes a principal, and with the request it came in, a caller.
//!
//! Everything below takes a [`Caller`], so that nothing can be read or changed in nobody's name. A key is looked up anew for
//! every request: what was revoked or suspended is refused by the next one, on every instance.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use access::{ApiKey, Authenticated, LastUse, Scope, Scopes, TenantId};
use ambient::Clock;
use audit_chain::{AuditAction, Details, NewEvent};
use redis_pool::RedisPool;
use sha2::{Digest, Sha256};
use storage::{DeploymentState, DurableStorage, GateError, StorageError};
use subtle::ConstantTimeEq;

use crate::domain::claimed_request::ClaimedRequest;
use crate::domain::refusal::Refusal;

/// The SHA-256 of an API key. Keys are long and random, so a plain digest gives nothing away.
#[derive(Clone)]
pub struct BootstrapDigest([u8; 32]);

impl BootstrapDigest {
    /// The digest of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether `key` is the one; takes the same time wherever they differ.
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

/// Who a key stands for, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) tenant: TenantId,
    /// As audit events name it, e.g. `key/bootstrap`.
    pub(crate) actor: String,
    pub(crate) scopes: Scopes,
}

impl Principal {
    /// The operator of the deployment, of tenant `default`, with every scope.
    pub(crate) fn operator(actor: &str) -> Self {
        Self { tenant: TenantId::default_tenant(), actor: actor.to_owned(), scopes: Scopes::all() }
    }
}

/// Knows the keys.
pub(crate) struct Authenticator {
    bootstrap: BootstrapDigest,
    pool: RedisPool,
    deployment: Arc<DeploymentState>,
    clock: Arc<dyn Clock>,
    last_use: LastUse,
}

impl Authenticator {
    /// `bootstrap` is tenant `default`'s first key; the others are looked up.
    pub(crate) fn new(
        bootstrap: BootstrapDigest,
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        last_use: LastUse,
    ) -> Self {
        let (pool, deployment) = (storage.pool.clone(), Arc::clone(&storage.deployment));
        Self { bootstrap, pool, deployment, clock, last_use }
    }

    /// Whose key it is. One round trip, none for the bootstrap key or for a text that is no key.
    pub(crate) async fn principal_of(&self, text: &str) -> Result<Principal, Refusal> {
        if self.bootstrap.matches(text) {
            return Ok(Principal::operator("key/bootstrap"));
        }
        let Ok(key) = ApiKey::parse(text) else { return Err(Refusal::UnknownKey) };
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
            Authenticated::Invalid => Err(Refusal::UnknownKey),
            Authenticated::Suspended => Err(Refusal::Suspended),
            Authenticated::StateLost => {
                self.deployment
                    .report_lost("an API key was looked up and the deployment record was gone or another");
                Err(GateError::StateLost.into())
            }
            Authenticated::Damaged | Authenticated::TenantGone => {
                let what = format!("the record of the tenant of API key {}", key.id());
                Err(StorageError::RecordLost { what }.into())
            }
        }
    }
}

/// A principal at work: in one request, from one address.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) request_id: String,
    pub(crate) ip: Option<IpAddr>,
    /// The claim under which the request is executed, if it has an idempotency key.
    pub(crate) claimed: Option<Arc<ClaimedRequest>>,
}

impl Caller {
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.principal.tenant
    }

    /// Whether a stored record is the caller's tenant's.
    pub(crate) fn owns(&self, stored_tenant: &str) -> bool {
        self.tenant().as_str() == stored_tenant
    }

    /// Whether the caller may do what needs `scope`.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.principal.scopes.contains(scope)
    }

    /// What this caller did, for the audit chain, in its own tenant's name.
    pub(crate) fn event(&self, action: AuditAction, resource: String, details: Details) -> NewEvent {
        self.event_for(self.tenant(), action, resource, details)
    }

    /// What this caller did in the name of `tenant`: an operator acts on other tenants.
    pub(crate) fn event_for(
        &self,
        tenant: &TenantId,
        action: AuditAction,
        resource: String,
        details: Details,
    ) -> NewEvent {
        NewEvent {
            tenant: tenant.as_str().to_owned(),
            actor: self.principal.actor.clone(),
            action: action.into(),
            resource,
            request_id: self.request_id.clone(),
            ip: self.ip,
            details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_all_of_it() {
        let key = "0123456789abcdef0123456789abcdef";
        let digest = BootstrapDigest::of(key);
        assert!(digest.matches(key));
        for other in ["", &key[1..], "0123456789abcdef0123456789abcdeF", &format!("{key} ")] {
            assert!(!digest.matches(other), "{other:?}");
        }
    }
}

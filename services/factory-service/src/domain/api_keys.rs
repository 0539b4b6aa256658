//! API keys: operators create, list, rotate and revoke them.

use std::time::Duration;

use access::{
    Access, AccessPage, ApiKey, ApiKeyEntry, KeyId, KeyRecord, KeyStatus, Scopes, StoredAccess, TenantId,
};
use audit_chain::{AuditAction, Details};
use idempotency::StoredResponse;
use time::OffsetDateTime;

use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, INSTANT, Reason};
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const OVERTAKEN: &str = "other requests changed the key during every attempt; try again";
const NOT_ACTIVE: &str =
    "only an active key can be rotated; this one is revoked, has expired, or has a successor";

/// The key to create.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) tenant: TenantId,
    pub(crate) scopes: Scopes,
    pub(crate) label: Option<String>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// What operators see of a key. It never includes the secret.
#[derive(Debug, Clone)]
pub(crate) struct KeyView {
    pub(crate) record: KeyRecord,
    pub(crate) status: KeyStatus,
    pub(crate) last_used_at: Option<OffsetDateTime>,
}

/// The keys of all tenants.
pub(crate) struct ApiKeys {
    store: Store,
    access: Access,
}

impl ApiKeys {
    pub(crate) fn new(store: Store, access: Access) -> Self {
        Self { store, access }
    }

    /// Creates a key. `answer` is called twice: without the key for the stored response, and with it for the
    /// client, who sees it only once.
    ///
    /// # Errors
    /// [`FactoryError::Field`] for an expiry in the past and for a tenant that does not exist or is
    /// suspended.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        new: NewKey,
        answer: impl Fn(&KeyView, Option<&ApiKey>) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        let (created_at, _) = self.store.time_and_id(caller, "key");
        if new.expires_at.is_some_and(|end| end <= self.store.now()) {
            let takes = "an instant in the future";
            return Err(FieldError::unacceptable("expires_at", "is in the past", takes, INSTANT).into());
        }
        if !self.exists(&new.tenant).await? {
            return Err(no_such_tenant(&new.tenant, "does not exist"));
        }
        self.store
            .update(OVERTAKEN, || async {
                let key = ApiKey::generate();
                let record = KeyRecord {
                    id: *key.id(),
                    tenant: new.tenant.clone(),
                    digest: *key.digest(),
                    scopes: new.scopes,
                    label: new.label.clone(),
                    created_at,
                    created_by: caller.principal.actor.clone(),
                    expires_at: new.expires_at,
                    revoked: None,
                    rotated: None,
                    replaces: None,
                };
                let event = caller.event_for(
                    &new.tenant,
                    AuditAction::KeyCreated,
                    resource(&record.id),
                    details_of(&record),
                );
                let effect = access::create_key(&record);
                let view = self.view(record, None);
                if self.store.write_once(caller, event, effect, &answer(&view, None)).await? == Written::Yes {
                    return Ok(Update::Done(answer(&view, Some(&key))));
                }
                self.not_suspended(&new.tenant).await?;
                Ok(Update::Overtaken)
            })
            .await
    }

    /// Returns one page of a tenant's keys. Each page is an audit event.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<AccessPage<KeyView, KeyId>, FactoryError> {
        if !self.exists(tenant).await? {
            return Err(FactoryError::NoSuch("tenant"));
        }
        let page = self.store.read(self.access.keys_of(tenant, after.as_ref(), limit)).await?;
        self.store
            .note(caller.event_for(tenant, AuditAction::KeyListed, "key/*".to_owned(), Details::new()))
            .await?;
        let view = |entry: ApiKeyEntry| self.view(entry.record, entry.last_used_at);
        Ok(AccessPage { items: page.items.into_iter().map(view).collect(), next: page.next })
    }

    /// Returns one key. Each read is an audit event.
    pub(crate) async fn show(&self, caller: &Caller, id: &KeyId) -> Result<KeyView, FactoryError> {
        let record = self.stored(id).await?.value;
        let view = self.used(record).await?;
        let event =
            caller.event_for(&view.record.tenant, AuditAction::KeyShown, resource(id), Details::new());
        self.store.note(event).await?;
        Ok(view)
    }

    /// Creates a successor with the same tenant, scopes, label and expiry. The old key stays valid for
    /// `overlap`. `answer` is called twice, as in [`Self::create`].
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] if the key is not active.
    pub(crate) async fn rotate(
        &self,
        caller: &Caller,
        id: &KeyId,
        overlap: Duration,
        answer: impl Fn(&KeyView, Option<&ApiKey>) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        self.store
            .update(OVERTAKEN, || async {
                let stored = self.stored(id).await?;
                let now = self.store.now();
                if stored.value.status(now) != KeyStatus::Active {
                    return Err(FactoryError::Conflict(NOT_ACTIVE));
                }
                let (created_at, _) = self.store.time_and_id(caller, "key");
                let key = ApiKey::generate();
                let successor = KeyRecord {
                    id: *key.id(),
                    digest: *key.digest(),
                    created_at,
                    created_by: caller.principal.actor.clone(),
                    replaces: Some(*id),
                    ..stored.value.clone()
                };
                let until = now + overlap;
                let details = Details::new()
                    .with("successor", successor.id.as_str())
                    .with("overlap_s", u32::try_from(overlap.as_secs()).unwrap_or(u32::MAX));
                let event =
                    caller.event_for(&successor.tenant, AuditAction::KeyRotated, resource(id), details);
                let effect = access::rotate(&stored, &successor, now, until);
                let view = self.view(successor, None);
                if self.store.write_once(caller, event, effect, &answer(&view, None)).await? == Written::Yes {
                    return Ok(Update::Done(answer(&view, Some(&key))));
                }
                self.not_suspended(&view.record.tenant).await?;
                Ok(Update::Overtaken)
            })
            .await
    }

    /// Revokes a key. A repeat keeps the first time and reason and appends no event.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        id: &KeyId,
        reason: Reason,
        answer: impl Fn(&KeyView) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        let reason = reason.into_string();
        self.store
            .update(OVERTAKEN, || async {
                let stored = self.stored(id).await?;
                if stored.value.revoked.is_some() {
                    return Ok(Update::Done(answer(&self.used(stored.value).await?)));
                }
                let now = self.store.now();
                let details = Details::new().with("reason", reason.as_str());
                let event =
                    caller.event_for(&stored.value.tenant, AuditAction::KeyRevoked, resource(id), details);
                let effect = access::revoke(&stored, now, &reason);
                let answer = answer(&self.used(stored.value.revoked(now, &reason)).await?);
                Ok(self.store.write_once(caller, event, effect, &answer).await?.done(answer))
            })
            .await
    }

    async fn exists(&self, tenant: &TenantId) -> Result<bool, FactoryError> {
        Ok(tenant.is_default() || self.store.read(self.access.tenant(tenant)).await?.is_some())
    }

    /// Checks that the tenant is not suspended, so that the error names the cause of the failed write.
    async fn not_suspended(&self, tenant: &TenantId) -> Result<(), FactoryError> {
        let stored = self.store.read(self.access.tenant(tenant)).await?;
        if stored.is_some_and(|tenant| tenant.value.suspended.is_some()) {
            return Err(no_such_tenant(tenant, "is suspended"));
        }
        Ok(())
    }

    async fn stored(&self, id: &KeyId) -> Result<StoredAccess<KeyRecord>, FactoryError> {
        self.store.read(self.access.key(id)).await?.ok_or(FactoryError::NoSuch("key"))
    }

    async fn used(&self, record: KeyRecord) -> Result<KeyView, FactoryError> {
        let last_used_at = self.store.read(self.access.last_used_at(&record.id)).await?;
        Ok(self.view(record, last_used_at))
    }

    fn view(&self, record: KeyRecord, last_used_at: Option<OffsetDateTime>) -> KeyView {
        KeyView { status: record.status(self.store.now()), record, last_used_at }
    }
}

fn no_such_tenant(tenant: &TenantId, why: &str) -> FactoryError {
    let held = format!("is {tenant}, which {why}");
    FieldError::unacceptable("tenant", held, "the id of an active tenant", "default").into()
}

fn resource(id: &KeyId) -> String {
    format!("key/{id}")
}

fn details_of(record: &KeyRecord) -> Details {
    let scopes: Vec<&str> = record.scopes.iter().map(access::Scope::as_str).collect();
    let details = Details::new().with("scopes", scopes.join(" "));
    match &record.label {
        Some(label) => details.with("label", label.as_str()),
        None => details,
    }
}

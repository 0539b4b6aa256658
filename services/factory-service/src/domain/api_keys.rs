//! API keys: made, listed, rotated and revoked by operators.

use std::time::Duration;

use access::{
    Access, AccessPage, ApiKey, ApiKeyEntry, KeyId, KeyRecord, KeyStatus, Scopes, StoredAccess, TenantId,
};
use audit_chain::{AuditAction, Details};
use idempotency::StoredResponse;
use time::OffsetDateTime;

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, INSTANT, Reason};
use crate::domain::refusal::Refusal;
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const OVERTAKEN: &str = "the key was changed by others at the same time, again and again; try again";
const NOT_ACTIVE: &str =
    "only an active key can be rotated; this one is revoked, has expired, or has a successor";

/// A key that is to be.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) tenant: TenantId,
    pub(crate) scopes: Scopes,
    pub(crate) label: Option<String>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// A key as it is shown: never its secret.
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

    /// Makes a key. `answer` is asked twice: for what the client is shown, once, and for what is kept, without the key.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        new: NewKey,
        answer: impl Fn(&KeyView, Option<&ApiKey>) -> StoredResponse,
    ) -> Result<StoredResponse, Refusal> {
        let (created_at, _) = self.store.stamp(caller, "key");
        if new.expires_at.is_some_and(|end| end <= self.store.now()) {
            let takes = "an instant in the future";
            return Err(FieldError::unacceptable("expires_at", "is past", takes, INSTANT).into());
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

    /// One page of a tenant's keys. Looking is an event.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<AccessPage<KeyView, KeyId>, Refusal> {
        if !self.exists(tenant).await? {
            return Err(Refusal::NoSuch("tenant"));
        }
        let page = self.store.read(self.access.keys_of(tenant, after.as_ref(), limit)).await?;
        self.store
            .note(caller.event_for(tenant, AuditAction::KeyListed, "key/*".to_owned(), Details::new()))
            .await?;
        let view = |entry: ApiKeyEntry| self.view(entry.record, entry.last_used_at);
        Ok(AccessPage { items: page.items.into_iter().map(view).collect(), next: page.next })
    }

    /// One key. Looking is an event.
    pub(crate) async fn show(&self, caller: &Caller, id: &KeyId) -> Result<KeyView, Refusal> {
        let record = self.stored(id).await?.value;
        let view = self.used(record).await?;
        let event =
            caller.event_for(&view.record.tenant, AuditAction::KeyShown, resource(id), Details::new());
        self.store.note(event).await?;
        Ok(view)
    }

    /// Makes a successor with the same tenant, scopes, label and end; the key itself goes on for `overlap`.
    pub(crate) async fn rotate(
        &self,
        caller: &Caller,
        id: &KeyId,
        overlap: Duration,
        answer: impl Fn(&KeyView, Option<&ApiKey>) -> StoredResponse,
    ) -> Result<StoredResponse, Refusal> {
        self.store
            .update(OVERTAKEN, || async {
                let stored = self.stored(id).await?;
                let now = self.store.now();
                if stored.value.status(now) != KeyStatus::Active {
                    return Err(Refusal::Conflict(NOT_ACTIVE));
                }
                let (created_at, _) = self.store.stamp(caller, "key");
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

    /// Ends a key; one that is revoked keeps its first time and reason.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        id: &KeyId,
        reason: Reason,
        answer: impl Fn(&KeyView) -> StoredResponse,
    ) -> Result<StoredResponse, Refusal> {
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

    async fn exists(&self, tenant: &TenantId) -> Result<bool, Refusal> {
        Ok(tenant.is_default() || self.store.read(self.access.tenant(tenant)).await?.is_some())
    }

    /// A suspended tenant gets no keys; it is told so instead of "try again".
    async fn not_suspended(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let stored = self.store.read(self.access.tenant(tenant)).await?;
        if stored.is_some_and(|tenant| tenant.value.suspended.is_some()) {
            return Err(no_such_tenant(tenant, "is suspended"));
        }
        Ok(())
    }

    async fn stored(&self, id: &KeyId) -> Result<StoredAccess<KeyRecord>, Refusal> {
        self.store.read(self.access.key(id)).await?.ok_or(Refusal::NoSuch("key"))
    }

    async fn used(&self, record: KeyRecord) -> Result<KeyView, Refusal> {
        let last_used_at = self.store.read(self.access.last_used_at(&record.id)).await?;
        Ok(self.view(record, last_used_at))
    }

    fn view(&self, record: KeyRecord, last_used_at: Option<OffsetDateTime>) -> KeyView {
        KeyView { status: record.status(self.store.now()), record, last_used_at }
    }
}

fn no_such_tenant(tenant: &TenantId, why: &str) -> Refusal {
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

//! Tenants: operators create, list, change, suspend and resume them.
//!
//! Tenant `default` holds the bootstrap key, so it exists from the start and cannot be suspended. It has a
//! record only after its first change.

use access::{
    Access, AccessPage, BrandKeys, BrandName, Claims, GtinPrefix, GtinRange, StoredAccess, Tenant, TenantId,
};
use audit_chain::{AuditAction, Details, Effect};
use idempotency::StoredResponse;
use time::OffsetDateTime;

use input::quoted;

use crate::domain::error::FactoryError;
use crate::domain::field_patch::FieldPatch;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Reason};
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const EXISTS: &str = "a tenant with this id exists already";
const IS_DEFAULT: &str = "tenant default holds the bootstrap key and can be neither created nor suspended";
const OVERTAKEN: &str = "other requests changed the tenant during every attempt; try again";

/// The fields to change.
#[derive(Debug, Clone)]
pub(crate) struct TenantPatch {
    pub(crate) name: FieldPatch<String>,
    pub(crate) brands: Option<Vec<BrandName>>,
    pub(crate) gtin_prefixes: Option<Vec<GtinPrefix>>,
    pub(crate) max_batches: FieldPatch<u32>,
}

impl TenantPatch {
    /// Returns whether the patch names no field.
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_keep()
            && self.brands.is_none()
            && self.gtin_prefixes.is_none()
            && self.max_batches.is_keep()
    }

    /// Returns the patched tenant, and the changed fields for the audit event.
    fn applied_to(self, tenant: &Tenant) -> (Tenant, Details) {
        let (mut changed, mut details) = (tenant.clone(), Details::new());
        if self.name.apply_to(&mut changed.name) {
            details.insert("name", changed.name.clone());
        }
        if let Some(brands) = self.brands.filter(|brands| *brands != tenant.brands) {
            let names: Vec<&str> = brands.iter().map(BrandName::as_str).collect();
            details.insert("brands", serde_json::Value::from(names).to_string());
            changed = changed.with_brands(brands);
        }
        if let Some(prefixes) = self.gtin_prefixes.filter(|prefixes| *prefixes != tenant.gtin_prefixes) {
            let digits: Vec<&str> = prefixes.iter().map(GtinPrefix::as_str).collect();
            details.insert("gtin_prefixes", serde_json::Value::from(digits).to_string());
            changed.gtin_prefixes = prefixes;
        }
        if self.max_batches.apply_to(&mut changed.max_batches) {
            details.insert("max_batches", changed.max_batches());
        }
        (changed, details)
    }
}

/// All tenants.
pub(crate) struct Tenants {
    store: Store,
    access: Access,
}

impl Tenants {
    pub(crate) fn new(store: Store, access: Access) -> Self {
        Self { store, access }
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] if the id is `default` or in use.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        id: TenantId,
        name: Option<String>,
        answer: impl FnOnce(Tenant) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        if id.is_default() {
            return Err(FactoryError::Conflict(IS_DEFAULT));
        }
        let (created_at, _) = self.store.time_and_id(caller, "tenant");
        let tenant = Tenant::new(id, name, created_at);
        let mut details = Details::new();
        if let Some(name) = &tenant.name {
            details.insert("name", name.as_str());
        }
        let event = caller.event_for(&tenant.id, AuditAction::TenantCreated, resource(&tenant.id), details);
        let effect = access::create_tenant(&tenant);
        let answer = answer(tenant);
        match self.store.write_once(caller, event, effect, &answer).await? {
            Written::Yes => Ok(answer),
            Written::Overtaken { .. } => Err(FactoryError::Conflict(EXISTS)),
        }
    }

    /// Returns one page of tenants, tenant `default` first. Each page is an audit event.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<AccessPage<Tenant, TenantId>, FactoryError> {
        let default = TenantId::default_tenant();
        let (first, made_after) = match after {
            None => (Some(self.default_tenant().await?), None),
            Some(after) => (None, (after != default).then_some(after)),
        };
        // The cursor `default` comes from a page that held only this tenant.
        let room = limit - usize::from(first.is_some());
        let made = self.access.tenants(made_after.as_ref(), room.max(1));
        let mut page = self.store.read(made).await?;
        if room == 0 {
            page = AccessPage { next: (!page.items.is_empty()).then_some(default), items: Vec::new() };
        }
        let items = first.into_iter().chain(page.items).collect();
        self.store
            .note(caller.event(AuditAction::TenantListed, "tenant/*".to_owned(), Details::new()))
            .await?;
        Ok(AccessPage { items, next: page.next })
    }

    /// Returns one tenant. Each read is an audit event.
    pub(crate) async fn show(&self, caller: &Caller, id: &TenantId) -> Result<Tenant, FactoryError> {
        let tenant = match self.found(id).await? {
            Some(stored) => stored.value,
            None => unrecorded(id)?,
        };
        self.store.note(caller.event_for(id, AuditAction::TenantShown, resource(id), Details::new())).await?;
        Ok(tenant)
    }

    /// Changes a tenant if `is_wanted` accepts the version that is changed. A patch that changes nothing
    /// appends no event. If two tenants claim the same brand or prefix at the same time, only one of them
    /// gets it.
    ///
    /// # Errors
    /// [`FactoryError::OtherVersion`] if `is_wanted` rejects the current version; [`FactoryError::Field`] for
    /// a brand or prefix of another tenant.
    pub(crate) async fn update(
        &self,
        caller: &Caller,
        id: &TenantId,
        patch: TenantPatch,
        is_wanted: impl Fn(&Tenant) -> bool,
    ) -> Result<Tenant, FactoryError> {
        self.store
            .update(OVERTAKEN, || async {
                let stored = self.found(id).await?;
                let tenant = match &stored {
                    Some(stored) => stored.value.clone(),
                    None => Tenant { created_at: self.store.now(), ..unrecorded(id)? },
                };
                if !is_wanted(&tenant) {
                    return Err(FactoryError::OtherVersion);
                }
                let (changed, details) = patch.clone().applied_to(&tenant);
                if changed == tenant {
                    return Ok(Update::Done(tenant));
                }
                let claims = self.free_claims(&changed).await?;
                let effect = access::update_tenant(stored.as_ref(), &changed, &claims);
                let event = caller.event_for(id, AuditAction::TenantUpdated, resource(id), details);
                Ok(self.store.write(event, effect).await?.done(changed))
            })
            .await
    }

    /// Reads all claims and checks that no other tenant holds the tenant's brands and prefixes.
    async fn free_claims(&self, tenant: &Tenant) -> Result<Claims, FactoryError> {
        let brands: Vec<BrandKeys> = tenant.brands.iter().map(BrandName::keys).collect();
        let ranges: Vec<GtinRange> = tenant.gtin_prefixes.iter().map(GtinPrefix::range).collect();
        let claims = self.store.read(self.access.claims(&brands, &ranges)).await?;
        for (brand, keys) in tenant.brands.iter().zip(&brands) {
            if let Some(other) = claims.brand_of_another(keys, &tenant.id) {
                let named = quoted(brand.as_str());
                let held = format!("holds {named}, which is, or looks like, a brand of tenant {other}");
                let takes = "brands that no other tenant has";
                return Err(FieldError::unacceptable("brands", held, takes, r#"["Acme"]"#).into());
            }
        }
        for (prefix, range) in tenant.gtin_prefixes.iter().zip(&ranges) {
            if let Some(other) = claims.gtin_of_another(range, &tenant.id) {
                let held = format!("holds {prefix}, which overlaps a prefix of tenant {other}");
                let takes = "prefixes that no other tenant has";
                return Err(FieldError::unacceptable("gtin_prefixes", held, takes, r#"["4006381"]"#).into());
            }
        }
        Ok(claims)
    }

    /// Suspends a tenant: all its keys are rejected from the next request on. A repeat keeps the first time
    /// and reason.
    pub(crate) async fn suspend(
        &self,
        caller: &Caller,
        id: &TenantId,
        reason: Reason,
        answer: impl Fn(Tenant) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        if id.is_default() {
            return Err(FactoryError::Conflict(IS_DEFAULT));
        }
        let reason = reason.into_string();
        let at = self.store.now();
        let details = Details::new().with("reason", reason.as_str());
        let change = |stored: &StoredAccess<Tenant>| {
            let suspended = || (access::suspend(stored, at, &reason), stored.value.suspended(at, &reason));
            stored.value.suspended.is_none().then(suspended)
        };
        self.change(caller, id, (AuditAction::TenantSuspended, details), change, answer).await
    }

    /// Ends a suspension.
    pub(crate) async fn resume(
        &self,
        caller: &Caller,
        id: &TenantId,
        answer: impl Fn(Tenant) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        if id.is_default() {
            return Ok(answer(self.default_tenant().await?));
        }
        let change = |stored: &StoredAccess<Tenant>| {
            let resumed = || (access::resume(stored), stored.value.resumed());
            stored.value.suspended.is_some().then(resumed)
        };
        self.change(caller, id, (AuditAction::TenantResumed, Details::new()), change, answer).await
    }

    /// Writes the changed tenant that `change` returns. `None` changes nothing.
    async fn change(
        &self,
        caller: &Caller,
        id: &TenantId,
        (action, details): (AuditAction, Details),
        change: impl Fn(&StoredAccess<Tenant>) -> Option<(Effect, Tenant)>,
        answer: impl Fn(Tenant) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        self.store
            .update(OVERTAKEN, || async {
                let stored = self.stored(id).await?;
                let Some((effect, changed)) = change(&stored) else {
                    return Ok(Update::Done(answer(stored.value)));
                };
                let event = caller.event_for(id, action, resource(id), details.clone());
                let answer = answer(changed);
                Ok(self.store.write_once(caller, event, effect, &answer).await?.done(answer))
            })
            .await
    }

    async fn stored(&self, id: &TenantId) -> Result<StoredAccess<Tenant>, FactoryError> {
        self.found(id).await?.ok_or(FactoryError::NoSuch("tenant"))
    }

    async fn found(&self, id: &TenantId) -> Result<Option<StoredAccess<Tenant>>, FactoryError> {
        self.store.read(self.access.tenant(id)).await
    }

    async fn default_tenant(&self) -> Result<Tenant, FactoryError> {
        let id = TenantId::default_tenant();
        self.found(&id).await?.map_or_else(|| unrecorded(&id), |stored| Ok(stored.value))
    }
}

/// Returns tenant `default`, which exists without a record. Its creation time is never shown.
fn unrecorded(id: &TenantId) -> Result<Tenant, FactoryError> {
    let is_there = id.is_default().then(|| Tenant::new(id.clone(), None, OffsetDateTime::UNIX_EPOCH));
    is_there.ok_or(FactoryError::NoSuch("tenant"))
}

fn resource(id: &TenantId) -> String {
    format!("tenant/{id}")
}

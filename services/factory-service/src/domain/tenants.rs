//! Tenants: made, listed, suspended and resumed by operators.
//!
//! Tenant `default` is there without a record, since it holds the bootstrap key: it is always active.

use access::{Access, Page, Stored, Tenant, TenantId};
use audit_chain::{Details, Effect};
use idempotency::Answer;

use crate::domain::identity::Caller;
use crate::domain::input::Reason;
use crate::domain::refusal::Refusal;
use crate::domain::store::{Store, TRIES, Written};

const EXISTS: &str = "there is a tenant of this id already";
const IS_DEFAULT: &str = "tenant default holds the bootstrap key and can be neither made nor suspended";
const OVERTAKEN: &str = "the tenant was changed by others at the same time, again and again; try again";

/// A tenant as it is shown; `default` was never made.
#[derive(Debug, Clone)]
pub(crate) enum TenantView {
    Default,
    Made(Tenant),
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

    pub(crate) async fn create(
        &self,
        caller: &Caller,
        id: TenantId,
        name: Option<String>,
        answer: impl FnOnce(TenantView) -> Answer,
    ) -> Result<Answer, Refusal> {
        if id.is_default() {
            return Err(Refusal::Conflict(IS_DEFAULT));
        }
        let (created_at, _) = self.store.stamp(caller, "tenant");
        let tenant = Tenant { id, name, created_at, suspended: None };
        let mut details = Details::new();
        if let Some(name) = &tenant.name {
            details.insert("name", name.as_str());
        }
        let event = caller.event_for(&tenant.id, "tenant.created", resource(&tenant.id), details);
        let effect = access::create_tenant(&tenant);
        let answer = answer(TenantView::Made(tenant));
        match self.store.write_once(caller, event, effect, &answer).await? {
            Written::Yes => Ok(answer),
            Written::Overtaken => Err(Refusal::Conflict(EXISTS)),
        }
    }

    /// One page, tenant `default` before all others. Looking is an event.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Page<TenantView, TenantId>, Refusal> {
        let default = TenantId::default_tenant();
        let (first, made_after) = match after {
            None => (Some(TenantView::Default), None),
            Some(after) => (None, (after != default).then_some(after)),
        };
        // A cursor that is `default` comes from a page that held nothing else.
        let room = limit - usize::from(first.is_some());
        let made = self.access.tenants(made_after.as_ref(), room.max(1));
        let mut page = self.store.read(made).await?;
        if room == 0 {
            page = Page { next: (!page.items.is_empty()).then_some(default), items: Vec::new() };
        }
        let items = first.into_iter().chain(page.items.into_iter().map(TenantView::Made)).collect();
        self.store.note(caller.event("tenant.listed", "tenant/*".to_owned(), Details::new())).await?;
        Ok(Page { items, next: page.next })
    }

    /// One tenant. Looking is an event.
    pub(crate) async fn show(&self, caller: &Caller, id: &TenantId) -> Result<TenantView, Refusal> {
        let view = if id.is_default() {
            TenantView::Default
        } else {
            TenantView::Made(self.stored(id).await?.value)
        };
        self.store.note(caller.event_for(id, "tenant.shown", resource(id), Details::new())).await?;
        Ok(view)
    }

    /// Refuses all keys of a tenant from the next request on; one that is suspended keeps its first time and reason.
    pub(crate) async fn suspend(
        &self,
        caller: &Caller,
        id: &TenantId,
        reason: Reason,
        answer: impl Fn(TenantView) -> Answer,
    ) -> Result<Answer, Refusal> {
        if id.is_default() {
            return Err(Refusal::Conflict(IS_DEFAULT));
        }
        let reason = reason.into_string();
        let at = self.store.now();
        let details = Details::new().with("reason", reason.as_str());
        let change = |stored: &Stored<Tenant>| {
            let suspended = || (access::suspend(stored, at, &reason), stored.value.suspended(at, &reason));
            stored.value.suspended.is_none().then(suspended)
        };
        self.change(caller, id, ("tenant.suspended", details), change, answer).await
    }

    /// Takes a suspension back.
    pub(crate) async fn resume(
        &self,
        caller: &Caller,
        id: &TenantId,
        answer: impl Fn(TenantView) -> Answer,
    ) -> Result<Answer, Refusal> {
        if id.is_default() {
            return Ok(answer(TenantView::Default));
        }
        let change = |stored: &Stored<Tenant>| {
            let resumed = || (access::resume(stored), stored.value.resumed());
            stored.value.suspended.is_some().then(resumed)
        };
        self.change(caller, id, ("tenant.resumed", Details::new()), change, answer).await
    }

    /// Writes what `change` makes of the tenant, if it makes anything.
    async fn change(
        &self,
        caller: &Caller,
        id: &TenantId,
        (action, details): (&str, Details),
        change: impl Fn(&Stored<Tenant>) -> Option<(Effect, Tenant)>,
        answer: impl Fn(TenantView) -> Answer,
    ) -> Result<Answer, Refusal> {
        for _ in 0..TRIES {
            let stored = self.stored(id).await?;
            let Some((effect, changed)) = change(&stored) else {
                return Ok(answer(TenantView::Made(stored.value)));
            };
            let event = caller.event_for(id, action, resource(id), details.clone());
            let answer = answer(TenantView::Made(changed));
            if self.store.write_once(caller, event, effect, &answer).await? == Written::Yes {
                return Ok(answer);
            }
        }
        Err(Refusal::Conflict(OVERTAKEN))
    }

    async fn stored(&self, id: &TenantId) -> Result<Stored<Tenant>, Refusal> {
        self.store.read(self.access.tenant(id)).await?.ok_or(Refusal::NoSuch("tenant"))
    }
}

fn resource(id: &TenantId) -> String {
    format!("tenant/{id}")
}

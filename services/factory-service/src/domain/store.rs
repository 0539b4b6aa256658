//! The durable Redis as the factory uses it: reads that are believed only while the deployment stands, and
//! changes that are written together with their event.

use std::sync::Arc;

use ambient::{Clock, crash_point, from_unix_millis};
use audit_chain::{AppendError, AuditLog, Effect, NewEvent};
use catalog::Catalog;
use idempotency::StoredResponse;
use keyring::Snapshot;
use storage::{
    AppendFailure, AuditWriter, DeploymentState, DurableStorage, KeyLeakAlarm, KeyTrust, LiveKeyring, Stamp,
    StorageRefresher,
};
use tag_id::{BatchNo, Epoch};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::identity::Caller;
use crate::domain::refusal::Refusal;
use crate::domain::update::{Update, update};

const NUMBERS_USED_UP: &str = "nearly all of the 16,777,216 batch numbers of this deployment are in use, so no further batch can be minted";

/// How a change that could be written ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// It is in the chain, and done.
    Yes,
    /// What it expected was no longer so; nothing was written.
    Overtaken {
        /// The first check of the effect that did not hold, from 0.
        check: usize,
    },
}

impl Written {
    /// Returns the outcome of an attempt that is done with `value` if it was written.
    pub(crate) fn done<T>(self, value: T) -> Update<T> {
        match self {
            Self::Yes => Update::Done(value),
            Self::Overtaken { .. } => Update::Overtaken,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    catalog: Catalog,
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    audit: Arc<AuditWriter>,
    refresher: Arc<StorageRefresher>,
    key_leak_alarm: KeyLeakAlarm,
    clock: Arc<dyn Clock>,
}

impl Store {
    pub(crate) fn new(storage: &DurableStorage, clock: Arc<dyn Clock>) -> Self {
        Self {
            catalog: storage.catalog.clone(),
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            refresher: Arc::clone(&storage.refresher),
            key_leak_alarm: storage.key_leak_alarm.clone(),
            clock,
        }
    }

    /// For building reads that are handed to [`Self::read`].
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The audit chain.
    pub(crate) fn log(&self) -> Result<&AuditLog, Refusal> {
        Ok(self.audit.log()?)
    }

    /// The time now, and an id that begins with it; for a request that is carried out once, those of its
    /// first try.
    pub(crate) fn stamp(&self, caller: &Caller, purpose: &str) -> (OffsetDateTime, Uuid) {
        let (millis, id) = match &caller.claimed {
            Some(claimed) => (claimed.claim().created_ms(), claimed.claim().id(purpose)),
            None => {
                let now = self.clock.unix_millis();
                (now, ambient::uuid_v7(now))
            }
        };
        (from_unix_millis(millis), id)
    }

    /// The keyring as this process knows it.
    pub(crate) fn keys(&self) -> Result<Arc<Snapshot>, Refusal> {
        Ok(self.keyring.snapshot()?)
    }

    /// Whether tags of `epoch` can be trusted.
    pub(crate) async fn key_trust(&self, epoch: Epoch) -> Result<KeyTrust, Refusal> {
        Ok(self.keyring.trust_of(epoch).await?)
    }

    /// Whether an id that does not prove itself is a forged one.
    pub(crate) fn can_tell_forged(&self) -> Result<(), Refusal> {
        Ok(self.deployment.can_tell_forged()?)
    }

    /// Notes that an authentic tag id was presented that was never minted.
    pub(crate) fn alarm_of_key_leak(&self, caller: &Caller) {
        self.key_leak_alarm.raise(&caller.request_id);
    }

    /// Looks at the keyring now.
    pub(crate) async fn refresh_keys(&self) {
        // How that went shows in what is asked next.
        drop(self.keyring.poll().await);
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.utc()
    }

    /// What `reading` finds. The deployment is looked at afterwards: a wiped Redis must not pass for an empty
    /// one.
    pub(crate) async fn read<T, E: Into<Refusal>>(
        &self,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal> {
        self.deployment.deployment()?;
        let found = reading.await.map_err(Into::into)?;
        self.refresher.refresh().await?;
        Ok(found)
    }

    /// Changes stored records: calls `attempt` until it is done, see [`update`].
    ///
    /// # Errors
    /// The first error of an attempt; [`Refusal::Conflict`] with `overtaken` if others were faster each time.
    pub(crate) async fn update<T, F>(
        &self,
        overtaken: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<Update<T>, Refusal>>,
    {
        match update(self.clock(), attempt).await? {
            Update::Done(value) => Ok(value),
            Update::Overtaken => Err(Refusal::Conflict(overtaken)),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Appends `event` and carries out `effect`, both or neither.
    pub(crate) async fn write(&self, event: NewEvent, effect: Effect) -> Result<Written, Refusal> {
        crash_point("before-write");
        let appended = self.audit.append(event, effect).await;
        crash_point("after-write");
        match appended {
            Ok(_) => Ok(Written::Yes),
            Err(AppendFailure::Append(AppendError::Precondition { check })) => {
                Ok(Written::Overtaken { check })
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Appends `event`, which changes nothing else.
    pub(crate) async fn note(&self, event: NewEvent) -> Result<(), Refusal> {
        match self.write(event, Effect::none()).await? {
            Written::Yes => Ok(()),
            Written::Overtaken { .. } => {
                Err(Refusal::internal("a precondition failed although the event has none"))
            }
        }
    }

    /// As [`Self::write`]; where the request is to be carried out once, `answer` is stored in the same call,
    /// under the claim that the request holds. A claim that was lost to another try meanwhile writes nothing:
    /// [`Refusal::ClaimLost`].
    pub(crate) async fn write_once(
        &self,
        caller: &Caller,
        event: NewEvent,
        effect: Effect,
        answer: &StoredResponse,
    ) -> Result<Written, Refusal> {
        let Some(claimed) = &caller.claimed else { return self.write(event, effect).await };
        let claim = claimed.claim();
        let own_checks = effect.checks.len();
        let effect = claim.complete_in(effect, answer)?;
        let stamp = Stamp { unix_millis: claim.created_ms(), id: claim.id("event"), nonce: claim.nonce() };
        let first = claim.origin();
        // The first try's name stands on what it began; who finished it in its place is said too.
        let mut details = event.details;
        if caller.principal.actor != first.actor {
            details.insert("completed_by", caller.principal.actor.as_str());
        }
        let event = NewEvent {
            details,
            actor: first.actor.clone(),
            request_id: first.request_id.clone(),
            ip: first.ip,
            ..event
        };
        crash_point("before-effect");
        let appended = self.audit.append_as(stamp, event, effect).await;
        crash_point("after-effect");
        match appended {
            Ok(appended) if !appended.duplicate => {
                claimed.note_completed();
                Ok(Written::Yes)
            }
            // Every try of the request makes the same event: it may be this one, whose first reply was lost,
            // or another's.
            Ok(_) if claim.is_completed().await? => {
                claimed.note_completed();
                Ok(Written::Yes)
            }
            Ok(_) | Err(AppendFailure::Append(AppendError::IdReused { .. })) => Err(Refusal::ClaimLost),
            Err(AppendFailure::Append(AppendError::Precondition { check })) if check >= own_checks => {
                Err(Refusal::ClaimLost)
            }
            Err(AppendFailure::Append(AppendError::Precondition { check })) => {
                Ok(Written::Overtaken { check })
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// A number for a batch that is about to be made, unused when it was drawn.
    pub(crate) async fn draw_batch_no(&self) -> Result<BatchNo, Refusal> {
        self.deployment.deployment()?;
        self.deployment.gate().draw_batch_no().await?.ok_or(Refusal::Conflict(NUMBERS_USED_UP))
    }
}

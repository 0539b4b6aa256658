//! The durable Redis as the factory uses it: reads that count only if the deployment is intact, and changes
//! that are written together with their audit event.

use std::sync::Arc;

use ambient::{Clock, crash_point, from_unix_millis};
use audit_chain::{AppendError, AuditLog, Effect, NewEvent};
use catalog::Catalog;
use idempotency::StoredResponse;
use keyring::Snapshot;
use storage::{
    AppendFailure, AuditWriter, DeploymentState, DurableStorage, EventIdentity, KeyLeakAlarm, KeyTrust,
    LiveKeyring, StorageRefresher,
};
use tag_id::{BatchNo, Epoch};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::update::{Update, update};

const NUMBERS_USED_UP: &str = "nearly all of the 16,777,216 batch numbers of this deployment are in use, \
                               so no further batch can be minted";

/// The outcome of a write to which Redis replied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// Event and effect are written.
    Yes,
    /// A check of the effect did not hold. Nothing was written.
    Overtaken {
        /// The index of the first check that did not hold.
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

/// Reads and writes of the durable Redis. Cheap to clone.
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

    /// Returns the catalog. Pass its reads to [`Self::read`].
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the audit chain.
    pub(crate) fn log(&self) -> Result<&AuditLog, FactoryError> {
        Ok(self.audit.log()?)
    }

    /// Returns the current time and an id that begins with it. For a request with an idempotency key, both
    /// are those of its first try, and the id depends on `purpose`.
    pub(crate) fn time_and_id(&self, caller: &Caller, purpose: &str) -> (OffsetDateTime, Uuid) {
        let (millis, id) = match &caller.claimed {
            Some(claimed) => (claimed.claim().created_ms(), claimed.claim().id(purpose)),
            None => {
                let now = self.clock.unix_millis();
                (now, ambient::uuid_v7(now))
            }
        };
        (from_unix_millis(millis), id)
    }

    /// Returns the keyring that this process read last.
    pub(crate) fn keys(&self) -> Result<Arc<Snapshot>, FactoryError> {
        Ok(self.keyring.snapshot()?)
    }

    /// Returns whether tags of `epoch` can be trusted.
    pub(crate) async fn key_trust(&self, epoch: Epoch) -> Result<KeyTrust, FactoryError> {
        Ok(self.keyring.trust_of(epoch).await?)
    }

    /// Checks that this process works on its own deployment with the right secrets, so that an id that it
    /// cannot open is forged.
    ///
    /// # Errors
    /// [`FactoryError::Store`] while the state is lost: genuine ids would be called forged.
    pub(crate) fn can_tell_forged(&self) -> Result<(), FactoryError> {
        Ok(self.deployment.can_tell_forged()?)
    }

    /// Raises the alarm for an authentic tag id that was never minted: its secret may have leaked.
    pub(crate) fn alarm_of_key_leak(&self, caller: &Caller) {
        self.key_leak_alarm.raise(&caller.request_id);
    }

    /// Polls the keyring now.
    pub(crate) async fn refresh_keys(&self) {
        // A failure shows in the next read of the keyring.
        drop(self.keyring.poll().await);
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.utc()
    }

    /// Returns the result of `reading`. Refreshes the deployment afterwards, so that a wiped Redis does not
    /// pass for an empty one.
    pub(crate) async fn read<T, E: Into<FactoryError>>(
        &self,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, FactoryError> {
        self.deployment.deployment()?;
        let found = reading.await.map_err(Into::into)?;
        self.refresher.refresh().await?;
        Ok(found)
    }

    /// Changes stored records: calls `attempt` until it is done, see [`update`].
    ///
    /// # Errors
    /// The first error of an attempt; [`FactoryError::Conflict`] with `overtaken` if every attempt was
    /// overtaken.
    pub(crate) async fn update<T, F>(
        &self,
        overtaken: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, FactoryError>
    where
        F: Future<Output = Result<Update<T>, FactoryError>>,
    {
        match update(self.clock(), attempt).await? {
            Update::Done(value) => Ok(value),
            Update::Overtaken => Err(FactoryError::Conflict(overtaken)),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Appends `event` and executes `effect`, both or neither.
    pub(crate) async fn write(&self, event: NewEvent, effect: Effect) -> Result<Written, FactoryError> {
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

    /// Appends `event` without an effect.
    pub(crate) async fn note(&self, event: NewEvent) -> Result<(), FactoryError> {
        match self.write(event, Effect::none()).await? {
            Written::Yes => Ok(()),
            Written::Overtaken { .. } => {
                Err(FactoryError::internal("a precondition failed although the event has none"))
            }
        }
    }

    /// Writes like [`Self::write`]. If the request has an idempotency key, the same call stores `answer`
    /// under the request's claim.
    ///
    /// # Errors
    /// [`FactoryError::ClaimLost`] if another try took the claim over; this one wrote nothing.
    pub(crate) async fn write_once(
        &self,
        caller: &Caller,
        event: NewEvent,
        effect: Effect,
        answer: &StoredResponse,
    ) -> Result<Written, FactoryError> {
        let Some(claimed) = &caller.claimed else { return self.write(event, effect).await };
        let claim = claimed.claim();
        let own_checks = effect.checks.len();
        let effect = claim.complete_in(effect, answer)?;
        let identity =
            EventIdentity { unix_millis: claim.created_ms(), id: claim.id("event"), nonce: claim.nonce() };
        crash_point("before-effect");
        let appended = self.audit.append_as(identity, event, effect).await;
        crash_point("after-effect");
        match appended {
            Ok(appended) if !appended.duplicate => {
                claimed.note_completed();
                Ok(Written::Yes)
            }
            // Every try of the request makes the same event. This try may have written it and lost the reply,
            // or another try wrote it.
            Ok(_) if claim.is_completed().await? => {
                claimed.note_completed();
                Ok(Written::Yes)
            }
            Ok(_) | Err(AppendFailure::Append(AppendError::IdReused { .. })) => Err(FactoryError::ClaimLost),
            Err(AppendFailure::Append(AppendError::Precondition { check })) if check >= own_checks => {
                Err(FactoryError::ClaimLost)
            }
            Err(AppendFailure::Append(AppendError::Precondition { check })) => {
                Ok(Written::Overtaken { check })
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Draws a random batch number that is unused. The write must check that it still is.
    pub(crate) async fn draw_batch_no(&self) -> Result<BatchNo, FactoryError> {
        self.deployment.deployment()?;
        self.deployment.gate().draw_batch_no().await?.ok_or(FactoryError::Conflict(NUMBERS_USED_UP))
    }
}

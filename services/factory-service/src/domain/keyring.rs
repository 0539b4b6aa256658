//! Moves keys of the keyring from state to state. Each move is one write with its audit event.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit_chain::{AuditAction, Details, SafeInt};
use idempotency::StoredResponse;
use keyring::{KeyFamily, KeyNumber, KeyRef, KeyringAdmin, KeyringRecord, Move, Plan, Planned};
use storage::{DeploymentState, LiveKeyring};
use time::OffsetDateTime;

use crate::domain::epoch_batches::EpochBatches;
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::revocation_preview::Count;
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const OVERTAKEN: &str = "other requests changed the keyring during every attempt; try again";

/// What operators see of the keyring.
#[derive(Debug)]
pub(crate) struct KeyringView {
    pub(crate) record: KeyringRecord,
    /// For each tag epoch, the other epochs that derive from the same master secret. Empty lists are left
    /// out.
    pub(crate) sharing: BTreeMap<KeyNumber, Vec<KeyNumber>>,
}

/// The moves that operators make.
pub(crate) struct KeyMoves {
    store: Store,
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    admin: KeyringAdmin,
    batches: EpochBatches,
}

impl KeyMoves {
    pub(crate) fn new(
        store: Store,
        deployment: Arc<DeploymentState>,
        keyring: Arc<LiveKeyring>,
        admin: KeyringAdmin,
        batches: EpochBatches,
    ) -> Self {
        Self { store, deployment, keyring, admin, batches }
    }

    /// Returns all keys with their states and public parts. Each read is an audit event.
    pub(crate) async fn list(&self, caller: &Caller) -> Result<KeyringView, FactoryError> {
        let found = self.admin.read().await?;
        let record = found.map(|stored| stored.record).unwrap_or_default();
        self.store
            .note(caller.event(AuditAction::KeyringListed, "keyring/*".to_owned(), Details::new()))
            .await?;
        Ok(self.view(record))
    }

    fn view(&self, record: KeyringRecord) -> KeyringView {
        let numbers = record.tag.iter().map(|entry| entry.number);
        let sharing = numbers.map(|number| (number, self.admin.sharing(&record, number).collect::<Vec<_>>()));
        KeyringView { sharing: sharing.filter(|(_, others)| !others.is_empty()).collect(), record }
    }

    /// Makes one move. A repeat changes nothing and appends no event. A move that sets the date of compromise
    /// of a tag epoch needs `confirmed`, the number of batches that become invalid.
    ///
    /// # Errors
    /// [`FactoryError::ConfirmationRequired`] if `confirmed` is missing or another number.
    pub(crate) async fn make(
        &self,
        caller: &Caller,
        key: KeyRef,
        what: &Move,
        confirmed: Option<u64>,
        answer: impl Fn(&KeyringView) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        self.store
            .update(OVERTAKEN, || async {
                let deployment = self.deployment.deployment()?;
                let mut planned = match self.admin.plan(deployment, key, what, self.store.now()).await? {
                    Plan::Nothing(current) => return Ok(Update::Done(answer(&self.view(current.record)))),
                    Plan::Change(planned) => planned,
                };
                if let (KeyFamily::Tag, Some(since)) = (key.family, what.compromised_since()) {
                    planned = self.confirmed(planned, key, since, confirmed).await?;
                }
                let answer = answer(&self.view(planned.record));
                let event = caller.event(planned.action, planned.resource, planned.details);
                if self.store.write_once(caller, event, planned.effect, &answer).await? == Written::Yes {
                    // This process uses the new keyring at once; the others poll it.
                    drop(self.keyring.poll().await);
                    return Ok(Update::Done(answer));
                }
                Ok(Update::Overtaken)
            })
            .await
    }

    /// Adds the counts to the event of the plan, if `given` confirms them. The batches are counted after the
    /// keyring was read. The counts hold as long as the keyring is unchanged, which the planned effect
    /// checks.
    async fn confirmed(
        &self,
        mut planned: Planned,
        key: KeyRef,
        since: OffsetDateTime,
        given: Option<u64>,
    ) -> Result<Planned, FactoryError> {
        let preview = self.batches.preview(key, since, planned.former_date()).await?;
        if given != Some(preview.invalid.batches) {
            return Err(FactoryError::ConfirmationRequired { preview: Box::new(preview), given });
        }
        let number = |count: u64| SafeInt::try_from(count).map_err(FactoryError::internal);
        let Count { batches, tags } = preview.invalid;
        planned.details.insert("invalid_batches", number(batches)?);
        planned.details.insert("invalid_tags", number(tags)?);
        Ok(planned)
    }
}

//! Batches: minted by drawing a batch number, and withdrawn by revoking or recalling.
//!
//! Minting writes one record. Every tag id is derived from the secret, the batch number and the index, so a
//! batch of sixteen million tags costs as little as one of ten.

use access::{Access, DEFAULT_MAX_BATCHES};
use ambient::rfc3339;
use audit_chain::{AuditAction, Details, Effect, Precondition, RedisWrite};
use catalog::{Batch, CatalogPage, Lifecycle, Record, StoredRecord, Withdrawal, keys};
use idempotency::StoredResponse;
use storage::{KeyTrust, UntrustedKey};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::input::{BatchSize, EXAMPLE_ID, FieldError, INSTANT, Label, Reason};
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const NO_NUMBER: &str = "other requests took the batch number during every attempt; try again";
const OVERTAKEN: &str = "other requests changed the batch during every attempt; try again";

/// The batch to mint.
#[derive(Debug)]
pub(crate) struct NewBatch {
    pub(crate) product_id: Uuid,
    pub(crate) size: BatchSize,
    pub(crate) label: Option<Label>,
    pub(crate) manufactured_at: Option<OffsetDateTime>,
    pub(crate) expires_at: Option<OffsetDateTime>,
    /// Whether `expires_at` may be in the past.
    pub(crate) allow_expired: bool,
}

/// How a batch is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdraw {
    /// Permanently: its tags are no longer valid.
    Revoke,
    /// The maker calls the items back.
    Recall,
}

impl Withdraw {
    fn action(self) -> AuditAction {
        match self {
            Self::Revoke => AuditAction::BatchRevoked,
            Self::Recall => AuditAction::BatchRecalled,
        }
    }

    /// Returns the field of the record that holds this withdrawal.
    fn place(self, batch: &mut Batch) -> &mut Option<Withdrawal> {
        match self {
            Self::Revoke => &mut batch.revoked,
            Self::Recall => &mut batch.recalled,
        }
    }
}

/// A batch and its current state.
#[derive(Debug)]
pub(crate) struct BatchView {
    pub(crate) batch: Batch,
    pub(crate) state: Lifecycle,
}

/// The batches of all tenants.
pub(crate) struct Batches {
    store: Store,
    access: Access,
}

impl Batches {
    pub(crate) fn new(store: Store, access: Access) -> Self {
        Self { store, access }
    }

    /// Mints a batch. `answer` builds the response, which is stored together with the batch if the request
    /// has an idempotency key.
    ///
    /// # Errors
    /// [`FactoryError::Field`] for dates that contradict each other and for an unknown product;
    /// [`FactoryError::QuotaExceeded`].
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        new: NewBatch,
        answer: impl Fn(BatchView) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        if let (Some(made), Some(expiry)) = (new.manufactured_at, new.expires_at)
            && expiry <= made
        {
            let held = format!("is {}", rfc3339::format(expiry));
            let takes = format!("an instant after manufactured_at, which is {}", rfc3339::format(made));
            return Err(FieldError::unacceptable("expires_at", held, takes, INSTANT).into());
        }
        let now = self.store.now();
        if let Some(expiry) = new.expires_at.filter(|expiry| *expiry <= now && !new.allow_expired) {
            let held = format!(
                "is {}, which is past: no tag of this batch would ever be valid",
                rfc3339::format(expiry)
            );
            let takes = "an instant in the future, or any with \"allow_expired\": true";
            return Err(FieldError::unacceptable("expires_at", held, takes, INSTANT).into());
        }
        let most = self.most_of(caller).await?;
        let product = self.store.catalog().product_of(&new.product_id, caller.tenant().as_str());
        let product = self.store.read(product).await?;
        if !product.is_some_and(|product| caller.owns(&product.value.tenant)) {
            let held = format!("is {}, which is no product of this tenant", new.product_id);
            let takes = "the id of a product, as POST /v1/products answers it";
            return Err(FieldError::unacceptable("product_id", held, takes, EXAMPLE_ID).into());
        }
        let (_, id) = self.store.time_and_id(caller, "batch");
        let label = new.label.map(Label::into_string);
        self.store
            .update(NO_NUMBER, || async {
                let keys = self.store.keys()?;
                // The time of minting, not of the first try: a revocation invalidates batches by this time.
                let created_at = self.store.now();
                let batch = Batch {
                    id,
                    tenant: caller.tenant().as_str().to_owned(),
                    batch_no: self.store.draw_batch_no().await?,
                    epoch: keys.active_epoch(),
                    size: new.size.get(),
                    product_id: new.product_id,
                    label: label.clone(),
                    manufactured_at: new.manufactured_at,
                    expires_at: new.expires_at,
                    created_at,
                    revoked: None,
                    recalled: None,
                };
                let event = caller.event(AuditAction::BatchCreated, resource(&id), details_of(&batch));
                let (effect, batch_no) = (creation_of(&batch).check(keys.guard()), batch.batch_no.get());
                let quota_check = effect.checks.len();
                let effect = effect.check(below_quota(&batch.tenant, most));
                let answer = answer(self.view(batch));
                match self.store.write_once(caller, event, effect, &answer).await? {
                    Written::Yes => return Ok(Update::Done(answer)),
                    Written::Overtaken { check } if check == quota_check => return Err(quota_exceeded(most)),
                    Written::Overtaken { .. } => {}
                }
                // Another request took the number, or the keyring changed. A retired key must not mint.
                tracing::warn!(batch_no, "batch number taken or keyring changed, minting again");
                self.store.refresh_keys().await;
                Ok(Update::Overtaken)
            })
            .await
    }

    /// Returns the most batches that the caller's tenant may have.
    async fn most_of(&self, caller: &Caller) -> Result<u32, FactoryError> {
        let tenant = self.store.read(self.access.tenant(caller.tenant())).await?;
        Ok(tenant.map_or(DEFAULT_MAX_BATCHES, |tenant| tenant.value.max_batches()))
    }

    pub(crate) async fn show(&self, caller: &Caller, id: &Uuid) -> Result<BatchView, FactoryError> {
        let stored = owned(&self.store, caller, id).await?;
        Ok(self.view(stored.value))
    }

    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<BatchView>, FactoryError> {
        let batches = self.store.catalog().batches(caller.tenant().as_str(), after, limit);
        let page = self.store.read(batches).await?;
        Ok(CatalogPage {
            items: page.items.into_iter().map(|batch| self.view(batch)).collect(),
            next: page.next,
        })
    }

    /// Revokes or recalls a batch. A repeat keeps the first time and reason and appends no event.
    pub(crate) async fn withdraw(
        &self,
        caller: &Caller,
        id: &Uuid,
        how: Withdraw,
        reason: Reason,
        answer: impl Fn(BatchView) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        let reason = reason.into_string();
        self.store
            .update(OVERTAKEN, || async {
                let StoredRecord { mut value, revision, bytes } = owned(&self.store, caller, id).await?;
                if how.place(&mut value).is_some() {
                    return Ok(Update::Done(answer(self.view(value))));
                }
                *how.place(&mut value) = Some(Withdrawal { at: self.store.now(), reason: reason.clone() });
                let key = keys::batch(value.batch_no);
                let effect = Effect {
                    checks: vec![Precondition::Equals { key: key.clone().into(), value: bytes }],
                    writes: vec![RedisWrite::Set {
                        key: key.into(),
                        value: value.encode(revision.wrapping_add(1)),
                    }],
                };
                let details = Details::new().with("reason", reason.as_str());
                let event = caller.event(how.action(), resource(id), details);
                let answer = answer(self.view(value));
                Ok(self.store.write_once(caller, event, effect, &answer).await?.done(answer))
            })
            .await
    }

    fn view(&self, batch: Batch) -> BatchView {
        let invalidated = self.store.keys().is_ok_and(|keys| match KeyTrust::of(&keys, batch.epoch) {
            KeyTrust::Trusted(key) => key.invalidates(&batch),
            // A key is revoked before it is destroyed.
            KeyTrust::Untrusted(UntrustedKey::Destroyed) => true,
            // This process has not read the new keyring yet.
            KeyTrust::Untrusted(UntrustedKey::NeverInUse) => false,
        });
        BatchView { state: batch.lifecycle_under(invalidated, false, self.store.now()), batch }
    }
}

/// Requires that the tenant has fewer than `most` batches. Its list of batches never shrinks.
fn below_quota(tenant: &str, most: u32) -> Precondition {
    Precondition::FewerThan { key: keys::batches_of(tenant).into(), members: most }
}

fn quota_exceeded(most: u32) -> FactoryError {
    FactoryError::QuotaExceeded(format!(
        "the tenant has {most} batches, as many as its max_batches allows; an operator can raise that: \
         PATCH /v1/admin/tenants/{{id}}"
    ))
}

/// Reads a batch of the caller's tenant.
pub(crate) async fn owned(
    store: &Store,
    caller: &Caller,
    id: &Uuid,
) -> Result<StoredRecord<Batch>, FactoryError> {
    let found = store.read(store.catalog().batch(id, caller.tenant().as_str())).await?;
    found.filter(|batch| caller.owns(&batch.value.tenant)).ok_or(FactoryError::NoSuch("batch"))
}

/// Returns the name of a batch in audit events.
pub(crate) fn resource(id: &Uuid) -> String {
    format!("batch/{id}")
}

pub(crate) fn details_of(batch: &Batch) -> Details {
    let details = Details::new()
        .with("product_id", batch.product_id.to_string())
        .with("size", batch.size)
        .with("epoch", u32::from(batch.epoch.get()))
        .with("batch_no", batch.batch_no.get());
    match &batch.label {
        Some(label) => details.with("label", label.as_str()),
        None => details,
    }
}

pub(crate) fn creation_of(batch: &Batch) -> Effect {
    let (key, id) = (keys::batch(batch.batch_no), batch.id);
    Effect {
        checks: batch.number_is_unused().into(),
        writes: vec![
            RedisWrite::Set { key: key.into(), value: batch.encode(1) },
            batch.note_of_minting(),
            RedisWrite::Set {
                key: keys::batch_no(&id).into(),
                value: batch.batch_no.get().to_string().into(),
            },
            RedisWrite::SortedAdd {
                key: keys::batches_of(&batch.tenant).into(),
                score: 0,
                member: id.to_string().into(),
            },
        ],
    }
}

//! What a date of compromise does to the batches of a tag epoch, counted before it is done.
//!
//! Once the keyring has moved on from an epoch nothing is minted under it: the write of a batch compares the keyring's revision. Whoever
//! counts after having read the keyring, and writes only if the keyring is still that one, therefore confirms what is written.

use std::time::Duration;

use access::{Access, AccessError, TenantId};
use catalog::{Batch, CatalogError};
use keyring::KeyRef;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::domain::refusal::Refusal;
use crate::domain::store::Store;

/// Longest a count may take: 100,000 batches take about two seconds.
pub(crate) const COUNT_WITHIN: Duration = Duration::from_secs(40);

/// Records read at once: bounds the memory of a count.
const AT_ONCE: usize = 256;

const TOO_LONG: &str = "counting the batches of this epoch took too long; try again when Redis is less busy";

/// So many batches, with so many tags in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) batches: u64,
    pub(crate) tags: u64,
}

impl Count {
    fn add(&mut self, batch: &Batch) {
        self.batches += 1;
        self.tags += u64::from(batch.size);
    }
}

/// What a revocation, or another date for one, does to the batches of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) key: KeyRef,
    pub(crate) since: OffsetDateTime,
    /// The date that stands, if the key is revoked already.
    pub(crate) former: Option<OffsetDateTime>,
    /// Minted from `since` on: `key_revoked` afterwards.
    pub(crate) invalid: Count,
    /// Minted before: valid afterwards, with the risk factor `superseded_key`.
    pub(crate) superseded: Count,
    /// Of `invalid`, those that are not yet.
    pub(crate) becomes_invalid: Count,
    /// Of `superseded`, those that are `key_revoked` now.
    pub(crate) becomes_valid: Count,
    /// Batches whose record cannot be read, of whatever epoch.
    pub(crate) unreadable: u64,
}

impl Preview {
    fn of(key: KeyRef, since: OffsetDateTime, former: Option<OffsetDateTime>) -> Self {
        let none = Count::default();
        let (invalid, superseded, becomes_invalid, becomes_valid) = (none, none, none, none);
        Self { key, since, former, invalid, superseded, becomes_invalid, becomes_valid, unreadable: 0 }
    }

    fn count(&mut self, batch: &Batch) {
        let was_invalid = self.former.is_some_and(|former| batch.created_at >= former);
        if batch.created_at >= self.since {
            self.invalid.add(batch);
            if !was_invalid {
                self.becomes_invalid.add(batch);
            }
        } else {
            self.superseded.add(batch);
            if was_invalid {
                self.becomes_valid.add(batch);
            }
        }
    }
}

/// Counts the batches of an epoch, of all tenants.
pub(crate) struct EpochBatches {
    store: Store,
    access: Access,
}

/// How going through the batches fails.
enum CountError {
    Access(AccessError),
    Catalog(CatalogError),
}

impl From<CountError> for Refusal {
    fn from(error: CountError) -> Self {
        match error {
            CountError::Access(error) => error.into(),
            CountError::Catalog(error) => error.into(),
        }
    }
}

impl EpochBatches {
    pub(crate) fn new(store: Store, access: Access) -> Self {
        Self { store, access }
    }

    /// What believing the key no longer from `since` on does. Memory is constant, time is bounded.
    pub(crate) async fn preview(
        &self,
        key: KeyRef,
        since: OffsetDateTime,
        former: Option<OffsetDateTime>,
    ) -> Result<Preview, Refusal> {
        let mut preview = Preview::of(key, since, former);
        let all = self.store.read(self.go_through(key.number.epoch(), &mut preview));
        let counted = tokio::time::timeout(COUNT_WITHIN, all).await;
        counted.map_err(|_| Refusal::Conflict(TOO_LONG))??;
        Ok(preview)
    }

    async fn go_through(&self, epoch: Epoch, preview: &mut Preview) -> Result<(), CountError> {
        self.of_tenant(&TenantId::default_tenant(), epoch, preview).await?;
        let mut after = None;
        loop {
            let page = self.access.tenant_ids(after.as_ref(), AT_ONCE).await;
            let (tenants, next) = page.map_err(CountError::Access)?;
            for tenant in &tenants {
                self.of_tenant(tenant, epoch, preview).await?;
            }
            after = match next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
        }
    }

    async fn of_tenant(
        &self,
        tenant: &TenantId,
        epoch: Epoch,
        preview: &mut Preview,
    ) -> Result<(), CountError> {
        let mut after = None;
        loop {
            let page = self.store.catalog().batches_or_gaps(tenant.as_str(), after, AT_ONCE).await;
            let page = page.map_err(CountError::Catalog)?;
            for batch in page.items {
                match batch {
                    Some(batch) if batch.epoch == epoch => preview.count(&batch),
                    Some(_) => {}
                    None => preview.unreadable += 1,
                }
            }
            after = match page.next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
        }
    }
}

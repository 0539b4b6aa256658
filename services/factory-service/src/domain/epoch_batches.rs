//! Counts the batches that a date of compromise makes invalid, before the date is written.
//!
//! Nothing is minted under an epoch after the keyring has moved on from it, because the write of a batch
//! checks the keyring's revision. So the counts are exact for a caller that reads the keyring, counts, and
//! then writes only if the keyring is unchanged.

use std::time::Duration;

use access::{Access, AccessError, TenantId};
use catalog::CatalogError;
use keyring::KeyRef;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::domain::error::FactoryError;
use crate::domain::revocation_preview::Preview;
use crate::domain::store::Store;

/// The longest time that a count may take. 100,000 batches take about two seconds.
pub(crate) const COUNT_WITHIN: Duration = Duration::from_secs(40);

/// Records per read. It bounds the memory of a count.
const PAGE_SIZE: usize = 256;

const TOO_LONG: &str = "counting the batches of this epoch took too long; try again when Redis is less busy";

/// Counts the batches of an epoch, of all tenants.
pub(crate) struct EpochBatches {
    store: Store,
    access: Access,
}

/// Why a count failed.
enum CountError {
    Access(AccessError),
    Catalog(CatalogError),
}

impl From<CountError> for FactoryError {
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

    /// Counts the batches that `since` affects, in constant memory.
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] if the count takes longer than [`COUNT_WITHIN`].
    pub(crate) async fn preview(
        &self,
        key: KeyRef,
        since: OffsetDateTime,
        former: Option<OffsetDateTime>,
    ) -> Result<Preview, FactoryError> {
        let mut preview = Preview::new(key, since, former);
        let counting = self.store.read(self.count_all(key.number.epoch(), &mut preview));
        let counted = tokio::time::timeout(COUNT_WITHIN, counting).await;
        counted.map_err(|_| FactoryError::Conflict(TOO_LONG))??;
        Ok(preview)
    }

    async fn count_all(&self, epoch: Epoch, preview: &mut Preview) -> Result<(), CountError> {
        self.count_tenant(&TenantId::default_tenant(), epoch, preview).await?;
        let mut after = None;
        loop {
            let page = self.access.tenant_ids(after.as_ref(), PAGE_SIZE).await;
            let (tenants, next) = page.map_err(CountError::Access)?;
            for tenant in &tenants {
                self.count_tenant(tenant, epoch, preview).await?;
            }
            after = match next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
        }
    }

    async fn count_tenant(
        &self,
        tenant: &TenantId,
        epoch: Epoch,
        preview: &mut Preview,
    ) -> Result<(), CountError> {
        let mut after = None;
        loop {
            let page = self.store.catalog().batches_or_gaps(tenant.as_str(), after, PAGE_SIZE).await;
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

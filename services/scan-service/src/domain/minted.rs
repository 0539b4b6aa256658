//! Whether an id that proves itself was ever minted, where the scan itself does not tell.

use std::sync::Arc;

use catalog::{Batch, Catalog, CatalogError, StoredRecord};
use storage::{DurableStorage, StorageError, StorageRefresher};
use tag_id::Opened;

/// Why it is unknown whether an id was minted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintedError {
    /// The tag was minted, and one of its records cannot be read. The log names the record.
    #[error("a record of the tag cannot be read")]
    RecordLost,
    /// Durable storage could not be asked, or lost its state.
    #[error(transparent)]
    Store(#[from] StorageError),
}

/// Finds the batch that an id was minted in.
#[derive(Debug)]
pub(crate) struct MintedBatches {
    catalog: Catalog,
    refresher: Arc<StorageRefresher>,
}

impl MintedBatches {
    pub(crate) fn new(storage: &DurableStorage) -> Self {
        Self { catalog: storage.catalog.clone(), refresher: Arc::clone(&storage.refresher) }
    }

    /// The batch of an authentic id. `None` is a key-leak alarm, and is returned only while the state is that
    /// of the deployment: a wiped Redis has no batches either.
    pub(crate) async fn batch_of(&self, opened: &Opened) -> Result<Option<StoredRecord<Batch>>, MintedError> {
        let found = match self.catalog.batch_of_tag(opened).await {
            Ok(found) => found,
            Err(
                fault @ (CatalogError::Record(_) | CatalogError::TagState(_) | CatalogError::Lost { .. }),
            ) => {
                tracing::error!(%fault, "stored record lost");
                return Err(MintedError::RecordLost);
            }
            Err(error) => return Err(StorageError::from(error).into()),
        };
        if found.is_none() {
            self.refresher.refresh().await.map_err(StorageError::from)?;
        }
        Ok(found)
    }
}

//! Looks up whether an authentic id was minted, for requests whose scan script does not tell.

use std::sync::Arc;

use catalog::{Batch, Catalog, CatalogError, StoredRecord};
use storage::{DurableStorage, StorageError, StorageRefresher};
use tag_id::Opened;

/// Why the batch of an id could not be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintedError {
    /// The tag was minted, but one of its records cannot be read. The log names the record.
    #[error("a record of the tag cannot be read")]
    RecordLost,
    /// Durable storage is unavailable, or its state is lost.
    #[error(transparent)]
    Store(#[from] StorageError),
}

/// Looks up the batch in which an id was minted.
#[derive(Debug)]
pub(crate) struct MintedBatches {
    catalog: Catalog,
    refresher: Arc<StorageRefresher>,
}

impl MintedBatches {
    pub(crate) fn new(storage: &DurableStorage) -> Self {
        Self { catalog: storage.catalog.clone(), refresher: Arc::clone(&storage.refresher) }
    }

    /// Returns the batch of an authentic id, or `None` if it was never minted, which is a key-leak alarm.
    /// Before it returns `None`, it checks that the state is that of the deployment, because a wiped Redis
    /// has no batches either.
    pub(crate) async fn batch_of(&self, opened: &Opened) -> Result<Option<StoredRecord<Batch>>, MintedError> {
        let found = match self.catalog.batch_of_tag(opened).await {
            Ok(found) => found,
            Err(
                fault @ (CatalogError::Record(_)
                | CatalogError::TagState(_)
                | CatalogError::RecordLost { .. }),
            ) => {
                tracing::error!(%fault, "stored record missing or unreadable");
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

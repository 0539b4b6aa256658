//! Whether an id that proves itself was ever minted, where the scan itself does not tell.

use catalog::{Batch, CatalogError, StoredRecord};
use service_kit::durable::Durable;
use storage::StorageError;
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

/// The batch that an id was minted in. None is a key-leak alarm, and is said only while the deployment is there: a wiped Redis has no
/// batches either.
pub(crate) async fn minted_in(
    durable: &Durable,
    opened: &Opened,
) -> Result<Option<StoredRecord<Batch>>, MintedError> {
    let held = match durable.catalog().batch_of_tag(opened).await {
        Ok(held) => held,
        Err(fault @ (CatalogError::Record(_) | CatalogError::TagState(_) | CatalogError::Lost { .. })) => {
            tracing::error!(%fault, "a stored record is lost");
            return Err(MintedError::RecordLost);
        }
        Err(error) => return Err(StorageError::from(error).into()),
    };
    if held.is_none() {
        durable.refresh().await.map_err(StorageError::from)?;
    }
    Ok(held)
}

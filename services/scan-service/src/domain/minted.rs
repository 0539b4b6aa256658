//! Whether an id that proves itself was ever minted, where the scan itself does not tell.

use catalog::{Batch, CatalogError, StoredRecord};
use problems::ApiError;
use service_kit::durable::Durable;
use tag_id::Opened;

/// What anybody who scans is told of a tag whose records cannot be read; which record that is the log says.
pub(crate) const TAG_LOST: &str = "what is stored of this tag cannot be read; an operator is needed";

/// The batch that an id was minted in. None is a key-leak alarm, and is said only while the deployment is there: a wiped Redis has no
/// batches either.
pub(crate) async fn minted_in(
    durable: &Durable,
    opened: &Opened,
) -> Result<Option<StoredRecord<Batch>>, ApiError> {
    let held = match durable.catalog().batch_of_tag(opened).await {
        Ok(held) => held,
        Err(fault @ (CatalogError::Record(_) | CatalogError::TagState(_) | CatalogError::Lost { .. })) => {
            tracing::error!(%fault, "a stored record is lost");
            return Err(ApiError::StateLost(TAG_LOST.into()));
        }
        Err(error) => return Err(ApiError::from(error)),
    };
    if held.is_none() {
        durable.refresh().await.map_err(ApiError::from)?;
    }
    Ok(held)
}

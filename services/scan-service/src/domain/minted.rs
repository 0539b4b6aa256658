//! Whether an id that proves itself was ever minted, where the scan itself does not tell.

use catalog::{Batch, Stored};
use http_edge::ApiError;
use service_kit::durable::Durable;
use service_kit::errors;
use tag_id::Opened;

/// The batch that an id was minted in. None is a key-leak alarm, and is said only while the deployment is there: a wiped Redis has no
/// batches either.
pub(crate) async fn minted_in(durable: &Durable, opened: &Opened) -> Result<Option<Stored<Batch>>, ApiError> {
    let held = durable.catalog().batch_of_tag(opened).await.map_err(errors::from_catalog)?;
    if held.is_none() {
        durable.look().await.map_err(errors::from_deployment)?;
    }
    Ok(held)
}

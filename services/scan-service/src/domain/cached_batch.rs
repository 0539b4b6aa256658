//! What is printed on the batch's label, kept in process between scans.
//!
//! A cached record is used only after Redis has said, in the round trip of the very scan, that its revision still stands:
//! a revocation, a recall or a renamed product is seen by the next scan on every instance.

use std::sync::Arc;

use access::BrandKeys;
use catalog::{Batch, CatalogRecordError, Product, Record, StoredRecord};
use quick_cache::sync::Cache;
use serde_json::value::{RawValue, to_raw_value};
use storage::DeploymentState;
use tag_id::BatchNo;

use crate::domain::verdict::{BatchAnswer, ProductAnswer};

/// Batches whose facts are kept; about 1 KiB each.
const CAPACITY: usize = 10_000;

/// A batch with its product, each in the revision it was read in.
#[derive(Debug)]
pub(crate) struct CachedBatch {
    pub(crate) batch: Arc<StoredRecord<Batch>>,
    pub(crate) product: Arc<StoredRecord<Product>>,
    /// What the product's brand is compared by.
    pub(crate) brand: BrandKeys,
    /// The members `product` and `batch` of a scan's answer. Rendered once, because every scan of the batch has them.
    pub(crate) product_json: Box<RawValue>,
    pub(crate) batch_json: Box<RawValue>,
}

impl CachedBatch {
    pub(crate) fn new(batch: Arc<StoredRecord<Batch>>, product: Arc<StoredRecord<Product>>) -> Self {
        let brand = BrandKeys::of(&product.value.brand);
        let product_json = to_raw_value(&ProductAnswer::of(&product.value));
        let batch_json = to_raw_value(&BatchAnswer::of(&batch.value));
        Self {
            batch,
            product,
            brand,
            product_json: product_json.expect("strings serialize"),
            batch_json: batch_json.expect("strings serialize"),
        }
    }
}

/// A bounded cache of batches by number. An entry of an earlier restore generation is not used, because its number may
/// belong to another batch now.
#[derive(Debug)]
pub(crate) struct BatchCache {
    deployment: Arc<DeploymentState>,
    by_batch: Cache<u32, (u64, Arc<CachedBatch>)>,
}

impl BatchCache {
    pub(crate) fn new(deployment: Arc<DeploymentState>) -> Self {
        Self { deployment, by_batch: Cache::new(CAPACITY) }
    }

    pub(crate) fn get(&self, batch: BatchNo) -> Option<Arc<CachedBatch>> {
        let (generation, facts) = self.by_batch.get(&batch.get())?;
        Some(facts).filter(|_| generation == self.deployment.generation())
    }

    pub(crate) fn put(&self, facts: &Arc<CachedBatch>) {
        let known = (self.deployment.generation(), Arc::clone(facts));
        self.by_batch.insert(facts.batch.value.batch_no.get(), known);
    }
}

/// The newer of what was kept and what Redis sent: nothing sent means that the kept one stands.
pub(crate) fn fresher<R: Record>(
    kept: Option<&Arc<StoredRecord<R>>>,
    sent: Vec<u8>,
) -> Result<Option<Arc<StoredRecord<R>>>, CatalogRecordError> {
    if sent.is_empty() {
        return Ok(kept.map(Arc::clone));
    }
    Ok(Some(Arc::new(R::decode(sent)?)))
}

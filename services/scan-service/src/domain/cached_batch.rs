//! The process's cache of batches and their products.
//!
//! A scan uses a cached record only if Redis confirms its revision in the round trip of that scan. So the
//! next scan on every instance sees a revocation, a recall or a renamed product.

use std::sync::Arc;

use access::BrandKeys;
use catalog::{Batch, CatalogRecordError, Product, Record, StoredRecord};
use quick_cache::sync::Cache;
use serde_json::value::{RawValue, to_raw_value};
use storage::DeploymentState;
use tag_id::BatchNo;

use crate::domain::public_records::{BatchAnswer, ProductAnswer};

/// The most batches in the cache. Each takes about 1 KiB.
const CAPACITY: usize = 10_000;

/// A batch with its product, each with its revision.
#[derive(Debug)]
pub(crate) struct CachedBatch {
    pub(crate) batch: Arc<StoredRecord<Batch>>,
    pub(crate) product: Arc<StoredRecord<Product>>,
    /// The product's brand, in the form that is compared.
    pub(crate) brand: BrandKeys,
    /// The members `product` and `batch` of a scan's response. They are rendered once, because every scan of
    /// the batch returns them.
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

/// A bounded cache of batches by number. An entry of an earlier restore generation is not used, because its
/// number may belong to another batch now.
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
        let (generation, cached) = self.by_batch.get(&batch.get())?;
        Some(cached).filter(|_| generation == self.deployment.generation())
    }

    pub(crate) fn put(&self, batch: &Arc<CachedBatch>) {
        let entry = (self.deployment.generation(), Arc::clone(batch));
        self.by_batch.insert(batch.batch.value.batch_no.get(), entry);
    }
}

/// Returns the record that Redis sent, or the cached one if it sent nothing, which means that the revision is
/// unchanged.
pub(crate) fn fresher<R: Record>(
    cached: Option<&Arc<StoredRecord<R>>>,
    sent: Vec<u8>,
) -> Result<Option<Arc<StoredRecord<R>>>, CatalogRecordError> {
    if sent.is_empty() {
        return Ok(cached.map(Arc::clone));
    }
    Ok(Some(Arc::new(R::decode(sent)?)))
}

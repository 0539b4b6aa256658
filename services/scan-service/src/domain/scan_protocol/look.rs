//! One look at a tag, as the scan scripts take it.

use std::sync::Arc;

use catalog::keys;
use redis_pool::Invocation;
use tag_id::Opened;

use crate::domain::cached_batch::CachedBatch;

/// What is asked of one tag.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) opened: Opened,
    /// Whether it is a scan.
    pub(crate) counts: bool,
    /// The caller's mark of today, and of yesterday: who comes again after midnight is still recognised.
    pub(crate) marks: [[u8; 5]; 2],
    /// What this process holds of batch and product.
    pub(crate) kept: Option<Arc<CachedBatch>>,
}

impl Look {
    /// Batch, tag, the tag's revocation and product; the product's place is taken by the batch while the product is not known.
    pub(crate) fn push_keys(&self, call: &mut Invocation<'_>) {
        let (batch, serial) = (keys::batch(self.opened.batch), self.opened.serial());
        call.push_key(&batch);
        call.push_key(keys::tag(serial));
        call.push_key(keys::tag_revocation(serial));
        match &self.kept {
            Some(facts) => call.push_key(keys::product(&facts.product.value.id)),
            None => call.push_key(&batch),
        }
    }

    /// Everything else, in one string (`>I2I4i8i8Bc5c5`): epoch, index, the revisions that are kept, whether it counts, the marks.
    pub(crate) fn push_args(&self, call: &mut Invocation<'_>) {
        let kept = self.kept.as_deref();
        let batch_revision = kept.map_or(-1, |facts| i64::from(facts.batch.revision));
        let product_revision = kept.map_or(-2, |facts| i64::from(facts.product.revision));
        let mut packed = [0; 33];
        packed[..2].copy_from_slice(&self.opened.epoch.get().to_be_bytes());
        packed[2..6].copy_from_slice(&self.opened.index.get().to_be_bytes());
        packed[6..14].copy_from_slice(&batch_revision.to_be_bytes());
        packed[14..22].copy_from_slice(&product_revision.to_be_bytes());
        packed[22] = u8::from(self.counts);
        packed[23..28].copy_from_slice(&self.marks[0]);
        packed[28..].copy_from_slice(&self.marks[1]);
        call.push_arg(&packed[..]);
    }
}

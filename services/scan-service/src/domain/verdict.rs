//! The result of a scan, and its JSON form.

use std::sync::Arc;

use ambient::rfc3339;
use catalog::Lifecycle;
use serde::Serialize;
use serde_json::value::RawValue;
use tag_id::TagId;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::cached_batch::CachedBatch;
use crate::domain::issuers::IssuerAnswer;
use crate::domain::public_records::{BatchAnswer, ProductAnswer};
use crate::domain::risk::Risk;

/// The outcome of one scan.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) tag: TagId,
    pub(crate) cached: Arc<CachedBatch>,
    pub(crate) issuer: IssuerAnswer,
    pub(crate) lifecycle: Lifecycle,
    /// `None` if the tag was never scanned.
    pub(crate) first_scan_at: Option<OffsetDateTime>,
    pub(crate) scan_count: u32,
    /// Whether this request counts as a scan.
    pub(crate) counted: bool,
    /// Whether another caller has scanned the tag. Only then can it be a copy.
    pub(crate) seen_by_others: bool,
    pub(crate) risk: Risk,
    pub(crate) verification_id: Uuid,
}

/// A scan of an authentic tag.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScanAnswer<'a> {
    /// The tag, as a lower-case UUID.
    #[schema(example = "85e49ec3-de12-8001-bccf-0ce2e6986017")]
    pub(crate) tag_id: String,
    /// Whether the item is genuine and not withdrawn or expired: true only while `lifecycle` is `active`.
    pub(crate) valid: bool,
    /// `active`, `revoked`, `recalled`, `key_revoked` or `expired`. If several apply, the first of revoked,
    /// recalled, key_revoked, expired. `key_revoked`: the tag was minted after its key may have been misused.
    #[schema(value_type = String, example = "active")]
    pub(crate) lifecycle: Lifecycle,
    /// The product's id.
    pub(crate) product_id: Uuid,
    /// The product's public details.
    #[schema(value_type = ProductAnswer)]
    pub(crate) product: &'a RawValue,
    /// The tenant that minted the tag, and whether the product's brand is verified to be its own.
    pub(crate) issuer: &'a IssuerAnswer,
    /// The batch's id.
    pub(crate) batch_id: Uuid,
    /// The batch's public details.
    #[schema(value_type = BatchAnswer)]
    pub(crate) batch: &'a RawValue,
    /// When this tag was first scanned, UTC; null while it was never scanned.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-02-16T12:00:00.123Z")]
    pub(crate) first_scan_at: Option<OffsetDateTime>,
    /// Scans of this tag so far, this one included if `counted` is true.
    #[schema(example = 1)]
    pub(crate) scan_count: u32,
    /// Whether this request counts as a scan. Prefetches, link previews and search engines do not count.
    #[schema(example = true)]
    pub(crate) counted: bool,
    /// Whether another caller has scanned the tag. A caller is recognised on the same day (UTC) and the next.
    /// A caller that is not recognised counts as another.
    #[schema(example = false)]
    pub(crate) seen_by_others: bool,
    /// How risky the scan looks.
    pub(crate) risk: &'a Risk,
    /// The id of this answer, a version 7 UUID.
    pub(crate) verification_id: Uuid,
}

impl Verdict {
    pub(crate) fn is_valid(&self) -> bool {
        self.lifecycle == Lifecycle::Active
    }

    pub(crate) fn answer(&self) -> ScanAnswer<'_> {
        let (batch, product) = (&self.cached.batch.value, &self.cached.product.value);
        ScanAnswer {
            tag_id: self.tag.to_string(),
            valid: self.is_valid(),
            lifecycle: self.lifecycle,
            product_id: product.id,
            product: &self.cached.product_json,
            issuer: &self.issuer,
            batch_id: batch.id,
            batch: &self.cached.batch_json,
            first_scan_at: self.first_scan_at,
            scan_count: self.scan_count,
            counted: self.counted,
            seen_by_others: self.seen_by_others,
            risk: &self.risk,
            verification_id: self.verification_id,
        }
    }
}

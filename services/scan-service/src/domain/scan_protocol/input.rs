//! Packs a scan for the scripts.

use std::sync::Arc;

use access::{KeyDigest, KeyId};
use catalog::keys;
use redis_pool::Invocation;
use tag_id::{BatchNo, Opened};
use uuid::Uuid;

use crate::domain::admission::Credential;
use crate::domain::cached_batch::CachedBatch;
use crate::domain::limits::{Limits, Subject};
use crate::domain::scan_protocol::codes::{MALFORMED_KEY, NO_KEY, NO_REVISION, PRODUCT_UNKNOWN};

/// Bytes of a packed scan: see `REQUEST_LAYOUT`.
const PACKED_LEN: usize = 33;

/// Bytes of a packed limited scan: see `RECORDS_LAYOUT`.
const LIMITED_PACKED_LEN: usize = PACKED_LEN + 2;

/// The index in `KEYS`, as Lua counts, of the first batch or product record of `limited_scan.lua`.
const FIRST_RECORD: u8 = 5;

/// One scan, as both scripts take it.
#[derive(Debug)]
pub(crate) struct ScanInput {
    pub(crate) opened: Opened,
    /// Whether the request counts as a scan.
    pub(crate) counts: bool,
    /// The caller's marks of today and of yesterday. The second recognises a caller who returns after
    /// midnight.
    pub(crate) marks: [[u8; 5]; 2],
    /// This process's copy of batch and product.
    pub(crate) cached: Option<Arc<CachedBatch>>,
}

impl ScanInput {
    /// Adds the keys of batch, tag, revocation and product. The batch's key stands in for an unknown
    /// product's.
    pub(crate) fn push_keys(&self, call: &mut Invocation<'_>) {
        let (batch, serial) = (keys::batch(self.opened.batch), self.opened.serial());
        call.push_key(&batch);
        call.push_key(keys::tag(serial));
        call.push_key(keys::tag_revocation(serial));
        match &self.cached {
            Some(cached) => call.push_key(keys::product(&cached.product.value.id)),
            None => call.push_key(&batch),
        }
    }

    /// Adds everything else as one packed argument.
    pub(crate) fn push_args(&self, call: &mut Invocation<'_>) {
        call.push_arg(&self.packed()[..]);
    }

    pub(super) fn packed(&self) -> [u8; PACKED_LEN] {
        let cached = self.cached.as_deref();
        let batch_revision = cached.map_or(NO_REVISION, |cached| i64::from(cached.batch.revision));
        let product_revision = cached.map_or(PRODUCT_UNKNOWN, |cached| i64::from(cached.product.revision));
        let mut packed = [0; PACKED_LEN];
        packed[..2].copy_from_slice(&self.opened.epoch.get().to_be_bytes());
        packed[2..6].copy_from_slice(&self.opened.index.get().to_be_bytes());
        packed[6..14].copy_from_slice(&batch_revision.to_be_bytes());
        packed[14..22].copy_from_slice(&product_revision.to_be_bytes());
        packed[22] = u8::from(self.counts);
        packed[23..28].copy_from_slice(&self.marks[0]);
        packed[28..].copy_from_slice(&self.marks[1]);
        packed
    }
}

/// The presented credential, as the script takes it.
#[derive(Debug)]
pub(crate) enum PresentedKey {
    None,
    /// A text that cannot be a key.
    Malformed,
    Key(KeyId, KeyDigest),
}

impl From<&Credential> for PresentedKey {
    fn from(credential: &Credential) -> Self {
        match credential {
            Credential::None => Self::None,
            Credential::Unusable => Self::Malformed,
            Credential::Key(key) => Self::Key(*key.id(), *key.digest()),
        }
    }
}

/// One scan that the script limits before it counts it.
#[derive(Debug)]
pub(crate) struct LimitedScanInput {
    pub(crate) scan: ScanInput,
    /// What the limiter counts the client's address by.
    pub(crate) address: String,
    pub(crate) key: PresentedKey,
}

/// The batch and product records that the scans of one call read. Scans that arrive at the same time often
/// share them, and each further key costs Redis time, so each record is sent once.
#[derive(Debug, Default)]
pub(super) struct SharedRecords {
    keys: Vec<RecordKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordKey {
    Batch(BatchNo),
    Product(Uuid),
}

/// Where the script finds the batch record and the product record of one scan: indexes in `KEYS`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordIndexes {
    batch: u8,
    product: u8,
}

impl SharedRecords {
    /// Adds those records of one scan that no earlier scan of the batch added. The batch stands in for an
    /// unknown product.
    pub(super) fn add(&mut self, scan: &ScanInput) -> RecordIndexes {
        let batch = self.index_of(RecordKey::Batch(scan.opened.batch));
        let product = match &scan.cached {
            Some(cached) => self.index_of(RecordKey::Product(cached.product.value.id)),
            None => batch,
        };
        RecordIndexes { batch, product }
    }

    fn index_of(&mut self, key: RecordKey) -> u8 {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        (FIRST_RECORD..).zip(&self.keys).find(|(_, known)| **known == key).map_or(FIRST_RECORD, |(at, _)| at)
    }

    pub(super) fn push_keys(&self, call: &mut Invocation<'_>) {
        for key in &self.keys {
            match key {
                RecordKey::Batch(number) => call.push_key(keys::batch(*number)),
                RecordKey::Product(id) => call.push_key(keys::product(id)),
            }
        }
    }

    /// Adds the number of records.
    pub(super) fn push_args(&self, call: &mut Invocation<'_>) {
        call.push_arg(self.keys.len());
    }
}

impl LimitedScanInput {
    /// Adds the keys of the tag and its revocation, and the limiter state of the address; for a presented key
    /// also its record and its limiter state.
    pub(super) fn push_keys(&self, call: &mut Invocation<'_>, limits: &Limits) {
        let limiter = limits.regional();
        let serial = self.scan.opened.serial();
        call.push_key(keys::tag(serial));
        call.push_key(keys::tag_revocation(serial));
        limiter.push_state_keys(call, &limits.dimensions(Subject::Address(&self.address)));
        if let PresentedKey::Key(id, _) = &self.key {
            call.push_key(access::keys::key(id));
            limiter.push_state_keys(call, &limits.dimensions(Subject::Key(id)));
        }
    }

    /// Adds the scan's packed argument and the presented key.
    pub(super) fn push_args(&self, call: &mut Invocation<'_>, records: RecordIndexes) {
        call.push_arg(&self.packed(records)[..]);
        match &self.key {
            PresentedKey::None => call.push_arg(NO_KEY),
            PresentedKey::Malformed => call.push_arg(MALFORMED_KEY),
            PresentedKey::Key(_, digest) => call.push_arg(digest.as_bytes()),
        }
    }

    pub(super) fn packed(&self, records: RecordIndexes) -> [u8; LIMITED_PACKED_LEN] {
        let mut packed = [0; LIMITED_PACKED_LEN];
        packed[..2].copy_from_slice(&[records.batch, records.product]);
        packed[2..].copy_from_slice(&self.scan.packed());
        packed
    }
}

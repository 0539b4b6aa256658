//! The consequences of a date of compromise for the batches of a tag epoch, as counts.

use catalog::Batch;
use keyring::KeyRef;
use time::OffsetDateTime;

/// A number of batches, and of the tags in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) batches: u64,
    pub(crate) tags: u64,
}

impl Count {
    fn add(&mut self, batch: &Batch) {
        self.batches += 1;
        self.tags += u64::from(batch.size);
    }
}

/// The effect of a revocation, or of another date for one, on the batches of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) key: KeyRef,
    pub(crate) since: OffsetDateTime,
    /// The current date, if the key is revoked already.
    pub(crate) former: Option<OffsetDateTime>,
    /// Batches minted at `since` or later: `key_revoked` afterwards.
    pub(crate) invalid: Count,
    /// Batches minted earlier: valid afterwards, with the risk factor `superseded_key`.
    pub(crate) superseded: Count,
    /// The part of `invalid` that is valid now.
    pub(crate) becomes_invalid: Count,
    /// The part of `superseded` that is `key_revoked` now.
    pub(crate) becomes_valid: Count,
    /// Batches of any epoch whose record cannot be read.
    pub(crate) unreadable: u64,
}

impl Preview {
    /// Returns a preview that has counted no batch yet.
    pub(crate) fn new(key: KeyRef, since: OffsetDateTime, former: Option<OffsetDateTime>) -> Self {
        let none = Count::default();
        let (invalid, superseded, becomes_invalid, becomes_valid) = (none, none, none, none);
        Self { key, since, former, invalid, superseded, becomes_invalid, becomes_valid, unreadable: 0 }
    }

    /// Adds a batch of the epoch.
    pub(crate) fn count(&mut self, batch: &Batch) {
        let was_invalid = self.former.is_some_and(|former| batch.created_at >= former);
        if batch.created_at >= self.since {
            self.invalid.add(batch);
            if !was_invalid {
                self.becomes_invalid.add(batch);
            }
        } else {
            self.superseded.add(batch);
            if was_invalid {
                self.becomes_valid.add(batch);
            }
        }
    }
}

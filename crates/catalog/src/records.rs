//! Stored bytes of products and batches: a binary header that scripts read without parsing JSON, then JSON.
//!
//! - Product: `u32be revision ‖ JSON`.
//! - Batch: `u32be revision ‖ u32be size ‖ u16be epoch ‖ JSON`.
//!
//! The revision increases with each change, so one round trip tells a scan that its cached batch is stale.

use serde::{Deserialize, Serialize};
use tag_id::{BatchNo, Epoch, TagIndex};
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

/// A stored record that cannot be decoded: damaged, or written by another program.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored {kind} record cannot be read: {why}")]
pub struct CatalogRecordError {
    kind: &'static str,
    why: String,
}

impl CatalogRecordError {
    pub(crate) fn new(kind: &'static str, why: String) -> Self {
        Self { kind, why }
    }
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its public id.
    pub id: Uuid,
    /// The tenant that owns it.
    pub tenant: String,
    /// 1 to 200 characters.
    pub name: String,
    /// 1 to 200 characters.
    pub brand: String,
    /// 8, 12, 13 or 14 digits with a valid check digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtin: Option<String>,
    /// When it was created.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// When and why a batch or a tag was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Time of the withdrawal.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The reason that the operator gave.
    pub reason: String,
}

/// A batch of tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its public id.
    pub id: Uuid,
    /// The tenant that owns it.
    pub tenant: String,
    /// The batch number inside the ids of its tags.
    #[serde(with = "batch_no")]
    pub batch_no: BatchNo,
    /// The key epoch its tags were minted under.
    #[serde(with = "epoch")]
    pub epoch: Epoch,
    /// Number of tags; their indexes are 0 to `size − 1`.
    pub size: u32,
    /// The product that the tags are attached to.
    pub product_id: Uuid,
    /// 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the items were made.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub manufactured_at: Option<OffsetDateTime>,
    /// Time from which its tags are expired.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was minted.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// Set once the batch is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Withdrawal>,
    /// Set once the batch is recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<Withdrawal>,
}

/// A batch number as a JSON number.
mod batch_no {
    use super::{BatchNo, Deserialize};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &BatchNo, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(number.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BatchNo, D::Error> {
        BatchNo::new(u32::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a batch number has 24 bits"))
    }
}

/// An epoch as a JSON number.
mod epoch {
    use super::{Deserialize, Epoch};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(epoch.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        Epoch::new(u16::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("an epoch is 1 to 4095"))
    }
}

impl Batch {
    /// Whether the batch has a tag of this index and epoch.
    #[must_use]
    pub fn holds(&self, epoch: Epoch, index: TagIndex) -> bool {
        self.epoch == epoch && index.get() < self.size
    }

    /// Returns the lifecycle of one of its tags at `now`, if the tag key is not revoked. If several states
    /// apply, revoked ranks before recalled, and recalled before expired.
    #[must_use]
    pub fn lifecycle(&self, tag_revoked: bool, now: OffsetDateTime) -> Lifecycle {
        self.lifecycle_under(false, tag_revoked, now)
    }

    /// As [`Self::lifecycle`]. If `key_revoked`, the tag key is untrusted for this batch: this state ranks
    /// after recalled and before expired.
    #[must_use]
    pub fn lifecycle_under(&self, key_revoked: bool, tag_revoked: bool, now: OffsetDateTime) -> Lifecycle {
        if tag_revoked || self.revoked.is_some() {
            Lifecycle::Revoked
        } else if self.recalled.is_some() {
            Lifecycle::Recalled
        } else if key_revoked {
            Lifecycle::KeyRevoked
        } else if self.expires_at.is_some_and(|expiry| expiry <= now) {
            Lifecycle::Expired
        } else {
            Lifecycle::Active
        }
    }
}

/// The lifecycle of a tag. Only an active tag is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Genuine; none of the other states applies.
    Active,
    /// The tag or its batch was revoked, for good.
    Revoked,
    /// Its batch was recalled.
    Recalled,
    /// Its batch was minted after others may have had the tag key, so it may be a forgery.
    KeyRevoked,
    /// The expiry time of its batch has passed.
    Expired,
}

impl Lifecycle {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Active, Self::Revoked, Self::Recalled, Self::KeyRevoked, Self::Expired];
}

/// A record as read, with the exact bytes that a change must find unchanged.
#[derive(Debug, Clone)]
pub struct StoredRecord<T> {
    /// The decoded record.
    pub value: T,
    /// Increases by one with each change.
    pub revision: u32,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

/// A record that is stored as a binary header and JSON.
pub trait Record: Serialize + for<'de> Deserialize<'de> {
    /// Name of the record type in error messages.
    const KIND: &'static str;
    /// Number of header bytes between the revision and the JSON.
    const HEADER_LEN: usize;
    /// The header bytes between the revision and the JSON.
    fn header(&self) -> Vec<u8>;

    /// Encodes the record for storage.
    fn encode(&self, revision: u32) -> Vec<u8> {
        let mut bytes = revision.to_be_bytes().to_vec();
        bytes.extend(self.header());
        serde_json::to_writer(&mut bytes, self).expect("plain data is always serialisable into memory");
        bytes
    }

    /// Decodes stored bytes.
    ///
    /// # Errors
    /// [`CatalogRecordError`] if the bytes are not such a record.
    fn decode(bytes: Vec<u8>) -> Result<StoredRecord<Self>, CatalogRecordError> {
        let fail = |why: String| CatalogRecordError::new(Self::KIND, why);
        let (revision, rest) =
            bytes.split_first_chunk::<4>().ok_or_else(|| fail("it is too short".to_owned()))?;
        let json = rest.get(Self::HEADER_LEN..).ok_or_else(|| fail("it is too short".to_owned()))?;
        let value = serde_json::from_slice(json).map_err(|error| fail(error.to_string()))?;
        Ok(StoredRecord { value, revision: u32::from_be_bytes(*revision), bytes })
    }
}

impl Record for Product {
    const KIND: &'static str = "product";
    const HEADER_LEN: usize = 0;

    fn header(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl Record for Batch {
    const KIND: &'static str = "batch";
    const HEADER_LEN: usize = 6;

    fn header(&self) -> Vec<u8> {
        [&self.size.to_be_bytes()[..], &self.epoch.get().to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn batch() -> Batch {
        Batch {
            id: "019c6652-5e00-7000-8000-0000000000bb".parse().unwrap(),
            tenant: "default".to_owned(),
            batch_no: BatchNo::new(7).unwrap(),
            epoch: Epoch::new(3).unwrap(),
            size: 16_777_216,
            product_id: "019c6652-5e00-7000-8000-0000000000aa".parse().unwrap(),
            label: Some("spring".to_owned()),
            manufactured_at: None,
            expires_at: Some(datetime!(2027-01-01 0:00 UTC)),
            created_at: datetime!(2026-02-16 12:00 UTC),
            revoked: None,
            recalled: None,
        }
    }

    #[test]
    fn a_record_decodes_to_what_was_encoded() {
        let bytes = batch().encode(9);
        assert_eq!(bytes[..10], [0, 0, 0, 9, 1, 0, 0, 0, 0, 3]);
        let stored = Batch::decode(bytes.clone()).unwrap();
        assert_eq!((stored.value, stored.revision, stored.bytes), (batch(), 9, bytes));
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        assert!(Batch::decode(vec![]).is_err());
        assert!(Batch::decode(batch().encode(1)[..12].to_vec()).is_err());
        assert!(Product::decode(batch().encode(1)).is_err());
    }

    #[test]
    fn revoked_ranks_before_recalled_before_key_revoked_before_expired() {
        let now = datetime!(2028-01-01 0:00 UTC);
        let withdrawal = Some(Withdrawal { at: now, reason: "r".to_owned() });
        let mut batch = batch();
        assert_eq!(batch.lifecycle(false, datetime!(2026-12-31 23:59:59 UTC)), Lifecycle::Active);
        assert_eq!(batch.lifecycle(false, datetime!(2027-01-01 0:00 UTC)), Lifecycle::Expired);
        assert_eq!(batch.lifecycle_under(true, false, now), Lifecycle::KeyRevoked, "before expired");
        assert_eq!(batch.lifecycle_under(true, true, now), Lifecycle::Revoked);
        batch.recalled.clone_from(&withdrawal);
        assert_eq!(batch.lifecycle(false, now), Lifecycle::Recalled);
        assert_eq!(batch.lifecycle_under(true, false, now), Lifecycle::Recalled);
        assert_eq!(batch.lifecycle(true, now), Lifecycle::Revoked);
        batch.revoked = withdrawal;
        assert_eq!(batch.lifecycle(false, now), Lifecycle::Revoked);
    }

    #[test]
    fn a_batch_holds_only_tags_of_its_epoch_below_its_size() {
        let batch = Batch { size: 10, ..batch() };
        let index = |n| TagIndex::new(n).unwrap();
        assert!(batch.holds(batch.epoch, index(9)));
        assert!(!batch.holds(batch.epoch, index(10)));
        assert!(!batch.holds(Epoch::new(2).unwrap(), index(0)));
    }
}

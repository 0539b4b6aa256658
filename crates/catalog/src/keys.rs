//! Every key of the catalogue. All of this must last, and so has no time to live, but for the reports of a day and those of codes that
//! are not ours.
//!
//! Per-tag state is the one place where the bytes of a key count: `vt1:t:` and eight characters are 14 bytes, the most
//! that Redis keeps in its smallest allocation for such a key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tag_id::BatchNo;
use uuid::Uuid;

/// Everything of VokeTag's in the durable Redis begins with this; limiter keys do not.
pub const DURABLE_PREFIX: &str = "vt1:";

/// The deployment record.
pub const DEPLOYMENT: &str = "vt1:deployment";

/// The number the next batch got while numbers followed each other. Nobody reads or writes it any more; where it stands, it shows that
/// a Redis is not empty.
pub const NEXT_BATCH_NO: &str = "vt1:next-batch";

/// What was minted: a hash with one field per batch, its number in decimal, whose value is `u32be size ‖ u16be epoch`.
pub const MINTED: &str = "vt1:bn";

/// What a batch record's key begins with.
pub(crate) const BATCH_PREFIX: &str = "vt1:b:";

/// Reports of codes that are not ours: a sorted set with a bound, which expires.
pub const UNPROVEN_REPORTS: &str = "vt1:ur";

/// A product's record.
#[must_use]
pub fn product(id: &Uuid) -> String {
    format!("vt1:p:{id}")
}

/// A tenant's products, ordered by id: a sorted set of ids, all of score 0.
#[must_use]
pub fn products_of(tenant: &str) -> String {
    format!("vt1:px:{tenant}")
}

/// A batch's record.
#[must_use]
pub fn batch(no: BatchNo) -> String {
    format!("{BATCH_PREFIX}{}", no.get())
}

/// From a batch's public id to its number.
#[must_use]
pub fn batch_no(id: &Uuid) -> String {
    format!("vt1:bi:{id}")
}

/// A tenant's batches, ordered by id: a sorted set of ids, all of score 0.
#[must_use]
pub fn batches_of(tenant: &str) -> String {
    format!("vt1:bx:{tenant}")
}

/// What happened to one tag: its scans and whether it is revoked.
#[must_use]
pub fn tag(serial: [u8; 6]) -> String {
    let mut key = String::with_capacity(14);
    key.push_str("vt1:t:");
    URL_SAFE_NO_PAD.encode_string(serial, &mut key);
    key
}

/// Why and when one tag was revoked.
#[must_use]
pub fn tag_revocation(serial: [u8; 6]) -> String {
    format!("vt1:tr:{}", URL_SAFE_NO_PAD.encode(serial))
}

/// The reports of one tag that were taken on one day, UTC, counted from 1970: a sorted set of their names, for [`TAG_REPORTS_KEPT`].
#[must_use]
pub fn tag_reports(serial: [u8; 6], day: u64) -> String {
    format!("vt1:trr:{}:{day}", URL_SAFE_NO_PAD.encode(serial))
}

/// How long a day's reports are counted: until every clock agrees that the day is over.
pub const TAG_REPORTS_KEPT: Duration = Duration::from_secs(2 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_is_already_stored() {
        let id: Uuid = "019c6652-5e00-7000-8000-0000000000aa".parse().unwrap();
        assert_eq!(UNPROVEN_REPORTS, "vt1:ur");
        assert_eq!(product(&id), "vt1:p:019c6652-5e00-7000-8000-0000000000aa");
        assert_eq!(products_of("default"), "vt1:px:default");
        assert_eq!((DEPLOYMENT, NEXT_BATCH_NO, MINTED), ("vt1:deployment", "vt1:next-batch", "vt1:bn"));
        assert_eq!(batch(BatchNo::new(12_345).unwrap()), "vt1:b:12345");
        assert_eq!(batch_no(&id), "vt1:bi:019c6652-5e00-7000-8000-0000000000aa");
        assert_eq!(batches_of("default"), "vt1:bx:default");
        assert_eq!(tag([0, 0x30, 0x39, 0x0a, 0x5b, 0xf5]), "vt1:t:ADA5Clv1");
        assert_eq!(tag_revocation([0xff; 6]), "vt1:tr:________");
        assert_eq!(tag_reports([0xff; 6], 20_782), "vt1:trr:________:20782");
    }

    #[test]
    fn a_tag_key_is_fourteen_bytes() {
        assert_eq!(tag([0xff; 6]).len(), 14);
    }
}

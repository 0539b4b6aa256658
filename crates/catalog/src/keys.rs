//! Redis keys of this crate. Only the reports of one day ([`tag_reports`]) and the reports of unproven codes
//! ([`UNPROVEN_REPORTS`]) have a TTL; everything else must last.
//!
//! The key of a tag's state is short, because there is one per scanned tag. `vt1:t:` and eight characters are
//! 14 bytes, the longest key that fits Redis's smallest allocation for a key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tag_id::BatchNo;
use uuid::Uuid;

/// Prefix of every key that VokeTag writes to the durable Redis. Limiter keys have another prefix.
pub const DURABLE_PREFIX: &str = "vt1:";

/// Deployment record: JSON.
pub const DEPLOYMENT: &str = "vt1:deployment";

/// Next batch number, which only earlier versions wrote. If it exists, this Redis is not new.
pub const NEXT_BATCH_NO: &str = "vt1:next-batch";

/// Minted-batch index: a hash of batch number in decimal to `u32be size ‖ u16be epoch`.
pub const MINTED: &str = "vt1:bn";

/// Key prefix of batch records.
pub(crate) const BATCH_PREFIX: &str = "vt1:b:";

/// Reports of unproven codes: a sorted set, bounded in number and with a TTL; see [`crate::unproven`].
pub const UNPROVEN_REPORTS: &str = "vt1:ur";

/// Key of a product record.
#[must_use]
pub fn product(id: &Uuid) -> String {
    format!("vt1:p:{id}")
}

/// Key of a tenant's product ids: a sorted set, all scores 0, so the order is that of the ids.
#[must_use]
pub fn products_of(tenant: &str) -> String {
    format!("vt1:px:{tenant}")
}

/// Key of a batch record.
#[must_use]
pub fn batch(no: BatchNo) -> String {
    format!("{BATCH_PREFIX}{}", no.get())
}

/// Key that maps the public id of a batch to its number.
#[must_use]
pub fn batch_no(id: &Uuid) -> String {
    format!("vt1:bi:{id}")
}

/// Key of a tenant's batch ids: a sorted set, all scores 0, so the order is that of the ids.
#[must_use]
pub fn batches_of(tenant: &str) -> String {
    format!("vt1:bx:{tenant}")
}

/// Key of a tag's state: its scans, and whether it is revoked. See [`crate::TagState`].
#[must_use]
pub fn tag(serial: [u8; 6]) -> String {
    of_serial("vt1:t:", serial)
}

/// Returns `prefix` and the serial in base64url, in one allocation, because every scan needs two such keys.
fn of_serial(prefix: &str, serial: [u8; 6]) -> String {
    let mut key = String::with_capacity(prefix.len() + 8);
    key.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(serial, &mut key);
    key
}

/// Key of a tag's revocation record: when and why.
#[must_use]
pub fn tag_revocation(serial: [u8; 6]) -> String {
    of_serial("vt1:tr:", serial)
}

/// Key of the reports of one tag on one UTC day, counted in days since 1970-01-01: a sorted set of report
/// ids. Its TTL is [`TAG_REPORTS_KEPT`].
#[must_use]
pub fn tag_reports(serial: [u8; 6], day: u64) -> String {
    format!("vt1:trr:{}:{day}", URL_SAFE_NO_PAD.encode(serial))
}

/// TTL of a day's reports: long enough that the day is over by every process's clock.
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

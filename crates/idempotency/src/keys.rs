//! The Redis keys of this crate. `<hash>` is the text of a [`RecordKey`].
//!
//! | key | type | holds | lasts |
//! | --- | --- | --- | --- |
//! | `vt1:i:<tenant>:<hash>` | string | a claim or its response | the time to live |
//! | `vt1:ix:<tenant>` | sorted set | hashes of a tenant's records, by expiry (Unix ms) | its last record |
//!
//! The time to live of a record starts at completion, that of a claim at its last renewal. A claim and each
//! renewal set the record's expiry in the index, one lease later than the claim would expire. A response that
//! is stored within the lease therefore expires before its index entry.

use crate::namespace::RecordKey;

/// The deployment record, which each claim compares. The catalogue owns it.
pub(crate) const DEPLOYMENT: &str = "vt1:deployment";

/// Returns the key of one request's record.
#[must_use]
pub fn record(tenant: &str, key: &RecordKey) -> String {
    format!("vt1:i:{tenant}:{key}")
}

/// Returns the key of a tenant's index: the hashes of its records by expiry, Unix ms.
#[must_use]
pub fn records_of(tenant: &str) -> String {
    format!("vt1:ix:{tenant}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::IdempotencyKey;
    use crate::namespace::Namespace;

    #[test]
    fn keys_match_stored_data() {
        let key = IdempotencyKey::parse(&[b"k"]).unwrap().unwrap();
        let namespace = Namespace {
            tenant: "acme",
            method: "POST",
            template: "/v1/batches/{id}/revoke",
            params: &[("id", "7")],
            key: &key,
        };
        assert_eq!(
            record("acme", &namespace.record_key()),
            "vt1:i:acme:x6GBco9tLXNuxBczG8Xr03lSkKFTZXedmRxciDrAMiE"
        );
        assert_eq!(records_of("acme"), "vt1:ix:acme");
    }
}

//! The keys of this crate. `<hash>` is [`RecordKey`] as text.
//!
//! | key | type | holds | lasts |
//! | --- | --- | --- | --- |
//! | `vt1:i:<tenant>:<hash>` | string | a claim or its answer | the time to live, from completion; a claim's from its last renewal |
//! | `vt1:ix:<tenant>` | sorted set | the hashes of a tenant's records, by expiry (Unix ms) | as long as its last record |
//!
//! A record's place in the index is set when it is claimed and at each renewal, a lease later than the claim would end: an answer
//! that is given within the lease is gone before its place is.

use crate::namespace::RecordKey;

/// The deployment record, which every claim compares; it is the catalogue's.
pub(crate) const DEPLOYMENT: &str = "vt1:deployment";

/// One request's record.
#[must_use]
pub fn record(tenant: &str, key: &RecordKey) -> String {
    format!("vt1:i:{tenant}:{key}")
}

/// A tenant's records: a sorted set of what stands behind the last colon of [`record`], by expiry in Unix ms.
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
    fn keys_are_what_is_already_stored() {
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

//! The stored record of a request: a claim (`C`) or a completed request (`D`). The scripts read the fixed
//! part.
//!
//! ```text
//! claimed   C ‖ u64be token ‖ seed(16) ‖ fingerprint(32) ‖ u48be lease_until ‖ u48be created ‖ origin (JSON)
//! done      D ‖ u64be token ‖ seed(16) ‖ fingerprint(32) ‖ response
//! ```
//!
//! Times are Unix ms.//! The first 25 bytes of a claim are its fence. The token grows at each takeover. The
//! seed is drawn when the record is created, so a new claim differs from an earlier one of the same key that
//! also began with token 1.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::answer::StoredResponse;
use crate::error::IdempotencyError;
use crate::namespace::Fingerprint;

/// Length of the fixed part, bytes: kind, token, seed and fingerprint.
const FIXED: usize = 1 + 8 + 16 + 32;

/// Length of a fence, bytes: kind, token and seed.
pub(crate) const FENCE: usize = 1 + 8 + 16;

/// Who sent the first try. The event of a retry names the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The actor, in the notation of audit events.
    pub actor: String,
    /// The first try's request id.
    pub request_id: String,
    /// The first try's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

impl Origin {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is always serialisable into memory")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IdempotencyError> {
        serde_json::from_slice(bytes).map_err(|_| IdempotencyError::Damaged("its origin is not JSON"))
    }
}

/// Returns the first bytes of the record while this claim holds. No two claims have the same fence.
pub(crate) fn fence(token: u64, seed: &[u8; 16]) -> [u8; FENCE] {
    begin(b'C', token, seed)
}

/// Returns the first bytes of the record after this claim was completed.
pub(crate) fn completed(token: u64, seed: &[u8; 16]) -> [u8; FENCE] {
    begin(b'D', token, seed)
}

fn begin(kind: u8, token: u64, seed: &[u8; 16]) -> [u8; FENCE] {
    let mut bytes = [0; FENCE];
    bytes[0] = kind;
    bytes[1..9].copy_from_slice(&token.to_be_bytes());
    bytes[9..].copy_from_slice(seed);
    bytes
}

/// Encodes the record of a completed claim.
pub(crate) fn done(
    token: u64,
    seed: &[u8; 16],
    fingerprint: &Fingerprint,
    answer: &StoredResponse,
) -> Result<Vec<u8>, IdempotencyError> {
    Ok([&completed(token, seed)[..], fingerprint.as_bytes(), &answer.encode()?].concat())
}

/// Decodes the response from the record of a completed claim.
pub(crate) fn response_in(record: &[u8]) -> Result<StoredResponse, IdempotencyError> {
    let rest = record.get(FIXED..).filter(|_| record.first() == Some(&b'D'));
    rest.and_then(StoredResponse::decode).ok_or(IdempotencyError::Damaged("its answer is cut short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_layout_matches_stored_records() {
        let fingerprint = Fingerprint::of("POST", "/v1/products", b"application/json", b"{}");
        let answer = StoredResponse {
            status: 201,
            content_type: None,
            location: Some("/a".into()),
            etag: None,
            body: b"b".into(),
        };
        let record = done(7, &[9; 16], &fingerprint, &answer).unwrap();
        assert_eq!(&record[..FENCE], b"D\0\0\0\0\0\0\0\x07\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t");
        assert_eq!(&record[FENCE..FIXED], fingerprint.as_bytes());
        assert_eq!(&record[FIXED..], b"\x00\xc9\xff\xff\x00\x02/a\xff\xffb");
        assert_eq!(response_in(&record).unwrap(), answer);
        assert_eq!(fence(7, &[9; 16])[1..], record[1..FENCE]);
    }

    #[test]
    fn a_truncated_record_is_reported_as_damaged() {
        for damaged in [&b""[..], b"D", &[b'D'; FIXED], &[b'C'; 200]] {
            assert!(matches!(response_in(damaged), Err(IdempotencyError::Damaged(_))));
        }
    }

    #[test]
    fn an_origin_round_trips_with_and_without_an_address() {
        let origin = Origin { actor: "key/a".into(), request_id: "r".into(), ip: None };
        assert_eq!(origin.encode(), br#"{"actor":"key/a","request_id":"r"}"#);
        assert_eq!(Origin::decode(&origin.encode()).unwrap(), origin);
        let from = Origin { ip: Some("2001:db8::1".parse().unwrap()), ..origin };
        assert_eq!(Origin::decode(&from.encode()).unwrap(), from);
    }
}

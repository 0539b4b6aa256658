//! What is stored of a request: `C`, a claim, or `D`, its answer. The scripts read the fixed part.
//!
//! ```text
//! claimed   C ‖ u64be token ‖ seed(16) ‖ fingerprint(32) ‖ u48be lease_until ‖ u48be created ‖ origin (JSON)     times in Unix ms
//! done      D ‖ u64be token ‖ seed(16) ‖ fingerprint(32) ‖ answer
//! ```
//!
//! The first 25 bytes of a claim are its fence. The token grows when the claim is taken over; the seed, drawn anew whenever a
//! record begins, tells it from a claim that was released or expired before, whose token began at 1 as well.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::answer::StoredResponse;
use crate::error::IdempotencyError;
use crate::namespace::Fingerprint;

/// Bytes that both begin with.
const FIXED: usize = 1 + 8 + 16 + 32;

/// A claim's kind, token and seed.
pub(crate) const FENCE: usize = 1 + 8 + 16;

/// Who sent the request the first time; a retry is noted in the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// As audit events name actors.
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
        serde_json::from_slice(bytes).map_err(|_| IdempotencyError::Damaged("its origin is no JSON"))
    }
}

/// What a record begins with as long as the claim is this one: no other claim ever has the same.
pub(crate) fn fence(token: u64, seed: &[u8; 16]) -> [u8; FENCE] {
    begin(b'C', token, seed)
}

/// What a record begins with once the claim is completed.
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

/// The record of a completed claim.
pub(crate) fn done(
    token: u64,
    seed: &[u8; 16],
    fingerprint: &Fingerprint,
    answer: &StoredResponse,
) -> Result<Vec<u8>, IdempotencyError> {
    Ok([&completed(token, seed)[..], fingerprint.as_bytes(), &answer.encode()?].concat())
}

/// The answer in the record of a completed claim.
pub(crate) fn answer_in(record: &[u8]) -> Result<StoredResponse, IdempotencyError> {
    let rest = record.get(FIXED..).filter(|_| record.first() == Some(&b'D'));
    rest.and_then(StoredResponse::decode).ok_or(IdempotencyError::Damaged("its answer is cut short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_what_is_already_stored() {
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
        assert_eq!(answer_in(&record).unwrap(), answer);
        assert_eq!(fence(7, &[9; 16])[1..], record[1..FENCE]);
    }

    #[test]
    fn only_a_whole_answer_is_read() {
        for damaged in [&b""[..], b"D", &[b'D'; FIXED], &[b'C'; 200]] {
            assert!(matches!(answer_in(damaged), Err(IdempotencyError::Damaged(_))));
        }
    }

    #[test]
    fn an_origin_without_an_address_is_read() {
        let origin = Origin { actor: "key/a".into(), request_id: "r".into(), ip: None };
        assert_eq!(origin.encode(), br#"{"actor":"key/a","request_id":"r"}"#);
        assert_eq!(Origin::decode(&origin.encode()).unwrap(), origin);
        let from = Origin { ip: Some("2001:db8::1".parse().unwrap()), ..origin };
        assert_eq!(Origin::decode(&from.encode()).unwrap(), from);
    }
}

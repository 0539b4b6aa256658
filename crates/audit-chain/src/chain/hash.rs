//! The hashes of the chain. Pure functions, tested against the published vectors (`docs/vectors.json`).
//!
//! ```text
//! payload_hash  = SHA-256(payload)
//! entry         = 0x01 ‖ u64be(seq) ‖ prev(32) ‖ payload_hash(32)         73 bytes, seq from 0
//! hash          = SHA-256(0x00 ‖ entry)        chain link and RFC 6962 leaf hash at once
//! prev of seq 0 = SHA-256("voketag-audit/v1\n" ‖ origin)
//! ```
//!
//! The layout is part of the public contract (docs/contract.md §8).

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;

/// First byte of every entry: the version of its layout.
const ENTRY_VERSION: u8 = 0x01;

/// Prefix of a hashed leaf, so that no leaf has the hash of an inner node (RFC 6962 §2.1).
const LEAF_PREFIX: u8 = 0x00;

/// Prefix of the origin in the first entry's `prev`.
const GENESIS_LABEL: &[u8] = b"voketag-audit/v1\n";

/// Length of an entry, in bytes.
pub const ENTRY_BYTES: usize = 73;

/// Length of a hash, in bytes.
pub(crate) const HASH_BYTES: usize = 32;

/// A SHA-256 hash: 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Makes a hash of its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0u8; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    /// Reads 64 lower-case hex digits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let is_lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(&*text, &mut bytes) {
            Ok(()) if is_lower_case => Ok(Self(bytes)),
            _ => Err(D::Error::custom("a hash is 64 lower-case hex digits")),
        }
    }
}

/// Hashes the canonical bytes of an event.
#[must_use]
pub fn payload_hash(payload: &[u8]) -> Hash {
    Hash(Sha256::digest(payload).into())
}

/// Returns the 73 bytes that are hashed for one entry.
#[must_use]
pub fn entry_bytes(seq: u64, prev: &Hash, payload_hash: &Hash) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[0] = ENTRY_VERSION;
    entry[1..9].copy_from_slice(&seq.to_be_bytes());
    entry[9..41].copy_from_slice(&prev.0);
    entry[41..].copy_from_slice(&payload_hash.0);
    entry
}

/// Hashes one entry. The result is the `prev` of the next entry.
#[must_use]
pub fn entry_hash(seq: u64, prev: &Hash, payload_hash: &Hash) -> Hash {
    let mut leaf = [LEAF_PREFIX; 1 + ENTRY_BYTES];
    leaf[1..].copy_from_slice(&entry_bytes(seq, prev, payload_hash));
    Hash(Sha256::digest(leaf).into())
}

/// Returns the `prev` of the first entry of the chain named `origin`.
#[must_use]
pub fn genesis_prev(origin: &str) -> Hash {
    Hash(Sha256::new().chain_update(GENESIS_LABEL).chain_update(origin).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_layout_is_version_seq_prev_payload_hash() {
        let entry = entry_bytes(0x0102_0304_0506_0708, &Hash([0xaa; 32]), &Hash([0xbb; 32]));
        assert_eq!(entry[..9], [1, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(entry[9..41], [0xaa; 32]);
        assert_eq!(entry[41..], [0xbb; 32]);
    }

    #[test]
    fn a_hash_is_written_in_lower_case_hex() {
        let hash = Hash([0xAB; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
    }

    #[test]
    fn the_chain_follows_the_published_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../docs/vectors.json")).unwrap();
        let audit = &vectors["audit"];
        let mut prev = genesis_prev(audit["origin"].as_str().unwrap());
        assert_eq!(prev.to_string(), audit["genesis_prev"].as_str().unwrap());
        for entry in audit["entries"].as_array().unwrap() {
            let payload_hash = payload_hash(entry["canonical"].as_str().unwrap().as_bytes());
            assert_eq!(prev.to_string(), entry["prev"].as_str().unwrap());
            assert_eq!(payload_hash.to_string(), entry["payload_hash"].as_str().unwrap());
            prev = entry_hash(entry["seq"].as_u64().unwrap(), &prev, &payload_hash);
            assert_eq!(prev.to_string(), entry["hash"].as_str().unwrap());
        }
    }
}

//! The chain's head: how many entries it has, and the hash of the last one.

use crate::chain::hash::Hash;
use serde::Serialize;

/// Most entries of a chain: numbers up to 2^53 − 1 are exact in Lua and in every JSON reader.
pub(crate) const MAX_SIZE: u64 = (1 << 53) - 1;

/// Length of a stored head: `u64be(size) ‖ hash(32)`.
pub(crate) const HEAD_BYTES: usize = 40;

/// Lua function `audit_size(head)` for scripts of other crates, which refuse a chain shorter than one they
/// have seen. `lua/head.lua` documents it.
pub const HEAD_LUA: &str = include_str!("../lua/head.lua");

/// The head of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Number of entries in the chain, which is the seq of the next entry.
    pub size: u64,
    /// Hash of the last entry. For an empty chain, the `prev` of its first entry.
    #[serde(rename = "head")]
    pub hash: Hash,
}

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..].copy_from_slice(self.hash.as_bytes());
        bytes
    }

    /// Reads a stored head. `None` for another length, for no entries, or for more than [`MAX_SIZE`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, hash) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        Some(Self { size, hash: Hash::from_bytes(hash.try_into().ok()?) })
            .filter(|head| (1..=MAX_SIZE).contains(&head.size))
    }

    /// Returns the head after one more entry with this hash, `None` when the chain is full.
    pub(crate) fn followed_by(self, hash: Hash) -> Option<Self> {
        let size = self.size.checked_add(1).filter(|size| *size <= MAX_SIZE)?;
        Some(Self { size, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, fill: u8) -> Head {
        Head { size, hash: Hash::from_bytes([fill; 32]) }
    }

    #[test]
    fn a_head_is_read_back_from_its_bytes() {
        let bytes = head(0x0102, 9).to_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Head::from_bytes(&bytes), Some(head(0x0102, 9)));
        assert_eq!(Head::from_bytes(&bytes[..39]), None);
        assert_eq!(Head::from_bytes(&head(0, 9).to_bytes()), None, "an empty chain has no stored head");
        assert_eq!(Head::from_bytes(&head(MAX_SIZE, 9).to_bytes()), Some(head(MAX_SIZE, 9)));
        for size in [MAX_SIZE + 1, MAX_SIZE + 2, u64::MAX] {
            assert_eq!(Head::from_bytes(&head(size, 9).to_bytes()), None, "{size}");
        }
    }

    #[test]
    fn a_chain_holds_at_most_max_size_entries() {
        let hash = Hash::from_bytes([1; 32]);
        assert_eq!(head(0, 9).followed_by(hash), Some(head(1, 1)));
        assert_eq!(head(MAX_SIZE - 1, 9).followed_by(hash), Some(head(MAX_SIZE, 1)));
        assert_eq!(head(MAX_SIZE, 9).followed_by(hash), None);
        assert_eq!(head(u64::MAX, 9).followed_by(hash), None);
    }
}

//! The Merkle tree over the hashes of the entries (RFC 6962 §2.1), kept as a compact range.
//!
//! A compact range holds the roots of the perfect subtrees that a tree of this size consists of, largest
//! first. It has at most 64 hashes at any size, adds a leaf in amortised constant time, and yields the root
//! without the leaves.
//!
//! ```text
//! leaf hash   = SHA-256(0x00 ‖ leaf)              an entry's hash is a leaf hash
//! node hash   = SHA-256(0x01 ‖ left ‖ right)
//! empty root  = SHA-256()
//! ```

use crate::chain::hash::{HASH_BYTES, Hash};
use sha2::{Digest, Sha256};

/// Prefix of a hashed inner node (RFC 6962 §2.1).
const NODE_PREFIX: u8 = 0x01;

/// Hashes an inner node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let hash = Sha256::new()
        .chain_update([NODE_PREFIX])
        .chain_update(left.as_bytes())
        .chain_update(right.as_bytes())
        .finalize();
    Hash::from_bytes(hash.into())
}

/// The tree over the first `size` leaves, as far as further leaves and the root need it.
///
/// ```
/// use audit_chain::checkpoint::{CompactRange, node_hash};
/// use audit_chain::payload_hash;
///
/// let (first, second) = (payload_hash(b"a"), payload_hash(b"b"));
/// let mut range = CompactRange::new();
/// range.push(first);
/// range.push(second);
/// assert_eq!(range.root(), node_hash(&first, &second));
/// assert_eq!(CompactRange::from_bytes(&range.to_bytes()), Some(range));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    /// Roots of the subtrees, one for each bit that is set in `size`, the largest subtree first.
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// Makes the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf, given its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one bit of the size is a subtree as large as the one that joins it.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Returns the root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            Some(smallest) => peaks.fold(*smallest, |right, left| node_hash(left, &right)),
            None => Hash::from_bytes(Sha256::digest([]).into()),
        }
    }

    /// Returns `u64be(size) ‖ peaks`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        self.peaks.iter().for_each(|peak| bytes.extend(peak.as_bytes()));
        bytes
    }

    /// Reads what [`Self::to_bytes`] returns. `None` for any other length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = rest.as_chunks::<HASH_BYTES>();
        let fits = rest.is_empty() && peaks.len() == size.count_ones() as usize;
        fits.then(|| Self { size, peaks: peaks.iter().copied().map(Hash::from_bytes).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MTH of RFC 6962 §2.1: the list is split at the largest power of two smaller than its length.
    fn oracle(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::from_bytes(Sha256::digest([]).into()),
            [only] => *only,
            _ => {
                let mut split = 1;
                while split * 2 < leaves.len() {
                    split *= 2;
                }
                let (left, right) = (oracle(&leaves[..split]), oracle(&leaves[split..]));
                let mut input = vec![1_u8];
                input.extend(left.as_bytes());
                input.extend(right.as_bytes());
                Hash::from_bytes(Sha256::digest(input).into())
            }
        }
    }

    fn leaf(data: &[u8]) -> Hash {
        Hash::from_bytes(Sha256::digest([&[0], data].concat()).into())
    }

    fn numbered(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
    }

    fn range_of(leaves: &[Hash]) -> CompactRange {
        let mut range = CompactRange::new();
        leaves.iter().for_each(|leaf| range.push(*leaf));
        range
    }

    #[test]
    fn the_root_of_the_empty_tree_is_the_hash_of_no_bytes() {
        let root = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(CompactRange::new().root().to_string(), root);
    }

    /// The leaves and roots of the tests of Certificate Transparency's reference implementation.
    #[test]
    fn roots_match_those_of_certificate_transparency() {
        let leaves: [&str; 8] = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut range = CompactRange::new();
        for (data, root) in leaves.into_iter().zip(roots) {
            range.push(leaf(&hex::decode(data).unwrap()));
            assert_eq!(range.root().to_string(), root, "size {}", range.size());
        }
    }

    #[test]
    fn every_size_up_to_300_has_the_root_of_the_oracle() {
        let leaves = numbered(300);
        let mut range = CompactRange::new();
        for size in 0..=300 {
            assert_eq!(range.root(), oracle(&leaves[..size]), "size {size}");
            if let Some(next) = leaves.get(size) {
                range.push(*next);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_range_stored_in_between_yields_the_root_of_the_oracle(
            before in 0_u64..700, after in 0_u64..700,
        ) {
            let leaves = numbered(before + after);
            let stored = range_of(&leaves[..usize::try_from(before).unwrap()]).to_bytes();
            let mut range = CompactRange::from_bytes(&stored).unwrap();
            leaves[usize::try_from(before).unwrap()..].iter().for_each(|leaf| range.push(*leaf));
            prop_assert_eq!(range.size(), before + after);
            prop_assert_eq!(range.root(), oracle(&leaves));
        }

        #[test]
        fn bytes_of_another_length_are_rejected(size in 0_u64..1_000, cut in 1_usize..32) {
            let bytes = range_of(&numbered(size)).to_bytes();
            prop_assert!(CompactRange::from_bytes(&bytes).is_some());
            prop_assert!(CompactRange::from_bytes(&bytes[..bytes.len() - cut.min(8)]).is_none());
            prop_assert!(CompactRange::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_none());
        }
    }
}

//! The compact range that is stored beside the chain, so that the next checkpoint reads only the entries
//! since.

use crate::chain::hash::Hash;
use crate::checkpoint::merkle::CompactRange;
use crate::checkpoint::note::Checkpoint;

/// The Merkle tree over the first entries of the chain: all leaves but the last as a compact range, and the
/// last leaf.
///
/// The last leaf is never stored. It is read from the chain, which ties a stored range to the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedRange {
    before_last: CompactRange,
    last: Option<Hash>,
    /// Signed checkpoints that the tree must agree with when it is extended, in ascending order.
    signed: Vec<Checkpoint>,
    /// Stored bytes that are not trusted. They are replaced, whatever size they claim.
    distrusted: Vec<u8>,
}

impl CachedRange {
    /// Makes an empty range that must agree with `signed`, in ascending order, and that replaces
    /// `distrusted`.
    pub(crate) fn from_first_entry(signed: Vec<Checkpoint>, distrusted: Vec<u8>) -> Self {
        Self { signed, distrusted, ..Self::default() }
    }

    /// Requires that extending the range agrees with those of `signed` (in ascending order) that are larger.
    pub(crate) fn agree_with(&mut self, signed: Vec<Checkpoint>) {
        let size = self.size();
        self.signed = signed.into_iter().filter(|checkpoint| checkpoint.size > size).collect();
    }

    /// Takes out the checkpoints that the range must agree with, in ascending order.
    pub(crate) fn take_signed(&mut self) -> Vec<Checkpoint> {
        std::mem::take(&mut self.signed)
    }

    /// Returns the stored bytes that this range replaces, empty if none.
    pub(crate) fn distrusted(&self) -> &[u8] {
        &self.distrusted
    }

    /// Returns the number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.before_last.size() + u64::from(self.last.is_some())
    }

    /// Returns the root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut whole = self.before_last.clone();
        self.last.iter().for_each(|leaf| whole.push(*leaf));
        whole.root()
    }

    /// Returns the last leaf, if there is one.
    pub(crate) fn last(&self) -> Option<Hash> {
        self.last
    }

    /// Adds the next leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        if let Some(before) = self.last.replace(leaf) {
            self.before_last.push(before);
        }
    }

    /// Returns the stored form: `u64be(size)`, then all leaves but the last as a compact range.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.size().to_be_bytes()[..], &self.before_last.to_bytes()].concat()
    }

    /// Reads the stored form. Returns the number of leaves and the range without the last one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<(u64, Self)> {
        let (size, before_last) = bytes.split_first_chunk::<8>()?;
        let (size, before_last) = (u64::from_be_bytes(*size), CompactRange::from_bytes(before_last)?);
        let fits = before_last.size() == size.saturating_sub(1);
        fits.then(|| (size, Self { before_last, ..Self::default() }))
    }
}

//! The answer to an append.

use crate::chain::hash::Hash;

/// An acknowledged append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The entry's place in the chain, from 0.
    pub seq: u64,
    /// The hash of the entry. For a duplicate, the hash of the original entry.
    pub hash: Hash,
    /// Whether the chain already held this event, from an earlier call or from an attempt of this one whose
    /// reply was lost. Its effect was carried out then and is not repeated.
    pub duplicate: bool,
}

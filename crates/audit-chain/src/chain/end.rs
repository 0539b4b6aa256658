//! The end of the chain: whether the stored entries end where the head says they do.
//!
//! Redis does not roll a script back. A script that is interrupted half way, or anyone who writes to the
//! segments, can leave entries that the head does not count. Every append and every read of the head compares
//! the two (`lua/chain_end.lua`).

use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::reply::integer;
use redis::Value;

/// Lua functions that compare the end of the chain with its head. They follow [`crate::HEAD_LUA`] in a
/// script.
pub(crate) const CHAIN_END_LUA: &str = include_str!("../lua/chain_end.lua");

/// Why nothing can be appended although no state is known to be lost: the entries do not end where the head
/// says.
///
/// Reading still works. An operator has to resolve it: see the runbook for a damaged audit chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndFault {
    /// Entries follow the head: a write was interrupted before it moved the head, or entries were added by
    /// hand.
    #[error("{entries} entries follow the audit head; factory-service audit repair removes them")]
    Surplus {
        /// Number of entries that the head does not count.
        entries: u64,
    },
    /// The head counts an entry that does not exist.
    #[error("entry {seq} of the audit chain is missing, but its head counts it")]
    Missing {
        /// Seq of the missing entry.
        seq: u64,
    },
    /// The hash in the head is not the hash of the last entry.
    #[error("entry {seq}, the last of the audit chain, has another hash than its head")]
    OtherHash {
        /// Seq of the last entry.
        seq: u64,
    },
    /// The key of a segment holds another type than a list.
    #[error("segment {number} of the audit chain is not a list")]
    WrongType {
        /// Number of the segment.
        number: u64,
    },
}

impl EndFault {
    /// Reads the reply of the Lua function `chain_end_fault`. `None` for an unknown kind and for a head that
    /// is malformed.
    pub(crate) fn from_reply(kind: i64, number: u64) -> Option<Self> {
        Some(match kind {
            1 => Self::Surplus { entries: number },
            2 => Self::Missing { seq: number },
            3 => Self::OtherHash { seq: number },
            4 => Self::WrongType { number },
            _ => return None,
        })
    }
}

/// The head, and whether the entries end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// The head. For an empty chain, size 0 and the genesis hash.
    pub head: Head,
    /// Why nothing can be appended, if so.
    pub fault: Option<EndFault>,
}

/// The value at the head's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredHead {
    /// No key: an empty chain.
    Absent,
    /// Bytes that are not a head, or a key of another type.
    Malformed,
    /// A head.
    Present(Head),
}

/// The end of the chain as one script call found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundEnd {
    pub(crate) head: StoredHead,
    /// The hash stored with the last entry of the head that the caller expected, if that entry exists.
    pub(crate) hash_at_expected: Option<Hash>,
    pub(crate) fault: Option<EndFault>,
}

impl FoundEnd {
    /// Reads `head, hash, kind, number` as the scripts return them.
    pub(crate) fn read(parts: &[Value]) -> Option<Self> {
        let [Value::BulkString(head), Value::BulkString(hash), Value::Int(kind), number] = parts else {
            return None;
        };
        let head = match Head::from_bytes(head) {
            Some(head) => StoredHead::Present(head),
            None if head.is_empty() => StoredHead::Absent,
            None => StoredHead::Malformed,
        };
        let hash_at_expected = hash.as_slice().try_into().ok().map(Hash::from_bytes);
        Some(Self { head, hash_at_expected, fault: EndFault::from_reply(*kind, integer(number)?) })
    }
}

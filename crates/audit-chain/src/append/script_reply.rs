//! The replies of `lua/append.lua`, which documents them.

use crate::chain::end::{EndFault, FoundEnd};
use crate::chain::hash::Hash;
use crate::reply::{integer, unexpected};
use redis::Value;
use redis_pool::PoolError;

/// A reply of the script. Nothing was written, except for [`Self::Written`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AppendReply {
    /// All entries were written.
    Written,
    /// A precondition of every append does not hold.
    GuardFails { check: usize },
    /// The head is another one than expected.
    HeadMoved(FoundEnd),
    /// These entries cannot be written.
    Rejected(Vec<EntryRejection>),
    /// The chain does not end as its head says.
    EndFault(EndFault),
}

/// Why one entry of a call cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRejection {
    /// Index of the entry in its call, from 0.
    pub(crate) index: usize,
    pub(crate) why: RejectReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// The chain holds the same event.
    Duplicate { seq: u64, hash: Hash },
    /// The chain holds another event with this id.
    IdReused { seq: u64 },
    /// A precondition of the effect does not hold.
    CheckFails { check: usize },
    /// A write of the effect meets a key of another type.
    WrongType { write: usize },
}

impl AppendReply {
    /// Reads a reply.
    ///
    /// # Errors
    /// [`PoolError::Reply`] for any other shape.
    pub(crate) fn read(reply: Value) -> Result<Self, PoolError> {
        let parts = match reply {
            Value::Array(parts) => parts,
            other => return Err(unexpected("script audit-append", &other)),
        };
        let read = match parts.as_slice() {
            [Value::Int(0)] => Some(Self::Written),
            [Value::Int(1), check] => integer(check).map(|check| Self::GuardFails { check }),
            [Value::Int(2), found @ ..] => FoundEnd::read(found).map(Self::HeadMoved),
            [Value::Int(3), rejections @ ..] => {
                rejections.chunks(4).map(rejection).collect::<Option<_>>().map(Self::Rejected)
            }
            [Value::Int(4), Value::Int(kind), number] => {
                integer(number).and_then(|number| EndFault::from_reply(*kind, number)).map(Self::EndFault)
            }
            _ => None,
        };
        read.ok_or_else(|| unexpected("script audit-append", &Value::Array(parts)))
    }
}

fn rejection(parts: &[Value]) -> Option<EntryRejection> {
    let [index, Value::Int(kind), value, Value::BulkString(hash)] = parts else { return None };
    let why = match kind {
        0 => {
            let hash = Hash::from_bytes(hash.as_slice().try_into().ok()?);
            RejectReason::Duplicate { seq: integer(value)?, hash }
        }
        1 => RejectReason::IdReused { seq: integer(value)? },
        2 => RejectReason::CheckFails { check: integer(value)? },
        3 => RejectReason::WrongType { write: integer(value)? },
        _ => return None,
    };
    Some(EntryRejection { index: integer(index)?, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::end::StoredHead;

    fn integers(values: &[i64]) -> Value {
        Value::Array(values.iter().copied().map(Value::Int).collect())
    }

    fn moved(head: StoredHead, hash_at_expected: Option<Hash>, fault: Option<EndFault>) -> AppendReply {
        AppendReply::HeadMoved(FoundEnd { head, hash_at_expected, fault })
    }

    #[test]
    fn replies_are_read_as_the_script_documents_them() {
        let read = |reply| AppendReply::read(reply).unwrap();
        assert_eq!(read(integers(&[0])), AppendReply::Written);
        assert_eq!(read(integers(&[1, 2])), AppendReply::GuardFails { check: 2 });
        for (kind, fault) in [
            (1, EndFault::Surplus { entries: 9 }),
            (2, EndFault::Missing { seq: 9 }),
            (3, EndFault::OtherHash { seq: 9 }),
            (4, EndFault::WrongType { number: 9 }),
        ] {
            assert_eq!(read(integers(&[4, kind, 9])), AppendReply::EndFault(fault));
        }
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let hash = Hash::from_bytes([8; 32]);
        let rejected = [
            EntryRejection { index: 5, why: RejectReason::Duplicate { seq: 70, hash } },
            EntryRejection { index: 6, why: RejectReason::CheckFails { check: 1 } },
        ];
        let int = Value::Int;
        let parts = [int(3), int(5), int(0), int(70), bulk(&[8; 32]), int(6), int(2), int(1), bulk(b"")];
        assert_eq!(read(Value::Array(parts.to_vec())), AppendReply::Rejected(rejected.to_vec()));
        let absent = Value::Array(vec![int(2), bulk(b""), bulk(b""), int(-1), int(0)]);
        assert_eq!(read(absent), moved(StoredHead::Absent, None, None));
        let malformed = Value::Array(vec![int(2), bulk(b"rubbish"), bulk(&[7; 32]), int(0), int(0)]);
        let hash = Hash::from_bytes([7; 32]);
        assert_eq!(read(malformed), moved(StoredHead::Malformed, Some(hash), None));
        let surplus = Value::Array(vec![int(2), bulk(b""), bulk(b""), int(1), int(3)]);
        let fault = EndFault::Surplus { entries: 3 };
        assert_eq!(read(surplus), moved(StoredHead::Absent, None, Some(fault)));
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error() {
        for other in [
            integers(&[]),
            integers(&[0, 0]),
            integers(&[3, 1, 0]),
            integers(&[3, 1, 2, 0, 0]),
            integers(&[1, -1]),
            integers(&[4, 0, 1]),
            Value::Okay,
        ] {
            assert!(matches!(AppendReply::read(other), Err(PoolError::Reply { .. })));
        }
    }
}

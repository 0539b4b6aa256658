//! What the chain is made of: hashes, the head, and the judgement of a head that is not the expected one.
//!
//! - [`hash`]: the hash of a payload, of an entry, and of the chain's origin.
//! - [`head`]: size and last hash, as one stored value.
//! - [`end`]: whether the stored entries end where the head says they do.
//! - [`memory`]: the highest head this process has seen, and the judgement of every head it reads after that.

pub(crate) mod end;
pub(crate) mod hash;
pub(crate) mod head;
pub(crate) mod memory;

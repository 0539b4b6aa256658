//! The chain itself: its hashes and its head.

pub(crate) mod hash;
pub(crate) mod head;

//! The atomics of this crate. `tests/loom.rs` compiles the sources a second time and replaces this module by
//! loom's atomics, to check every interleaving.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

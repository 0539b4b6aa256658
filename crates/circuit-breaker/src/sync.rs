//! The one place the atomics come from, so that `tests/loom.rs`, which compiles these sources a second time, can put
//! loom's in their stead and walk through every interleaving.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

//! The audit chain: a tamper-evident log of events, written together with the state changes that they report.
//!
//! **Guarantees.** An acknowledged event is in the chain exactly once, together with its effect; the event,
//! the effect and the chain's head are written by one script call or not at all. Any number of processes may
//! append. Each entry's hash covers all entries before it, so a change, removal or insertion is found by
//! verification, and signed checkpoints make rewriting the whole chain evident. What survives a crash of
//! Redis is what its `appendfsync` promises.
//!
//! **Failures.** An [`AppendError`] means that nothing was written, except where it says that this is
//! unknown; repeating the same event is then safe. A Redis that lost state is refused with [`StateLoss`],
//! never continued. A chain whose entries do not end at its head is refused with [`EndFault`] until an
//! operator repairs it; reading still works.
//!
//! **Where to look.**
//!
//! - `event`: an [`Event`] as canonical JSON. [`AuditAction`] in `event/action.rs` lists all actions: add one
//!   there.
//! - `effect`: the state change beside an event, as data: [`Precondition`]s and [`RedisWrite`]s.
//! - `append`: the [`Appender`], one task per process; its `worker` states how each failure ends,
//!   `lua/append.lua` writes.
//! - `read`: the [`AuditLog`] (head, pages, verification), and the [`Verifier`], which needs no Redis.
//! - `chain`: hashes, head, end, and the memory that detects lost state. [`keys`]: every key in Redis.
//! - [`checkpoint`]: Merkle roots and signed notes. [`export`]: the chain as a file. `repair`: entries after
//!   the head.

mod append;
mod chain;
pub mod checkpoint;
mod effect;
mod error;
mod event;
pub mod export;
pub mod keys;
mod read;
mod repair;
mod reply;

pub use append::appended::Appended;
pub use append::appender::Appender;
pub use append::config::AppenderConfig;
pub use append::metrics::AuditMetrics;
pub use chain::end::{ChainEnd, EndFault};
pub use chain::hash::{ENTRY_BYTES, Hash, entry_bytes, entry_hash, genesis_prev, payload_hash};
pub use chain::head::{HEAD_LUA, Head};
pub use chain::memory::StateLoss;
pub use checkpoint::{CheckpointTextError, read_checkpoint};
pub use effect::precondition::Precondition;
pub use effect::write::RedisWrite;
pub use effect::{Effect, EffectError, MAX_EFFECT_BYTES, MAX_EFFECT_STEPS};
pub use error::{AppendError, AppendFault, ReadError};
pub use event::Event;
pub use event::action::AuditAction;
pub use event::details::{DetailValue, Details, SafeInt};
pub use event::error::EventError;
pub use event::limits::{MAX_EVENT_BYTES, MAX_SAFE_INTEGER};
pub use event::new_event::NewEvent;
pub use event::reader::NotCanonical;
pub use read::log::AuditLog;
pub use read::pages::{EntryPage, EntryView};
pub use read::verifier::{EntryFault, Verifier, VerifyError, VerifyReport, verify_elements};
pub use repair::{MAX_SURPLUS, SurplusElement, SurplusTail};

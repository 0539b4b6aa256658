//! The audit chain: events that can be proven untouched, written together with what they report.
//!
//! - [`Event`]: what happened, as canonical bytes (RFC 8785).
//! - [`Appender`]: one task per process that chains whatever waits and writes it with its [`Effect`]s in one script call.
//!   An event and the chain's head move together or not at all, and so does the state change the event reports.
//! - [`AuditLog`]: the head, pages of entries, and verifying any range.
//! - [`Verifier`]: the same check without Redis.
//! - [`checkpoint`]: what signed checkpoints of the chain commit to; whoever holds keys signs them.
//! - [`export`]: the chain as a file that can be verified anywhere.
//!
//! Many processes may append to one chain. There is no queue behind an answer: an append that was acknowledged is in the
//! chain, one that was not was refused with an [`AppendError`]. A Redis that lost its state is refused, never continued.
//! What survives a crash of Redis is what its `appendfsync` promises.

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

pub use append::appender::{Appended, Appender, AppenderConfig};
pub use append::metrics::AuditMetrics;
pub use chain::hash::{ENTRY_BYTES, Hash, entry_bytes, entry_hash, genesis_prev, payload_hash};
pub use chain::head::{ChainEnd, EndFault, HEAD_LUA, Head, StateLoss};
pub use checkpoint::{CheckpointTextError, read_checkpoint};
pub use effect::{Effect, EffectError, MAX_EFFECT_BYTES, MAX_EFFECT_STEPS, Precondition, RedisWrite};
pub use error::{AppendError, AppendFault, ReadError};
pub use event::canonical::NotCanonical;
pub use event::{
    DetailValue, Details, Event, EventError, MAX_EVENT_BYTES, MAX_SAFE_INTEGER, NewEvent, SafeInt,
};
pub use read::log::{AuditLog, EntryPage, EntryView};
pub use read::verifier::{EntryFault, Verifier, VerifyError, VerifyReport, verify_elements};
pub use repair::{MAX_SURPLUS, SurplusElement, SurplusTail};

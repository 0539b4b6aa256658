//! Signed checkpoints of the chain. A checkpoint commits to the first `size` entries by a Merkle root.
//!
//! - [`CompactRange`]: the Merkle tree (RFC 6962), in constant memory.
//! - [`Checkpoint`], [`SignedNote`]: the text that is signed, and the signed text. This crate holds no keys:
//!   the `keyring` crate makes and checks signatures.
//! - [`read_checkpoint`]: reading a copy of a checkpoint, with the damage where it cannot be read.
//! - [`CheckpointStore`]: computing the roots of the stored chain and storing signed notes.

mod cached_range;
mod merkle;
mod note;
mod store;
mod text;

pub use cached_range::CachedRange;
pub use merkle::{CompactRange, node_hash};
pub use note::{Checkpoint, MAX_NOTE_BYTES, NoteError, SignatureLine, SignedNote, is_key_name};
pub use store::{CheckpointStore, ExtendOutcome, RecordPrefix, StoreOutcome};
pub use text::{CheckpointTextError, read_checkpoint};

//! Signed checkpoints of the chain: the Merkle tree, the notes, and where both are stored.

mod merkle;
mod note;
mod store;
mod text;

pub use merkle::{CompactRange, node_hash};
pub use note::{Checkpoint, MAX_NOTE_BYTES, NoteError, SignatureLine, SignedNote, is_key_name};
pub use store::{CachedRange, CheckpointStore, ExtendOutcome, RecordPrefix, StoreOutcome};
pub use text::{CheckpointTextError, read_checkpoint};

//! The states of the two families of keys, tag epochs and audit signing keys, as every instance of both services sees them.
//!
//! Redis holds states and public parts; secrets come from each process's own settings. A key goes
//! `pending → active → verify_only → revoked → destroyed`, forward only, and exactly one key of a family is active. The date of
//! a revocation can be corrected.
//!
//! - [`KeyringWatch`]: one per process. It says that the process lives and what it holds, and hears what has changed.
//! - [`Snapshot`]: the keyring at one revision; what a scan or a new batch asks.
//! - [`KeyringAdmin`]: plans a move as one effect that travels with its audit event.
//! - [`CheckpointSigner`], [`AuditKeys`]: signing the audit chain's checkpoints, and judging signatures.
//!
//! It fails with [`KeyringError`]; a move that cannot be made is a [`MoveRefusal`] that says what would be right.

mod admin;
mod error;
mod exported;
mod judge;
pub mod keys;
mod metrics;
mod move_refusal;
mod moves;
mod number;
mod presence;
mod record;
mod restoring;
pub mod seed;
mod signer;
mod signing;
mod snapshot;
mod vkey;
mod watch;

pub use admin::{HEARD_WITHIN, KeyringAdmin, Plan, Planned};
pub use error::KeyringError;
pub use exported::ExportedKey;
pub use judge::{AuditKeys, NoteTrust};
pub use metrics::KeyringMetrics;
pub use move_refusal::MoveRefusal;
pub use moves::{MAX_REASON, Move};
pub use number::{KeyFamily, KeyNumber, KeyRef, NoSuchName};
pub use presence::{LIVES_FOR, Live, Presence, SIGNING_SERVICE};
pub use record::{
    KeyState, KeyringEntry, KeyringRecord, KeyringRecordError, MAX_KEYS, Public, Revocation, StoredKeyring,
};
pub use restoring::Restoring;
pub use signer::{CheckpointSigner, SignError, SignedCheckpoint};
pub use signing::{NotAName, SeedError, SigningKeys, SigningSeed};
pub use snapshot::{Snapshot, TagKeyState};
pub use vkey::{VerifierKey, VkeyError};
pub use watch::{
    HEARTBEAT_INTERVAL, HEARTBEAT_JITTER, KeyringStatus, KeyringWatch, Role, STALE_AFTER, Secrets,
};

//! The life cycle of tag epochs and audit signing keys, shared by all instances of both services.
//!
//! Redis stores the states and public parts of keys; secrets stay in each process's settings. A key moves forward only:
//! `pending → active → verify_only → revoked → destroyed`. Exactly one tag key is active, and at most one signing key.
//!
//! - [`KeyringWatch`] announces this process and polls for changes; create one per process.
//! - [`Snapshot`] is the keyring at one revision; scans and new batches read it.
//! - [`KeyringAdmin`] plans a [`Move`] as one effect, written together with its audit event.
//! - [`CheckpointSigner`] signs checkpoints of the audit chain; [`AuditKeys`] judges signatures.
//!
//! Operations fail with [`KeyringError`]. An impossible move is a [`MoveRefusal`] that says what would be accepted.
//! The rules are in `moves.rs`, the stored bytes in `record.rs`, the Redis keys in [`keys`].
//!
//! ```
//! use keyring::{KeyFamily, KeyNumber, KeyRef};
//!
//! let key = KeyRef { family: KeyFamily::Tag, number: KeyNumber::new(2).expect("numbers start at 1") };
//! assert_eq!(key.family.to_string(), "tag");
//! assert!("label".parse::<KeyFamily>().is_err());
//! ```

mod admin;
mod deployment;
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
mod secrets;
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
pub use moves::Move;
pub use number::{KeyFamily, KeyNumber, KeyRef, NoSuchName};
pub use presence::{LIVES_FOR, Live, Presence, SIGNING_SERVICE};
pub use record::{
    KeyState, KeyringEntry, KeyringRecord, KeyringRecordError, MAX_KEYS, MAX_REASON, Public, Revocation,
    StoredKeyring,
};
pub use restoring::Restoring;
pub use secrets::Secrets;
pub use signer::{CheckpointSigner, SignError, SignedCheckpoint};
pub use signing::{NotAName, SeedError, SigningKeys, SigningSeed};
pub use snapshot::{Snapshot, TagKeyState};
pub use vkey::{VerifierKey, VkeyError};
pub use watch::{HEARTBEAT_INTERVAL, HEARTBEAT_JITTER, KeyringStatus, KeyringWatch, Role, STALE_AFTER};

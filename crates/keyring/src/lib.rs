//! The life cycle of tag epochs and audit signing keys, shared by all instances of both services.
//!
//! Redis stores the states and public parts of keys; secrets stay in each process's settings. A key only
//! moves forward: `pending → active → verify_only → revoked → destroyed`. Exactly one tag key is active, and
//! at most one signing key.
//!
//! - [`KeyringWatch`] announces this process and polls for changes; create one per process.
//! - [`Snapshot`] is the keyring at one revision; scans and new batches read it.
//! - [`KeyringAdmin`] plans a [`Move`] as one effect, written together with its audit event.
//! - [`CheckpointSigner`] signs checkpoints of the audit chain; [`AuditKeys`] judges signatures.
//!
//! Operations fail with [`KeyringError`]. An impossible move is a [`MoveRefusal`], which says what to do
//! instead. The rules are in `moves.rs`, the stored bytes in `record.rs`, the Redis keys in [`keys`].
//!
//! ```
//! # use std::num::NonZeroUsize;
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! use keyring::{KeyFamily, KeyringMetrics, KeyringWatch, Role, Secrets, SigningKeys};
//! # use catalog::{DeploymentGate, Expectation, Init};
//! # use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
//! # use test_support::RedisServer;
//! use tag_id::{Epoch, MasterSecret, TagKeys};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let redis = RedisServer::start().await;
//! # let clock = Arc::new(ambient::SystemClock::new());
//! # let config = PoolConfig {
//! #     name: "keyring",
//! #     url: redis.url().parse().unwrap(),
//! #     permits: NonZeroUsize::MIN,
//! #     connections: NonZeroUsize::MIN,
//! #     wait: Duration::from_secs(10),
//! #     command_timeout: Duration::from_secs(10),
//! #     open_for: redis_pool::OPEN_FOR,
//! # };
//! # let pool = RedisPool::new(config, clock.clone(), &PoolMetrics::default());
//! let secrets = Secrets {
//!     tags: Arc::new(TagKeys::new(None, [(Epoch::MIN, MasterSecret::from([7; 32]))])),
//!     signing: Arc::new(SigningKeys::none("voketag.local/audit")),
//! };
//! # let expectation = Expectation {
//! #     tag_keys: Arc::clone(&secrets.tags),
//! #     adds_epoch: Some(Epoch::MIN),
//! #     audit_origin: "voketag.local/audit".to_owned(),
//! # };
//! # let gate = DeploymentGate::new(pool.clone(), expectation, Init::Auto);
//! # let deployment = gate.refresh(time::macros::datetime!(2026-02-16 12:00 UTC)).await?.clone();
//! let role = Role { announces: Some("factory-service"), seeds: Some(Epoch::MIN) };
//! let watch = KeyringWatch::new(pool, clock, secrets, role, KeyringMetrics::default());
//! assert!(watch.snapshot().is_none(), "nothing was read yet");
//!
//! let snapshot = watch.heartbeat(&deployment).await?;
//! assert_eq!(snapshot.active_epoch(), Epoch::MIN, "the first heartbeat created the keyring");
//! assert!(snapshot.record().active(KeyFamily::Audit).is_none(), "no signing key was configured");
//!
//! watch.leave().await?;
//! # Ok::<(), keyring::KeyringError>(())
//! # }).unwrap();
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

pub use admin::{ACTIVATION_WAIT, KeyringAdmin, Plan, Planned};
pub use error::KeyringError;
pub use exported::ExportedKey;
pub use judge::{AuditKeys, NoteTrust};
pub use metrics::KeyringMetrics;
pub use move_refusal::MoveRefusal;
pub use moves::Move;
pub use number::{KeyFamily, KeyNumber, KeyRef, NoSuchName};
pub use presence::{INSTANCE_TTL, LiveInstances, Presence, SIGNING_SERVICE};
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

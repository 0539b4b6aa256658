//! Signs checkpoints of the audit chain with the active key.
//!
//! A revoked key cannot sign. The signer uses only the key that is active in its snapshot, and the script
//! that stores the note checks that the keyring still has the snapshot's revision. A note is returned only
//! after it was stored.

use audit_chain::checkpoint::{
    Checkpoint, CheckpointStore, ExtendOutcome, RecordPrefix, SignedNote, StoreOutcome,
};
use audit_chain::{AuditLog, ReadError};
use catalog::Deployment;
use std::sync::Arc;

use crate::judge::{AuditKeys, NoteTrust, may_sign};
use crate::keys;
use crate::number::{KeyFamily, KeyNumber};
use crate::signing::SigningKeys;
use crate::snapshot::Snapshot;

/// A signed checkpoint that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The content of the note.
    pub checkpoint: Checkpoint,
    /// The key that signed it.
    pub key: KeyNumber,
    /// The signed note.
    pub note: String,
    /// Whether this call signed it. If not, it was stored before.
    pub fresh: bool,
}

/// Why no checkpoint was signed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignError {
    /// The keyring has no active audit key.
    #[error("no audit signing key is active")]
    NoActiveKey,
    /// This process does not hold the secret of the active key.
    #[error("this process has no secret for audit key {0}, which is the active one")]
    NotHeld(KeyNumber),
    /// The keyring or the deployment has changed since the snapshot. Take a new one and sign again.
    #[error("the keyring has changed since the snapshot was taken")]
    Overtaken,
    /// A trusted checkpoint contradicts the chain. A new note would replace that evidence, so none is signed.
    #[error("a signed checkpoint of {size} entries contradicts the chain; nothing more is signed")]
    Contradicted {
        /// Number of entries that the checkpoint covers.
        size: u64,
    },
    /// The chain could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
}

/// Signs checkpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckpointSigner {
    store: CheckpointStore,
    keys: Arc<SigningKeys>,
}

impl CheckpointSigner {
    /// Creates a signer of the chain that `log` reads, with the keys that this process holds.
    #[must_use]
    pub fn new(log: AuditLog, keys: Arc<SigningKeys>) -> Self {
        Self { store: CheckpointStore::new(log), keys }
    }

    /// Returns the store of the notes and the cached compact range.
    #[must_use]
    pub fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// Returns a checkpoint of the current chain, signed with the active key. If nothing was appended since
    /// the stored checkpoint, returns that one; else signs and stores a new one.
    ///
    /// # Errors
    /// See [`SignError`]; on [`SignError::Overtaken`] take a new snapshot and sign again.
    pub async fn sign(
        &self,
        deployment: &Deployment,
        snapshot: &Snapshot,
    ) -> Result<SignedCheckpoint, SignError> {
        let active = snapshot.record().active(KeyFamily::Audit).filter(|entry| may_sign(entry));
        let active = active.ok_or(SignError::NoActiveKey)?;
        let key = active.number;
        if self.keys.vkey(key).is_none_or(|own| Some(own) != active.vkey()) {
            return Err(SignError::NotHeld(key));
        }
        let judges = AuditKeys::of(snapshot.record());
        let trusted = |note: &SignedNote| matches!(judges.judge(note), NoteTrust::Valid { .. });
        // Read before the head, so that no note covers more entries than the head.
        let (mut range, notes) = self.store.cached_range(trusted).await?;
        let head = self.store.log().head().await?;
        if let ExtendOutcome::Contradicted { size } = self.store.extend(&mut range, head).await? {
            return Err(SignError::Contradicted { size });
        }
        let (size, root) = (range.size(), range.root());
        let checkpoint = Checkpoint { origin: self.keys.origin().to_owned(), size, root };
        if let Some(note) =
            notes.get(&key.get()).filter(|text| self.read_own(key, text).as_ref() == Some(&checkpoint))
        {
            return Ok(SignedCheckpoint { checkpoint, key, note: note.clone(), fresh: false });
        }
        let note = self.keys.sign(key, &checkpoint).ok_or(SignError::NotHeld(key))?.to_string();
        let seen = [
            RecordPrefix { key: catalog::keys::DEPLOYMENT.into(), prefix: deployment.prefix().into() },
            RecordPrefix { key: keys::KEYRING.into(), prefix: snapshot.revision().to_be_bytes().to_vec() },
        ];
        match self.store.store(&seen, &range, key.get(), &note).await? {
            StoreOutcome::Stored => Ok(SignedCheckpoint { checkpoint, key, note, fresh: true }),
            StoreOutcome::RecordChanged { .. } => Err(SignError::Overtaken),
            // Another process stored a checkpoint of more entries in the meantime. Return that one.
            StoreOutcome::Behind => self.stored(key, head.size).await?.ok_or(SignError::Overtaken),
        }
    }

    /// Returns the stored note of `key`, if its signature verifies and it covers at least `size` entries.
    async fn stored(&self, key: KeyNumber, size: u64) -> Result<Option<SignedCheckpoint>, SignError> {
        let Some(note) = self.store.note(key.get()).await? else { return Ok(None) };
        let checkpoint = self.read_own(key, &note).filter(|read| read.size >= size);
        Ok(checkpoint.map(|checkpoint| SignedCheckpoint { checkpoint, key, note, fresh: false }))
    }

    /// Parses the checkpoint of a note, if `key` signed it and it is of this chain's origin.
    fn read_own(&self, key: KeyNumber, text: &str) -> Option<Checkpoint> {
        let note = SignedNote::parse(text.as_bytes()).ok()?;
        let line = note.signatures().first()?;
        let own = self.keys.vkey(key)?.verifies(note.text(), line);
        note.checkpoint().ok().filter(|read| own && read.origin == self.keys.origin())
    }
}

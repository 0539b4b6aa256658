//! Signing checkpoints of the audit chain with the active key.
//!
//! A key that was revoked cannot sign: whoever is not the active key in the snapshot is not asked, and the script that stores
//! the note compares the keyring's revision with the one that the signer saw. A note that was not stored was never shown.

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

/// A checkpoint that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What it commits to.
    pub checkpoint: Checkpoint,
    /// The key that signed it.
    pub key: KeyNumber,
    /// The signed note.
    pub note: String,
    /// Whether this call signed it; else it stood already.
    pub fresh: bool,
}

/// Why there is no checkpoint.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignError {
    /// The keyring has no active audit key.
    #[error("no audit signing key is active")]
    NoActiveKey,
    /// Another process holds the active key's secret.
    #[error("this process has no secret for audit key {0}, which is the active one")]
    NotHeld(KeyNumber),
    /// The keyring or the deployment has changed since it was looked at; look again.
    #[error("the keyring has changed since it was looked at")]
    Overtaken,
    /// The chain is not the one that was signed before. A new note would take the place of the one that shows it.
    #[error("a signed checkpoint of {size} entries contradicts the chain; nothing more is signed")]
    Contradicted {
        /// Of how many entries it speaks.
        size: u64,
    },
    /// The chain could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Redis did not answer.
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
    /// Signs the chain that `log` reads, with the keys that this process holds.
    #[must_use]
    pub fn new(log: AuditLog, keys: Arc<SigningKeys>) -> Self {
        Self { store: CheckpointStore::new(log), keys }
    }

    /// The notes and the edge.
    #[must_use]
    pub fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// A checkpoint of the chain as it is now, signed with the active key: the one that stands where nothing was appended
    /// since, else a new one.
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
        let believed = |note: &SignedNote| matches!(judges.judge(note), NoteTrust::Valid { .. });
        // Before the head: what others sign meanwhile is of a larger size.
        let (mut edge, notes) = self.store.cached_range(believed).await?;
        let head = self.store.log().head().await?;
        if let ExtendOutcome::Contradicted { size } = self.store.extend(&mut edge, head).await? {
            return Err(SignError::Contradicted { size });
        }
        let (size, root) = (edge.size(), edge.root());
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
        match self.store.store(&seen, &edge, key.get(), &note).await? {
            StoreOutcome::Stored => Ok(SignedCheckpoint { checkpoint, key, note, fresh: true }),
            StoreOutcome::RecordChanged { .. } => Err(SignError::Overtaken),
            // Another process signed a larger size meanwhile: its note is the later one.
            StoreOutcome::Behind => self.standing(key, head.size).await?.ok_or(SignError::Overtaken),
        }
    }

    /// The standing note of that key, if it covers at least `size` entries and is what this process would have signed.
    async fn standing(&self, key: KeyNumber, size: u64) -> Result<Option<SignedCheckpoint>, SignError> {
        let Some(note) = self.store.note(key.get()).await? else { return Ok(None) };
        let checkpoint = self.read_own(key, &note).filter(|read| read.size >= size);
        Ok(checkpoint.map(|checkpoint| SignedCheckpoint { checkpoint, key, note, fresh: false }))
    }

    /// What a note commits to that the key signed, for this chain.
    fn read_own(&self, key: KeyNumber, text: &str) -> Option<Checkpoint> {
        let note = SignedNote::parse(text.as_bytes()).ok()?;
        let line = note.signatures().first()?;
        let own = self.keys.vkey(key)?.verifies(note.text(), line);
        note.checkpoint().ok().filter(|read| own && read.origin == self.keys.origin())
    }
}

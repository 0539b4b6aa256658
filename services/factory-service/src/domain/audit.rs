//! Reads and verifies the audit chain.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use access::Scope;
use audit_chain::{EntryPage, Head, read_checkpoint};
use keyring::{AuditKeys, KeyFamily, KeyringRecord, NoteTrust};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::checkpoints::Checkpoints;
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::store::Store;
use crate::domain::verified::{JudgedCheckpoint, Outcome, Verified, signed_size};

const BUSY: &str = "a verification for this tenant is under way in this process; try again when it has ended";
const SLOW: &str = "other verifications are under way in this process; try again later";
const TOO_LONG: &str = "the chain could not be verified within the time that one verification has; verify it \
                        by ranges, or from an export";
/// How long a verification waits for those of other tenants.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a verification may take: ten million entries at a tenth of the measured speed.
pub(crate) const VERIFY_WITHIN: Duration = Duration::from_secs(15 * 60);
const OTHER_ROOT: &str = "the chain has another root at this size than was signed";
const TOO_LARGE: &str = "it covers more entries than the chain has";
const OTHER_ORIGIN: &str = "it is of another origin";

/// The chain, which all tenants share.
pub(crate) struct Audit {
    store: Store,
    checkpoints: Arc<Checkpoints>,
    verifications: VerificationQueue,
}

/// Admits one verification at a time, because each reads the whole chain and uses a whole core. A tenant may
/// have one in the queue, so that another tenant waits for at most one of its verifications.
struct VerificationQueue {
    running: Semaphore,
    tenants: Mutex<HashSet<String>>,
}

/// A tenant's place in the queue. Dropping it frees the place.
struct QueuePlace<'a>(&'a VerificationQueue, String);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.tenants.lock().remove(&self.1);
    }
}

impl VerificationQueue {
    fn new() -> Self {
        Self { running: Semaphore::new(1), tenants: Mutex::default() }
    }

    async fn acquire(&self, caller: &Caller) -> Result<(QueuePlace<'_>, SemaphorePermit<'_>), FactoryError> {
        let tenant = caller.tenant().as_str().to_owned();
        if !self.tenants.lock().insert(tenant.clone()) {
            return Err(FactoryError::Conflict(BUSY));
        }
        let place = QueuePlace(self, tenant);
        match tokio::time::timeout(QUEUE_TIMEOUT, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok((place, permit)),
            _ => Err(FactoryError::Conflict(SLOW)),
        }
    }
}

impl Audit {
    pub(crate) fn new(store: Store, checkpoints: Arc<Checkpoints>) -> Self {
        Self { store, checkpoints, verifications: VerificationQueue::new() }
    }

    /// Returns the chain's name and its signing keys as this process knows them. A verifier needs both in
    /// addition to an export.
    pub(crate) fn keys(&self) -> Result<(&str, KeyringRecord), FactoryError> {
        let keys = self.store.keys()?;
        Ok((self.checkpoints.origin(), keys.record().clone()))
    }

    pub(crate) async fn head(&self) -> Result<Head, FactoryError> {
        let log = self.store.log()?;
        self.store.read(log.head()).await
    }

    /// Returns a page of the chain. Each entry has its hashes, so that anyone can verify it. Only operators
    /// see the events of other tenants; for other callers they are `null`.
    pub(crate) async fn events(
        &self,
        caller: &Caller,
        after_seq: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<EntryPage, FactoryError> {
        let log = self.store.log()?;
        let mut page = self.store.read(log.entries(after_seq, limit)).await?;
        if !caller.has(Scope::Admin) {
            for entry in page.events.iter_mut().filter(|entry| !caller.owns_event(&entry.event)) {
                entry.event = RawValue::NULL.to_owned();
            }
        }
        Ok(page)
    }

    /// Verifies a range. For the whole chain, it also verifies the stored checkpoints and `kept`, which were
    /// kept elsewhere.
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] if the tenant has a verification in the queue, or if queue or verification
    /// take too long.
    pub(crate) async fn verify(
        &self,
        caller: &Caller,
        range: Range<u64>,
        kept: Vec<String>,
    ) -> Result<Verified, FactoryError> {
        let _permit = self.verifications.acquire(caller).await?;
        let verified = tokio::time::timeout(VERIFY_WITHIN, self.verify_with_permit(range, kept)).await;
        verified.map_err(|_| FactoryError::Conflict(TOO_LONG))?
    }

    async fn verify_with_permit(
        &self,
        range: Range<u64>,
        kept: Vec<String>,
    ) -> Result<Verified, FactoryError> {
        let log = self.store.log()?;
        let whole = range.start == 0 && range.end == u64::MAX;
        let report = self.store.read(log.verify(range)).await?;
        let checkpoints = if whole && report.ok {
            let found = self.judge(&kept).await?;
            self.sign_if_consistent(&kept, found).await?
        } else {
            Vec::new()
        };
        let revoked =
            |judged: &&JudgedCheckpoint| matches!(judged.trust, NoteTrust::SignedByRevokedKey { .. });
        self.checkpoints.count_revoked(checkpoints.iter().filter(revoked).count() as u64);
        let keys = self.store.keys()?;
        let was_active = keys.record().family(KeyFamily::Audit).iter().any(|key| key.activated_at.is_some());
        Ok(Verified { report, checkpoints, never_signed: whole && !was_active })
    }

    /// Signs the chain so that a checkpoint covers its newest entries too, and returns the checkpoints as
    /// they are then.
    ///
    /// It does not sign if a checkpoint contradicts the chain: that checkpoint is evidence, and a new one
    /// would replace it. A process that has no active signing key returns the checkpoints of the others.
    async fn sign_if_consistent(
        &self,
        kept: &[String],
        found: Vec<JudgedCheckpoint>,
    ) -> Result<Vec<JudgedCheckpoint>, FactoryError> {
        // A stored checkpoint that cannot be read may have been evidence as well.
        let must_stay = |judged: &JudgedCheckpoint| match judged.outcome() {
            Outcome::Broken => true,
            Outcome::UnreadableCheckpoint => judged.number.is_some(),
            _ => false,
        };
        if found.iter().any(must_stay) {
            return Ok(found);
        }
        let signed = match self.checkpoints.sign().await {
            Ok(signed) => signed,
            Err(FactoryError::Conflict(_)) => return Ok(found),
            Err(error) => return Err(error),
        };
        // Another process may have signed since `found` was read.
        if signed.fresh || signed_size(&found) < signed.checkpoint.size {
            self.judge(kept).await
        } else {
            Ok(found)
        }
    }

    /// Judges the stored checkpoints and those kept elsewhere. The hashes of the chain must be verified
    /// already.
    async fn judge(&self, kept: &[String]) -> Result<Vec<JudgedCheckpoint>, FactoryError> {
        let store = self.checkpoints.signer()?.store().clone();
        let snapshot = self.store.keys()?;
        let keys = AuditKeys::of(snapshot.record());
        let stored = store.notes().await?.into_iter().map(|(number, text)| (Some(number), text));
        let texts = stored.chain(kept.iter().map(|text| (None, text.clone())));
        let found: Vec<_> = texts.map(|(number, text)| (number, read_checkpoint(text.as_bytes()))).collect();
        let sizes = found.iter().filter_map(|(_, read)| Some(read.as_ref().ok()?.1.size));
        // The head is read after the notes, so that it covers every checkpoint that was signed in between.
        let head = store.log().head().await?;
        let roots = store.roots_at(sizes.filter(|size| *size <= head.size)).await?;
        let origin = self.checkpoints.origin();
        let judged = found.into_iter().map(|(number, read)| {
            let (note, checkpoint) = match read {
                Ok(read) => read,
                Err(why) => return JudgedCheckpoint::unreadable(number, why),
            };
            let contradicted = if checkpoint.origin != origin {
                Some(OTHER_ORIGIN)
            } else {
                match roots.get(&checkpoint.size) {
                    None => Some(TOO_LARGE),
                    Some(root) if *root != checkpoint.root => Some(OTHER_ROOT),
                    Some(_) => None,
                }
            };
            let trust = keys.judge(&note);
            JudgedCheckpoint { number, size: Some(checkpoint.size), trust, contradicted, unreadable: None }
        });
        Ok(judged.collect())
    }
}

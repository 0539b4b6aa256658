//! Reading and verifying the audit chain. Exporting it is in `audit_export`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use access::Scope;
use audit_chain::{EntryPage, Head, read_checkpoint};
use keyring::{AuditKeys, KeyFamily, KeyringRecord, NoteTrust};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::audit_export::Exporting;
use crate::domain::checkpoints::Checkpoints;
use crate::domain::identity::Caller;
use crate::domain::refusal::Refusal;
use crate::domain::store::Store;
use crate::domain::verified::{JudgedCheckpoint, Outcome, Verified, signed_size};

const BUSY: &str = "a verification for this tenant is under way in this process; try again when it has ended";
const SLOW: &str = "other verifications are under way in this process; try again later";
const TOO_LONG: &str = "the chain could not be verified within the time that one verification has; verify it by ranges, or from an export";
/// How long a verification waits for those of other tenants.
const TURN_WITHIN: Duration = Duration::from_secs(60);
/// How long one may take: ten million entries at a tenth of the measured speed.
pub(crate) const VERIFY_WITHIN: Duration = Duration::from_secs(15 * 60);
const OTHER_ROOT: &str = "the chain has another root at this size than was signed";
const TOO_LARGE: &str = "it is of more entries than the chain has";
const OTHER_ORIGIN: &str = "it is of another origin";

/// Whether an event is in the name of the caller's tenant. One that cannot be read is nobody's.
pub(crate) fn is_of(caller: &Caller, event: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        tenant: Cow<'a, str>,
    }
    serde_json::from_str::<Named<'_>>(event.get()).is_ok_and(|named| caller.owns(&named.tenant))
}

/// The chain, which all tenants share.
pub(crate) struct Audit {
    pub(crate) store: Store,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) exporting: Exporting,
    turns: Turns,
}

/// Whose turn it is to verify: one at a time, since it reads the whole chain and hashes as fast as a core can; and each tenant once,
/// so that none can keep the others waiting for more than one of its own.
struct Turns {
    one: Semaphore,
    in_line: Mutex<HashSet<String>>,
}

/// A place in the line, given up when dropped.
struct Place<'a>(&'a Turns, String);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.in_line.lock().remove(&self.1);
    }
}

impl Turns {
    fn new() -> Self {
        Self { one: Semaphore::new(1), in_line: Mutex::default() }
    }

    async fn take(&self, caller: &Caller) -> Result<(Place<'_>, SemaphorePermit<'_>), Refusal> {
        let tenant = caller.tenant().as_str().to_owned();
        if !self.in_line.lock().insert(tenant.clone()) {
            return Err(Refusal::Conflict(BUSY));
        }
        let place = Place(self, tenant);
        match tokio::time::timeout(TURN_WITHIN, self.one.acquire()).await {
            Ok(Ok(turn)) => Ok((place, turn)),
            _ => Err(Refusal::Conflict(SLOW)),
        }
    }
}

impl Audit {
    pub(crate) fn new(store: Store, checkpoints: Arc<Checkpoints>) -> Self {
        Self { store, checkpoints, exporting: Exporting::default(), turns: Turns::new() }
    }

    /// The chain's name, and the keys that sign it, as this process knows them: what a verifier needs besides an export.
    pub(crate) fn keys(&self) -> Result<(&str, KeyringRecord), Refusal> {
        let keys = self.store.keys()?;
        Ok((self.checkpoints.origin(), keys.record().clone()))
    }

    pub(crate) async fn head(&self) -> Result<Head, Refusal> {
        let log = self.store.log()?;
        self.store.read(log.head()).await
    }

    /// A page of the chain. Every entry's hashes are there, so that anybody can verify it; the event of another tenant's
    /// entry is `null` for all but operators.
    pub(crate) async fn events(
        &self,
        caller: &Caller,
        after_seq: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<EntryPage, Refusal> {
        let log = self.store.log()?;
        let mut page = self.store.read(log.entries(after_seq, limit)).await?;
        if !caller.has(Scope::Admin) {
            for entry in page.events.iter_mut().filter(|entry| !is_of(caller, &entry.event)) {
                entry.event = RawValue::NULL.to_owned();
            }
        }
        Ok(page)
    }

    /// Verifies a range. Of the whole chain also the signed checkpoints are verified, and those that were `kept` elsewhere.
    pub(crate) async fn verify(
        &self,
        caller: &Caller,
        range: Range<u64>,
        kept: Vec<String>,
    ) -> Result<Verified, Refusal> {
        let _turn = self.turns.take(caller).await?;
        let verified = tokio::time::timeout(VERIFY_WITHIN, self.verify_in_turn(range, kept)).await;
        verified.map_err(|_| Refusal::Conflict(TOO_LONG))?
    }

    async fn verify_in_turn(&self, range: Range<u64>, kept: Vec<String>) -> Result<Verified, Refusal> {
        let log = self.store.log()?;
        let whole = range.start == 0 && range.end == u64::MAX;
        let report = self.store.read(log.verify(range)).await?;
        let checkpoints = if whole && report.ok {
            let found = self.judge(&kept).await?;
            self.sign_what_is_right(&kept, found).await?
        } else {
            Vec::new()
        };
        let revoked =
            |judged: &&JudgedCheckpoint| matches!(judged.standing, NoteTrust::SignedByRevokedKey { .. });
        self.checkpoints.count_revoked(checkpoints.iter().filter(revoked).count() as u64);
        let keys = self.store.keys()?;
        let was_active = keys.record().family(KeyFamily::Audit).iter().any(|key| key.activated_at.is_some());
        Ok(Verified { report, checkpoints, never_signed: whole && !was_active })
    }

    /// Signs the chain, so that its youngest entries are spoken of too, if nothing that was signed before contradicts it: a note that
    /// does is evidence, and a new one would take its place. Who cannot sign goes by what others did.
    async fn sign_what_is_right(
        &self,
        kept: &[String],
        found: Vec<JudgedCheckpoint>,
    ) -> Result<Vec<JudgedCheckpoint>, Refusal> {
        // Neither over one that is stored and cannot be read: what it was is not known.
        let stands = |judged: &JudgedCheckpoint| match judged.outcome() {
            Outcome::Broken => true,
            Outcome::UnreadableCheckpoint => judged.number.is_some(),
            _ => false,
        };
        if found.iter().any(stands) {
            return Ok(found);
        }
        let signed = match self.checkpoints.sign().await {
            Ok(signed) => signed,
            Err(Refusal::Conflict(_)) => return Ok(found),
            Err(refusal) => return Err(refusal),
        };
        // Another process may have signed since they were judged.
        if signed.fresh || signed_size(&found) < signed.checkpoint.size {
            self.judge(kept).await
        } else {
            Ok(found)
        }
    }

    /// What the stored checkpoints and those kept elsewhere are worth; the chain's hashes were verified before.
    async fn judge(&self, kept: &[String]) -> Result<Vec<JudgedCheckpoint>, Refusal> {
        let store = self.checkpoints.signer()?.store().clone();
        let snapshot = self.store.keys()?;
        let keys = AuditKeys::of(snapshot.record());
        let stored = store.notes().await?.into_iter().map(|(number, text)| (Some(number), text));
        let texts = stored.chain(kept.iter().map(|text| (None, text.clone())));
        let found: Vec<_> = texts.map(|(number, text)| (number, read_checkpoint(text.as_bytes()))).collect();
        let sizes = found.iter().filter_map(|(_, read)| Some(read.as_ref().ok()?.1.size));
        // Read after the notes: what was signed meanwhile speaks of no more than the head is now.
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
            let standing = keys.judge(&note);
            JudgedCheckpoint { number, size: Some(checkpoint.size), standing, contradicted, unreadable: None }
        });
        Ok(judged.collect())
    }
}

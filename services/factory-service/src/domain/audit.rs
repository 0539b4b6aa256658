//! Reading, exporting and verifying the audit chain.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use access::Scope;
use ambient::rfc3339;
use audit_chain::export::{ExportHeader, ExportPages};
use audit_chain::note::SignedNote;
use audit_chain::{Details, Head, Page};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_edge::ApiError;
use keyring::{AuditKeys, ExportedKey, Family, NoteStanding};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::checkpoints::Checkpoints;
use crate::domain::identity::Caller;
use crate::domain::refusal::Refusal;
use crate::domain::store::Store;
use crate::domain::verified::{Judged, Outcome, Verified, signed_size};

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
const UNREADABLE: &str = "it cannot be read as a signed checkpoint";

/// Whether an event is in the name of the caller's tenant. One that cannot be read is nobody's.
fn is_of(caller: &Caller, event: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        tenant: Cow<'a, str>,
    }
    serde_json::from_str::<Named<'_>>(event.get()).is_ok_and(|named| caller.owns(&named.tenant))
}

/// The chain, which all tenants share.
pub(crate) struct Audit {
    store: Store,
    checkpoints: Arc<Checkpoints>,
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
        Self { store, checkpoints, turns: Turns::new() }
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
    ) -> Result<Page, Refusal> {
        let log = self.store.log()?;
        let mut page = self.store.read(log.entries(after_seq, limit)).await?;
        if !caller.has(Scope::Admin) {
            for entry in page.events.iter_mut().filter(|entry| !is_of(caller, &entry.event)) {
                entry.event = RawValue::NULL.to_owned();
            }
        }
        Ok(page)
    }

    /// The whole chain as a file that can be verified anywhere, with the latest checkpoint of each key. One event says so
    /// before the first byte leaves, and is the last that is exported.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Refusal> {
        let event = caller.event("audit.exported", "audit/*".to_owned(), Details::new());
        self.store.note(event).await?;
        let signer = self.checkpoints.signer().map_err(Refusal::Store)?;
        let store = signer.store().clone();
        // Signed first, where there is a key, and exported as far as that: no entry of the file is one that nobody signed.
        let signed = match self.checkpoints.sign().await {
            Ok(signed) => Some(signed),
            Err(Refusal::Conflict(_)) => None,
            Err(refusal) => return Err(refusal),
        };
        let head = match &signed {
            Some(signed) => self.head_at(signed.checkpoint.size).await?,
            None => store.log().head().await?,
        };
        let mut notes = store.notes().await?;
        // Another process may have signed further since: its note speaks of more than is exported.
        notes.extend(signed.map(|signed| (signed.key.get(), signed.note)));
        let notes: Vec<String> = notes.into_values().collect();
        let keys = self.store.keys()?;
        let keys =
            keys.record().family(Family::Audit).iter().map(ExportedKey::from).map(serde_json::to_value);
        let keys = keys.collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| Refusal::Store(ApiError::internal(error)))?;
        let exported_at = rfc3339::format(self.store.now());
        let header = ExportHeader::new(self.checkpoints.origin(), head, exported_at, notes, keys);
        let first = stream::once(std::future::ready(Ok(Bytes::from(header.to_line()))));
        let pages = ExportPages::new(store.log().clone(), head);
        let rest = stream::try_unfold(pages, |mut pages| async move {
            let lines = pages.next(|_| true).await.map_err(io::Error::other)?;
            Ok(lines.map(|lines| (Bytes::from(lines), pages)))
        });
        Ok(first.chain(rest))
    }

    /// Where the chain stood when it had `size` entries.
    async fn head_at(&self, size: u64) -> Result<Head, Refusal> {
        let log = self.store.log()?;
        let Some(last) = size.checked_sub(1) else { return Ok(log.head().await?) };
        let page = log.entries(last.checked_sub(1), NonZeroUsize::MIN).await?;
        let entry = page.events.first().filter(|entry| entry.seq == last);
        let entry = entry.ok_or_else(|| Refusal::Store(ApiError::internal("a signed entry is not there")))?;
        Ok(Head { size, hash: entry.hash })
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
        let revoked = |judged: &&Judged| matches!(judged.standing, NoteStanding::SignedByRevokedKey { .. });
        self.checkpoints.count_revoked(checkpoints.iter().filter(revoked).count() as u64);
        let keys = self.store.keys()?;
        let was_active = keys.record().family(Family::Audit).iter().any(|key| key.activated_at.is_some());
        Ok(Verified { report, checkpoints, never_signed: whole && !was_active })
    }

    /// Signs the chain, so that its youngest entries are spoken of too, if nothing that was signed before contradicts it: a note that
    /// does is evidence, and a new one would take its place. Who cannot sign goes by what others did.
    async fn sign_what_is_right(&self, kept: &[String], found: Vec<Judged>) -> Result<Vec<Judged>, Refusal> {
        if found.iter().any(|judged| judged.outcome() == Outcome::Broken) {
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
    async fn judge(&self, kept: &[String]) -> Result<Vec<Judged>, Refusal> {
        let store = self.checkpoints.signer().map_err(Refusal::Store)?.store().clone();
        let snapshot = self.store.keys()?;
        let keys = AuditKeys::of(snapshot.record());
        let stored = store.notes().await?.into_iter().map(|(number, text)| (Some(number), text));
        let texts = stored.chain(kept.iter().map(|text| (None, text.clone())));
        let found: Vec<_> =
            texts.map(|(number, text)| (number, SignedNote::parse(text.as_bytes()).ok())).collect();
        let size_of = |note: &SignedNote| note.checkpoint().ok().map(|checkpoint| checkpoint.size);
        let sizes = found.iter().filter_map(|(_, note)| size_of(note.as_ref()?));
        // Read after the notes: what was signed meanwhile speaks of no more than the head is now.
        let head = store.log().head().await?;
        let roots = store.roots_at(sizes.filter(|size| *size <= head.size)).await?;
        let origin = self.checkpoints.origin();
        let judged = found.into_iter().map(|(number, note)| {
            let read = note.and_then(|note| Some((note.checkpoint().ok()?, note)));
            let Some((checkpoint, note)) = read else {
                let (standing, contradicted) = (NoteStanding::UnknownKey, Some(UNREADABLE));
                return Judged { number, size: None, standing, contradicted };
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
            Judged { number, size: Some(checkpoint.size), standing: keys.judge(&note), contradicted }
        });
        Ok(judged.collect())
    }
}

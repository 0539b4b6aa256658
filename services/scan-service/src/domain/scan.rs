//! One scan: open the id, ask the limiter, count, and judge.
//!
//! A forged id is refused before anything is asked of Redis. An authentic id that was never minted can only come from
//! somebody who holds the tag secret, so it is counted and logged as an alarm. One that was minted and whose records are lost is
//! neither: it is 503 `state-lost`.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, from_unix_millis};
use catalog::{Catalog, CatalogRecordError, Withdrawal};
use rate_limiter::Decision;
use redis_pool::{PoolError, RedisPool};
use storage::{
    AuditWriter, DeploymentState, DurableStorage, GateError, LiveKeyring, StorageError, TrustedKey,
    UntrustedKey,
};
use tag_id::{Opened, TagId, TagKeys};

use crate::domain::admission::{Admission, Credential, KeyRefusal, NotAdmitted};
use crate::domain::cached_batch::{BatchCache, CachedBatch, fresher};
use crate::domain::issuers::{IssuerAnswer, Issuers};
use crate::domain::limits::{Limits, Quotas, Subject};
use crate::domain::minted::{MintedBatches, MintedError};
use crate::domain::risk::{Agent, Frequency, assess};
use crate::domain::scan_protocol::coalescer::Coalescer;
use crate::domain::scan_protocol::codes::{CountedBy, ScanStatus};
use crate::domain::scan_protocol::input::{LimitedScanInput, PresentedKey, ScanInput};
use crate::domain::scan_protocol::reply::{CountedScan, ScanOutcome, malformed};
use crate::domain::scan_protocol::scripts::count_scan;
use crate::domain::verdict::Verdict;

const MS_PER_DAY: u64 = 86_400_000;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// What the limiter counts the caller by, unless it shows a partner key.
    pub(crate) address: &'a str,
    pub(crate) credential: &'a Credential,
    pub(crate) user_agent: Option<&'a [u8]>,
    /// Whether it is a machine that only looks ahead: a prefetch, a link preview, a search engine. Its look is no scan.
    pub(crate) machine: bool,
}

impl Caller<'_> {
    /// What the caller is recognised by when it comes again. A key that turns out wrong recognises nobody: nothing is counted then.
    fn name(&self) -> String {
        match self.credential {
            Credential::Key(key) => format!("key:{}", key.id()),
            Credential::None | Credential::Unusable => format!("ip:{}", self.address),
        }
    }
}

/// Why a scan has no verdict.
#[derive(Debug)]
pub(crate) enum Refusal {
    Forged,
    NotMinted,
    Denied {
        retry_after: Duration,
    },
    Key(KeyRefusal),
    /// The durable Redis has not been seen, its state is lost, or it could not be asked.
    Store(StorageError),
    StateLost,
    /// The tag was minted, and what is stored of it, its batch or its product, or of the partner's tenant, is gone or cannot be read.
    RecordLost,
    Redis(PoolError),
}

impl From<PoolError> for Refusal {
    fn from(error: PoolError) -> Self {
        Self::Redis(error)
    }
}

impl From<UntrustedKey> for Refusal {
    fn from(why: UntrustedKey) -> Self {
        match why {
            UntrustedKey::NeverInUse => Self::NotMinted,
            UntrustedKey::Destroyed => Self::Forged,
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        Self::Store(error.into())
    }
}

impl From<MintedError> for Refusal {
    fn from(error: MintedError) -> Self {
        match error {
            MintedError::RecordLost => Self::RecordLost,
            MintedError::Store(error) => Self::Store(error),
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Denied { retry_after } => Self::Denied { retry_after },
            NotAdmitted::NotOpen(error) => error.into(),
            NotAdmitted::StateLost => Self::StateLost,
            NotAdmitted::RecordLost => Self::RecordLost,
            NotAdmitted::Redis(error) => Self::Redis(error),
        }
    }
}

/// A verdict or a refusal, and what the limiter said on the way.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) outcome: Result<Verdict, Refusal>,
    pub(crate) quotas: Quotas,
}

/// Scans tags.
pub(crate) struct Scanner {
    tag_keys: Arc<TagKeys>,
    pool: RedisPool,
    catalog: Catalog,
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    audit: Arc<AuditWriter>,
    minted: MintedBatches,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    facts: BatchCache,
    issuers: Issuers,
    /// Where limit and scan can be one call.
    coalescer: Option<Coalescer>,
}

impl Scanner {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(
        tag_keys: Arc<TagKeys>,
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
    ) -> Self {
        Self {
            tag_keys,
            pool: storage.pool.clone(),
            catalog: storage.catalog.clone(),
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            minted: MintedBatches::new(storage),
            facts: BatchCache::new(Arc::clone(&storage.deployment)),
            issuers: Issuers::new(storage.pool.clone(), Arc::clone(&clock)),
            coalescer: limits.one_round_trip().then(|| Coalescer::start(storage, &limits)),
            clock,
            limits,
            admission,
        }
    }

    /// Scans one tag.
    pub(crate) async fn scan(&self, tag: TagId, caller: Caller<'_>) -> Scanned {
        let mut quotas = Quotas::default();
        let outcome = self.scan_into(tag, caller, &mut quotas).await;
        if matches!(outcome, Err(Refusal::StateLost)) {
            self.deployment
                .report_lost("a scan found the deployment record gone or another, or the audit head lower");
        }
        Scanned { outcome, quotas }
    }

    /// When and why one tag was revoked, where that can be read.
    pub(crate) async fn revocation_of(&self, tag: &TagId) -> Option<Withdrawal> {
        let opened = self.tag_keys.open(tag)?;
        let (_, revocation) = self.catalog.tag(opened.serial()).await.ok()?;
        revocation.map(|revocation| revocation.withdrawal)
    }

    async fn scan_into(
        &self,
        tag: TagId,
        caller: Caller<'_>,
        quotas: &mut Quotas,
    ) -> Result<Verdict, Refusal> {
        let Some(authentic) = self.tag_keys.authenticate(&tag) else {
            self.deployment.can_tell_forged()?;
            return Err(Refusal::Forged);
        };
        let deployment = self.deployment.deployment()?;
        self.limits.see(deployment);
        let key = self.keyring.trust_of(authentic.epoch()).await?.trusted()?;
        self.admission.still_denied(caller.address, caller.credential, quotas)?;
        // Only now, because it costs four times as much as to see that the id is authentic.
        let opened = authentic.open();
        let input = self.input_of(opened, caller);
        let cached = input.cached.clone();
        let (mut counted, partner) = match &self.coalescer {
            Some(coalescer) => self.limited_scan(coalescer, input, caller, quotas).await?,
            None => {
                let permit = self.pool.permit().await?;
                let key = self.admission.admit(&permit, caller.address, caller.credential, quotas).await?;
                if let Err(refusal) = key {
                    drop(permit);
                    return Err(self.refused_key(&opened, refusal).await);
                }
                let partner = matches!(caller.credential, Credential::Key(_));
                let outcome =
                    count_scan(&self.pool, &self.audit, &permit, &input, deployment.prefix()).await?;
                (counts_of(outcome)?, partner)
            }
        };
        let facts = self.facts_of(cached, take(&mut counted.batch), take(&mut counted.product))?;
        debug_assert!(facts.batch.value.holds(opened.epoch, opened.index));
        // Whoever shows a partner's key is known; which program it scans with tells nothing.
        let agent = if partner { Agent::Known } else { Agent::Unknown(caller.user_agent) };
        let issuer = self.issuers.of(&facts).await?;
        Ok(judged(tag, key, agent, facts, issuer, &counted))
    }

    fn input_of(&self, opened: Opened, caller: Caller<'_>) -> ScanInput {
        let name = caller.name();
        let today = self.clock.unix_millis() / MS_PER_DAY;
        // The id was opened with this epoch's secret, so the keyring holds it.
        let mark = |day| self.tag_keys.caller_mark(&opened, day, &name).unwrap_or_default();
        let marks = [mark(today), mark(today.saturating_sub(1))];
        ScanInput { opened, counts: !caller.machine, marks, cached: self.facts.get(opened.batch) }
    }

    /// Whoever shows a wrong key is told so, unless the id gives away that a tag secret is in wrong hands.
    async fn refused_key(&self, opened: &Opened, refusal: KeyRefusal) -> Refusal {
        match self.minted.batch_of(opened).await {
            Ok(Some(_)) => Refusal::Key(refusal),
            Ok(None) => Refusal::NotMinted,
            Err(error) => error.into(),
        }
    }

    /// Limits and counts a scan in one call. Returns its counts, and whether a partner key was verified.
    async fn limited_scan(
        &self,
        coalescer: &Coalescer,
        scan: ScanInput,
        caller: Caller<'_>,
        quotas: &mut Quotas,
    ) -> Result<(CountedScan, bool), Refusal> {
        let (address, key) = (caller.address.to_owned(), PresentedKey::from(caller.credential));
        let sent = self.limits.now();
        let Some(reply) = coalescer.ask(LimitedScanInput { scan, address, key }).await? else {
            return Err(Refusal::StateLost);
        };
        let subject = self.subject_of(reply.counted_by, caller)?;
        let decision = self.limits.regional().read(&reply.decision, &self.limits.dimensions(subject))?;
        *quotas = Quotas::of(decision.report());
        let by_key = reply.counted_by == CountedBy::Key;
        let proof = if by_key { caller.credential.proof() } else { &[] };
        self.limits.remember(subject, proof, &decision, sent);
        match (reply.outcome, decision) {
            (ScanOutcome::Rejected(ScanStatus::Denied), Decision::Denied { retry_after, .. }) => {
                Err(Refusal::Denied { retry_after })
            }
            (outcome, Decision::Allowed { .. }) => Ok((counts_of(outcome)?, by_key)),
            (_, Decision::Denied { .. }) => {
                Err(malformed("status and decision contradict each other").into())
            }
        }
    }

    /// Returns the subject whose quota the script spent. If it is a key, the script has verified that key, so its use
    /// is noted.
    fn subject_of<'a>(&self, counted_by: CountedBy, caller: Caller<'a>) -> Result<Subject<'a>, Refusal> {
        match (counted_by, caller.credential) {
            (CountedBy::Address, _) => Ok(Subject::Address(caller.address)),
            (CountedBy::Key, Credential::Key(key)) => {
                self.admission.note_use(key.id());
                Ok(Subject::Key(key.id()))
            }
            (CountedBy::Key, _) => Err(malformed("it was counted by a key that was not presented").into()),
        }
    }

    /// Returns batch and product in the newest revision: the cached one, or the one that the script sent. The script
    /// sends readable records only, so a record that cannot be decoded here is lost.
    fn facts_of(
        &self,
        cached: Option<Arc<CachedBatch>>,
        batch: Vec<u8>,
        product: Vec<u8>,
    ) -> Result<Arc<CachedBatch>, Refusal> {
        let cached = match cached {
            Some(cached) if batch.is_empty() && product.is_empty() => return Ok(cached),
            cached => cached,
        };
        let lost = |_: CatalogRecordError| Refusal::RecordLost;
        let batch = fresher(cached.as_ref().map(|cached| &cached.batch), batch).map_err(lost)?;
        let product = fresher(cached.as_ref().map(|cached| &cached.product), product).map_err(lost)?;
        let (batch, product) = batch.zip(product).ok_or_else(|| malformed("a record is missing"))?;
        let facts = Arc::new(CachedBatch::new(batch, product));
        self.facts.put(&facts);
        Ok(facts)
    }
}

/// Returns the counts of an answered scan, or why it has none.
fn counts_of(outcome: ScanOutcome) -> Result<CountedScan, Refusal> {
    match outcome {
        ScanOutcome::Answered(counted) => Ok(counted),
        ScanOutcome::Rejected(status) => Err(match status {
            ScanStatus::StateLost => Refusal::StateLost,
            ScanStatus::NotMinted => Refusal::NotMinted,
            ScanStatus::KeyInvalid => Refusal::Key(KeyRefusal::Invalid),
            ScanStatus::KeyForbidden => Refusal::Key(KeyRefusal::Forbidden),
            ScanStatus::RecordLost => Refusal::RecordLost,
            ScanStatus::Denied | ScanStatus::Answered => malformed("the status contradicts the call").into(),
        }),
    }
}

/// What a scan comes to.
fn judged(
    tag: TagId,
    key: TrustedKey,
    agent: Agent<'_>,
    facts: Arc<CachedBatch>,
    issuer: IssuerAnswer,
    counted: &CountedScan,
) -> Verdict {
    let batch = &facts.batch.value;
    let now = from_unix_millis(counted.now_ms);
    let frequency = Frequency { in_30_s: counted.in_30_s, in_60_s: counted.in_60_s, in_all: counted.count };
    Verdict {
        tag,
        lifecycle: batch.lifecycle_under(key.disowns(batch), counted.revoked, now),
        first_scan_at: counted.first_at_ms.map(from_unix_millis),
        scan_count: counted.count,
        counted: counted.counted,
        seen_by_others: counted.seen_by_others,
        risk: assess(frequency, agent, key.supersedes(batch)),
        verification_id: ambient::uuid_v7(counted.now_ms),
        facts,
        issuer,
    }
}

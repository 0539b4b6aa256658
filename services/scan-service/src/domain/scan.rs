//! One scan: authenticates the id, asks the limiter, counts the scan, and judges the tag.
//!
//! A forged id is rejected before any call to Redis. An authentic id that was never minted can only come from
//! someone who holds the tag secret, so it raises an alarm. An id that was minted but whose records are lost
//! is 503 `state-lost`.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, from_unix_millis};
use catalog::{Catalog, CatalogRecordError, Withdrawal};
use prometheus_client::metrics::histogram::Histogram;
use rate_limiter::Decision;
use redis_pool::{PoolError, RedisPool};
use storage::{
    AuditWriter, DeploymentState, DurableStorage, GateError, LiveKeyring, StorageError, TrustedKey,
    UntrustedKey,
};
use tag_id::{Opened, TagId, TagKeys};

use crate::domain::admission::{Admission, Credential, KeyRejection, NotAdmitted};
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

/// The client of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The subject of the limiter, unless the caller presents a verified partner key.
    pub(crate) address: &'a str,
    pub(crate) credential: &'a Credential,
    pub(crate) user_agent: Option<&'a [u8]>,
    /// Whether the request is a prefetch, a link preview or that of a search engine. It does not count as a
    /// scan.
    pub(crate) machine: bool,
}

impl Caller<'_> {
    /// Returns the name by which the caller is recognised in a later scan. If the key turns out to be wrong,
    /// the name is not used, because nothing is counted.
    fn name(&self) -> String {
        match self.credential {
            Credential::Key(key) => format!("key:{}", key.id()),
            Credential::None | Credential::Unusable => format!("ip:{}", self.address),
        }
    }
}

/// Why a scan has no verdict.
#[derive(Debug)]
pub(crate) enum Rejection {
    Forged,
    NotMinted,
    Denied {
        retry_after: Duration,
    },
    Key(KeyRejection),
    /// The process has not seen the durable Redis yet, its state is lost, or it is unavailable.
    Store(StorageError),
    StateLost,
    /// The tag was minted, but the record of the tag, its batch, its product or the partner's tenant is lost
    /// or cannot be read.
    RecordLost,
    Redis(PoolError),
}

impl From<PoolError> for Rejection {
    fn from(error: PoolError) -> Self {
        Self::Redis(error)
    }
}

impl From<UntrustedKey> for Rejection {
    fn from(why: UntrustedKey) -> Self {
        match why {
            UntrustedKey::NeverInUse => Self::NotMinted,
            UntrustedKey::Destroyed => Self::Forged,
        }
    }
}

impl From<StorageError> for Rejection {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}

impl From<GateError> for Rejection {
    fn from(error: GateError) -> Self {
        Self::Store(error.into())
    }
}

impl From<MintedError> for Rejection {
    fn from(error: MintedError) -> Self {
        match error {
            MintedError::RecordLost => Self::RecordLost,
            MintedError::Store(error) => Self::Store(error),
        }
    }
}

impl From<NotAdmitted> for Rejection {
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

/// A verdict or a rejection, and the quotas after the request.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) outcome: Result<Verdict, Rejection>,
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
    batches: BatchCache,
    issuers: Issuers,
    /// Present if limit and scan can be one call.
    coalescer: Option<Coalescer>,
    call_sizes: Histogram,
}

impl Scanner {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(
        tag_keys: Arc<TagKeys>,
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
        call_sizes: Histogram,
    ) -> Self {
        Self {
            tag_keys,
            pool: storage.pool.clone(),
            catalog: storage.catalog.clone(),
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            minted: MintedBatches::new(storage),
            batches: BatchCache::new(Arc::clone(&storage.deployment)),
            issuers: Issuers::new(storage.pool.clone(), Arc::clone(&clock)),
            coalescer: limits.one_round_trip().then(|| Coalescer::start(storage, &limits, &call_sizes)),
            call_sizes,
            clock,
            limits,
            admission,
        }
    }

    /// Scans one tag.
    pub(crate) async fn scan(&self, tag: TagId, caller: Caller<'_>) -> Scanned {
        let mut quotas = Quotas::default();
        let outcome = self.scan_into(tag, caller, &mut quotas).await;
        if matches!(outcome, Err(Rejection::StateLost)) {
            self.deployment.report_lost(
                "a scan found no deployment record, another deployment's, or a shorter audit chain",
            );
        }
        Scanned { outcome, quotas }
    }

    /// Returns when and why a single tag was revoked, if that can be read.
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
    ) -> Result<Verdict, Rejection> {
        let Some(authentic) = self.tag_keys.authenticate(&tag) else {
            self.deployment.can_tell_forged()?;
            return Err(Rejection::Forged);
        };
        let deployment = self.deployment.deployment()?;
        self.limits.note_deployment(deployment);
        let key = self.keyring.trust_of(authentic.epoch()).await?.trusted()?;
        self.admission.still_denied(caller.address, caller.credential, quotas)?;
        // Opening an id costs four times as much as authenticating it, so it comes last.
        let opened = authentic.open();
        let input = self.input_of(opened, caller);
        let cached = input.cached.clone();
        let (mut counted, partner) = match &self.coalescer {
            Some(coalescer) => self.limited_scan(coalescer, input, caller, quotas).await?,
            None => {
                let permit = self.pool.permit().await?;
                let check = self.admission.admit(&permit, caller.address, caller.credential, quotas).await?;
                if let Some(rejection) = check.rejection() {
                    drop(permit);
                    return Err(self.key_rejection(&opened, rejection).await);
                }
                self.call_sizes.observe(1.0);
                let outcome =
                    count_scan(&self.pool, &self.audit, &permit, &input, deployment.prefix()).await?;
                (counts_of(outcome)?, check.is_verified())
            }
        };
        let cached = self.newest_records(cached, take(&mut counted.batch), take(&mut counted.product))?;
        debug_assert!(cached.batch.value.holds(opened.epoch, opened.index));
        // The program of a verified partner is no sign of risk.
        let agent = if partner { Agent::Known } else { Agent::Unknown(caller.user_agent) };
        let issuer = self.issuers.of(&cached).await?;
        Ok(judged(tag, key, agent, cached, issuer, &counted))
    }

    fn input_of(&self, opened: Opened, caller: Caller<'_>) -> ScanInput {
        let name = caller.name();
        let today = self.clock.unix_millis() / MS_PER_DAY;
        // The id was opened with this epoch's secret, so the keyring holds it.
        let mark = |day| self.tag_keys.caller_mark(&opened, day, &name).unwrap_or_default();
        let marks = [mark(today), mark(today.saturating_sub(1))];
        ScanInput { opened, counts: !caller.machine, marks, cached: self.batches.get(opened.batch) }
    }

    /// Returns the rejection of a wrong key, or [`Rejection::NotMinted`] if the id shows that a tag secret
    /// has leaked.
    async fn key_rejection(&self, opened: &Opened, rejection: KeyRejection) -> Rejection {
        match self.minted.batch_of(opened).await {
            Ok(Some(_)) => Rejection::Key(rejection),
            Ok(None) => Rejection::NotMinted,
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
    ) -> Result<(CountedScan, bool), Rejection> {
        let (address, key) = (caller.address.to_owned(), PresentedKey::from(caller.credential));
        let sent = self.limits.now();
        let Some(reply) = coalescer.ask(LimitedScanInput { scan, address, key }).await? else {
            return Err(Rejection::StateLost);
        };
        let subject = self.subject_of(reply.counted_by, caller)?;
        let decision = self.limits.regional().read(&reply.decision, &self.limits.dimensions(subject))?;
        *quotas = Quotas::of(decision.report());
        let by_key = reply.counted_by == CountedBy::Key;
        let proof = if by_key { caller.credential.proof() } else { &[] };
        self.limits.remember(subject, proof, &decision, sent);
        match (reply.outcome, decision) {
            (ScanOutcome::Rejected(ScanStatus::Denied), Decision::Denied { retry_after, .. }) => {
                Err(Rejection::Denied { retry_after })
            }
            (outcome, Decision::Allowed { .. }) => Ok((counts_of(outcome)?, by_key)),
            (_, Decision::Denied { .. }) => {
                Err(malformed("status and decision contradict each other").into())
            }
        }
    }

    /// Returns the subject whose quota the script spent. If it is a key, the script has verified that key, so
    /// its use is noted.
    fn subject_of<'a>(&self, counted_by: CountedBy, caller: Caller<'a>) -> Result<Subject<'a>, Rejection> {
        match (counted_by, caller.credential) {
            (CountedBy::Address, _) => Ok(Subject::Address(caller.address)),
            (CountedBy::Key, Credential::Key(key)) => {
                self.admission.note_use(key.id());
                Ok(Subject::Key(key.id()))
            }
            (CountedBy::Key, _) => Err(malformed("it charged a key that was not presented").into()),
        }
    }

    /// Returns batch and product in the newest revision: the cached one, or the one that the script sent. The
    /// script sends readable records only, so a record that cannot be decoded here is lost.
    fn newest_records(
        &self,
        cached: Option<Arc<CachedBatch>>,
        batch: Vec<u8>,
        product: Vec<u8>,
    ) -> Result<Arc<CachedBatch>, Rejection> {
        let cached = match cached {
            Some(cached) if batch.is_empty() && product.is_empty() => return Ok(cached),
            cached => cached,
        };
        let lost = |_: CatalogRecordError| Rejection::RecordLost;
        let batch = fresher(cached.as_ref().map(|cached| &cached.batch), batch).map_err(lost)?;
        let product = fresher(cached.as_ref().map(|cached| &cached.product), product).map_err(lost)?;
        let (batch, product) = batch.zip(product).ok_or_else(|| malformed("a record is missing"))?;
        let newest = Arc::new(CachedBatch::new(batch, product));
        self.batches.put(&newest);
        Ok(newest)
    }
}

/// Returns the counts of an answered scan, or why it has none.
fn counts_of(outcome: ScanOutcome) -> Result<CountedScan, Rejection> {
    match outcome {
        ScanOutcome::Answered(counted) => Ok(counted),
        ScanOutcome::Rejected(status) => Err(match status {
            ScanStatus::StateLost => Rejection::StateLost,
            ScanStatus::NotMinted => Rejection::NotMinted,
            ScanStatus::KeyInvalid => Rejection::Key(KeyRejection::Invalid),
            ScanStatus::KeyForbidden => Rejection::Key(KeyRejection::Forbidden),
            ScanStatus::RecordLost => Rejection::RecordLost,
            ScanStatus::Denied | ScanStatus::Answered => malformed("the status contradicts the call").into(),
        }),
    }
}

/// Returns the verdict of a counted scan.
fn judged(
    tag: TagId,
    key: TrustedKey,
    agent: Agent<'_>,
    cached: Arc<CachedBatch>,
    issuer: IssuerAnswer,
    counted: &CountedScan,
) -> Verdict {
    let batch = &cached.batch.value;
    let now = from_unix_millis(counted.now_ms);
    let frequency = Frequency { in_30_s: counted.in_30_s, in_60_s: counted.in_60_s, in_all: counted.count };
    Verdict {
        tag,
        lifecycle: batch.lifecycle_under(key.invalidates(batch), counted.revoked, now),
        first_scan_at: counted.first_at_ms.map(from_unix_millis),
        scan_count: counted.count,
        counted: counted.counted,
        seen_by_others: counted.seen_by_others,
        risk: assess(frequency, agent, key.supersedes(batch)),
        verification_id: ambient::uuid_v7(counted.now_ms),
        cached,
        issuer,
    }
}

//! One scan: open the id, ask the limiter, count, and judge.
//!
//! A forged id is refused before anything is asked of Redis. An authentic id that was never minted can only come from
//! somebody who holds the tag secret, so it is counted and logged as an alarm. One that was minted and whose records are lost is
//! neither: it is 503 `state-lost`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use audit_chain::HEAD_LUA;
use catalog::{CatalogRecordError, Withdrawal, keys};
use problems::ApiError;
use rate_limiter::Decision;
use redis_pool::{Error, PoolPermit, Script};
use service_kit::durable::{Durable, from_unix_millis};
use service_kit::{KeyStanding, UntrustedKey};
use tag_id::{Keyring, Opened, TagId};

use crate::domain::admission::{Admission, Credential, KeyRefusal, NotAdmitted};
use crate::domain::cached_batch::{BatchCache, CachedBatch, fresher};
use crate::domain::issuers::{IssuerAnswer, Issuers};
use crate::domain::limits::{Limits, Quotas, Subject};
use crate::domain::minted::minted_in;
use crate::domain::risk::{Agent, Frequency, assess};
use crate::domain::scan_protocol::TAG_SCAN_LUA;
use crate::domain::scan_protocol::coalescer::{Coalescer, Request, Shown, least_size, observe};
use crate::domain::scan_protocol::look::Look;
use crate::domain::scan_protocol::reply::{
    ANSWERED, BY_ADDRESS, BY_KEY, Counted, DENIED, KEY_FORBIDDEN, KEY_INVALID, NOT_MINTED, Reply, STATE_LOST,
    UNREADABLE, misshapen,
};
use crate::domain::verdict::Verdict;

static SCAN: LazyLock<Script> = LazyLock::new(|| {
    Script::new("scan", [TAG_SCAN_LUA, HEAD_LUA, include_str!("scan_protocol/lua/scan.lua")].concat())
});

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
    Store(ApiError),
    StateLost,
    /// The tag was minted, and what is stored of it, its batch or its product, or of the partner's tenant, is gone or cannot be read.
    RecordLost,
    Redis(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
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

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Denied { retry_after } => Self::Denied { retry_after },
            NotAdmitted::NotOpen(error) => Self::Store(error),
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
    keyring: Arc<Keyring>,
    durable: Arc<Durable>,
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
        keyring: Arc<Keyring>,
        durable: Arc<Durable>,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
    ) -> Self {
        let coalescer =
            limits.one_round_trip().then(|| Coalescer::start(Arc::clone(&durable), Arc::clone(&limits)));
        let issuers = Issuers::new(Arc::clone(&durable));
        let facts = BatchCache::new(Arc::clone(&durable));
        Self { keyring, durable, limits, admission, facts, issuers, coalescer }
    }

    /// Scans one tag.
    pub(crate) async fn scan(&self, tag: TagId, caller: Caller<'_>) -> Scanned {
        let mut quotas = Quotas::default();
        let outcome = self.scan_into(tag, caller, &mut quotas).await;
        if matches!(outcome, Err(Refusal::StateLost)) {
            self.durable
                .report_lost("a scan found the deployment record gone or another, or the audit head lower");
        }
        Scanned { outcome, quotas }
    }

    /// When and why one tag was revoked, where that can be read.
    pub(crate) async fn revocation_of(&self, tag: &TagId) -> Option<Withdrawal> {
        let opened = self.keyring.open(tag)?;
        let (_, revocation) = self.durable.catalog().tag(opened.serial()).await.ok()?;
        revocation.map(|revocation| revocation.withdrawal)
    }

    async fn scan_into(
        &self,
        tag: TagId,
        caller: Caller<'_>,
        quotas: &mut Quotas,
    ) -> Result<Verdict, Refusal> {
        let Some(opened) = self.keyring.open(&tag) else {
            self.durable.can_tell_forged().map_err(Refusal::Store)?;
            return Err(Refusal::Forged);
        };
        let deployment = self.durable.deployment().map_err(Refusal::Store)?;
        self.limits.see(deployment);
        let key = KeyStanding::of(&self.durable, opened.epoch).await.map_err(Refusal::Store)?;
        let key = key?;
        self.admission.still_denied(caller.address, caller.credential, quotas)?;
        let look = self.look_of(opened, caller);
        let kept = look.kept.clone();
        let (counted, partner) = match &self.coalescer {
            Some(coalescer) => self.limited_scan(coalescer, look, caller, quotas).await?,
            None => {
                let permit = self.durable.pool().permit().await?;
                let key = self.admission.admit(&permit, caller.address, caller.credential, quotas).await?;
                if let Err(refusal) = key {
                    drop(permit);
                    return Err(self.refused_key(&opened, refusal).await);
                }
                let partner = matches!(caller.credential, Credential::Key(_));
                (self.bare_scan(&permit, &look, deployment.prefix()).await?, partner)
            }
        };
        let facts = self.facts_of(kept, &counted)?;
        debug_assert!(facts.batch.value.holds(opened.epoch, opened.index));
        // Whoever shows a partner's key is known; which program it scans with tells nothing.
        let agent = if partner { Agent::Known } else { Agent::Unknown(caller.user_agent) };
        let issuer = self.issuers.of(&facts).await?;
        Ok(judged(tag, key, agent, facts, issuer, &counted))
    }

    fn look_of(&self, opened: Opened, caller: Caller<'_>) -> Look {
        let name = caller.name();
        let today = self.durable.clock().unix_millis() / MS_PER_DAY;
        // The id was opened with this very secret, so there is one.
        let mark = |day| self.keyring.caller_mark(&opened, day, &name).unwrap_or_default();
        let marks = [mark(today), mark(today.saturating_sub(1))];
        Look { opened, counts: !caller.machine, marks, kept: self.facts.get(opened.batch) }
    }

    /// Whoever shows a wrong key is told so, unless the id gives away that a tag secret is in wrong hands.
    async fn refused_key(&self, opened: &Opened, refusal: KeyRefusal) -> Refusal {
        match minted_in(&self.durable, opened).await {
            Ok(Some(_)) => Refusal::Key(refusal),
            Ok(None) => Refusal::NotMinted,
            Err(error) => Refusal::Store(error),
        }
    }

    async fn limited_scan(
        &self,
        coalescer: &Coalescer,
        look: Look,
        caller: Caller<'_>,
        quotas: &mut Quotas,
    ) -> Result<(Counted, bool), Refusal> {
        let shown = Shown::of(caller.credential);
        let request = Request { look, address: caller.address.to_owned(), shown };
        let sent = self.limits.now();
        let Some(reply) = coalescer.ask(request).await? else {
            return Err(Refusal::StateLost);
        };
        let reply = Reply::split(reply)?;
        let (by, rest) = reply.facts().split_first().ok_or_else(|| misshapen("it is too short"))?;
        let subject = self.counted_by(*by, caller)?;
        let dimensions = self.limits.dimensions(subject);
        let limiter_bytes = Decision::reply_len(dimensions.len()) * size_of::<i64>();
        let (ints, scan) = rest
            .split_at_checked(limiter_bytes)
            .ok_or_else(|| misshapen("the limiter's part is too short"))?;
        let ints: Vec<i64> = ints.as_chunks::<8>().0.iter().map(|int| i64::from_be_bytes(*int)).collect();
        let decision = self.limits.regional().read(&ints, &dimensions)?;
        *quotas = Quotas::of(decision.report());
        let proof = if *by == BY_KEY { caller.credential.proof() } else { &[] };
        self.limits.remember(subject, proof, &decision, sent);
        match (reply.status(), decision) {
            (Some(ANSWERED), Decision::Allowed { .. }) => {
                Ok((Counted::read(scan, &reply)?, matches!(subject, Subject::Key(_))))
            }
            (Some(NOT_MINTED), Decision::Allowed { .. }) => Err(Refusal::NotMinted),
            (Some(KEY_INVALID), Decision::Allowed { .. }) => Err(Refusal::Key(KeyRefusal::Invalid)),
            (Some(KEY_FORBIDDEN), Decision::Allowed { .. }) => Err(Refusal::Key(KeyRefusal::Forbidden)),
            (Some(UNREADABLE), Decision::Allowed { .. }) => Err(Refusal::RecordLost),
            (Some(DENIED), Decision::Denied { retry_after, .. }) => Err(Refusal::Denied { retry_after }),
            _ => Err(misshapen("status and decision contradict each other").into()),
        }
    }

    /// By what the script counted the scan; a key that it was counted by is verified, and so was used.
    fn counted_by<'a>(&self, by: u8, caller: Caller<'a>) -> Result<Subject<'a>, Refusal> {
        match (by, caller.credential) {
            (BY_ADDRESS, _) => Ok(Subject::Address(caller.address)),
            (BY_KEY, Credential::Key(key)) => {
                self.admission.note_use(key.id());
                Ok(Subject::Key(key.id()))
            }
            _ => Err(misshapen("it was counted by a key that was not shown").into()),
        }
    }

    async fn bare_scan(
        &self,
        permit: &PoolPermit,
        look: &Look,
        deployment: &str,
    ) -> Result<Counted, Refusal> {
        let mut call = SCAN.invoke();
        call.push_key(keys::DEPLOYMENT);
        call.push_key(audit_chain::keys::HEAD);
        call.push_key(keys::MINTED);
        look.push_keys(&mut call);
        call.push_arg(deployment);
        call.push_arg(least_size(&self.durable));
        look.push_args(&mut call);
        let pool = self.durable.pool();
        let reply = call.run_with_permit(pool, permit, pool.command_timeout()).await;
        let mut reply = Reply::split(reply?)?;
        observe(&self.durable, reply.head.take());
        match reply.status() {
            Some(ANSWERED) => Ok(Counted::read(reply.facts(), &reply)?),
            Some(STATE_LOST) => Err(Refusal::StateLost),
            Some(NOT_MINTED) => Err(Refusal::NotMinted),
            Some(UNREADABLE) => Err(Refusal::RecordLost),
            _ => Err(misshapen("an unknown status").into()),
        }
    }

    /// What was kept, or where Redis sent something newer, that. The script sends what it could read, so what cannot be read here is lost.
    fn facts_of(
        &self,
        kept: Option<Arc<CachedBatch>>,
        counted: &Counted,
    ) -> Result<Arc<CachedBatch>, Refusal> {
        let kept = match kept {
            Some(kept) if counted.batch.is_empty() && counted.product.is_empty() => return Ok(kept),
            kept => kept,
        };
        let lost = |_: CatalogRecordError| Refusal::RecordLost;
        let batch = fresher(kept.as_ref().map(|facts| &facts.batch), counted.batch.clone()).map_err(lost)?;
        let product =
            fresher(kept.as_ref().map(|facts| &facts.product), counted.product.clone()).map_err(lost)?;
        let (batch, product) = batch.zip(product).ok_or_else(|| misshapen("a record is missing"))?;
        let facts = Arc::new(CachedBatch::new(batch, product));
        self.facts.put(&facts);
        Ok(facts)
    }
}

/// What a scan comes to.
fn judged(
    tag: TagId,
    key: KeyStanding,
    agent: Agent<'_>,
    facts: Arc<CachedBatch>,
    issuer: IssuerAnswer,
    counted: &Counted,
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

//! One scan: open the id, ask the limiter, count, and judge.
//!
//! A forged id is refused before anything is asked of Redis. An authentic id that was never minted can only come from
//! somebody who holds the tag secret, so it is counted and logged as an alarm.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use audit_chain::HEAD_LUA;
use catalog::{RecordError, SCAN_LUA, keys};
use http_edge::ApiError;
use rate_limiter::Decision;
use redis_pool::{Error, Script, Slot};
use service_kit::durable::{Durable, from_unix_millis};
use service_kit::{KeyStanding, Unbelieved, errors};
use tag_id::{Keyring, Opened, TagId};

use crate::domain::admission::{Admission, Credential, KeyRefusal, NotAdmitted};
use crate::domain::facts::{Facts, FactsCache, fresher};
use crate::domain::group::{Grouped, Request, Shown, glimpse, least_size, push_scan_args, push_scan_keys};
use crate::domain::issuers::{IssuerAnswer, Issuers};
use crate::domain::limits::{Limits, Quotas, Subject};
use crate::domain::minted::minted_in;
use crate::domain::risk::{Frequency, assess};
use crate::domain::verdict::Verdict;

static SCAN: LazyLock<Script> =
    LazyLock::new(|| Script::new("scan", [SCAN_LUA, HEAD_LUA, include_str!("../lua/scan.lua")].concat()));

/// Statuses the scripts reply.
const COUNTED: u8 = 0;
const LOST: u8 = 1;
const NOT_MINTED: u8 = 2;
const DENIED: u8 = 3;
const KEY_INVALID: u8 = 4;
const KEY_FORBIDDEN: u8 = 5;
const DAMAGED: u8 = 6;
/// By what the script says a scan was counted.
const BY_ADDRESS: u8 = 0;
const BY_KEY: u8 = 1;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// What the limiter counts the caller by, unless it shows a partner key.
    pub(crate) address: &'a str,
    pub(crate) credential: &'a Credential,
    pub(crate) user_agent: Option<&'a [u8]>,
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
    Redis(Error),
    Record(RecordError),
}

impl From<Unbelieved> for Refusal {
    fn from(why: Unbelieved) -> Self {
        match why {
            Unbelieved::NeverInUse => Self::NotMinted,
            Unbelieved::Destroyed => Self::Forged,
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Denied { retry_after } => Self::Denied { retry_after },
            NotAdmitted::NotOpen(error) => Self::Store(error),
            NotAdmitted::StateLost => Self::StateLost,
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
    facts: FactsCache,
    issuers: Issuers,
    /// Where limit and scan can be one call.
    grouped: Option<Grouped>,
}

/// What the scripts say of a counted scan.
struct Counted {
    now_ms: u64,
    count: u32,
    first_at_ms: u64,
    in_30_s: u8,
    in_60_s: u8,
    revoked: bool,
    batch: Vec<u8>,
    product: Vec<u8>,
}

impl Scanner {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(
        keyring: Arc<Keyring>,
        durable: Arc<Durable>,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
    ) -> Self {
        let grouped =
            limits.one_round_trip().then(|| Grouped::start(Arc::clone(&durable), Arc::clone(&limits)));
        let issuers = Issuers::new(Arc::clone(&durable));
        Self { keyring, durable, limits, admission, facts: FactsCache::new(), issuers, grouped }
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
        let key = KeyStanding::of(&self.durable, opened.epoch).await.map_err(Refusal::Store)?;
        let key = key?;
        let kept = self.facts.get(opened.batch);
        let counted = match &self.grouped {
            Some(grouped) => self.limited_scan(grouped, opened, caller, kept.clone(), quotas).await?,
            None => {
                let slot = self.durable.pool().slot().await.map_err(Refusal::Redis)?;
                let key = self.admission.admit(&slot, caller.address, caller.credential, quotas).await?;
                if let Err(refusal) = key {
                    drop(slot);
                    return Err(self.refused_key(&opened, refusal).await);
                }
                self.bare_scan(&slot, &opened, deployment.prefix(), kept.as_deref()).await?
            }
        };
        let facts = self.facts_of(kept, &counted).await?;
        debug_assert!(facts.batch.value.holds(opened.epoch, opened.index));
        let issuer = self.issuers.of(&facts).await.map_err(Refusal::Redis)?;
        Ok(judged(tag, key, caller.user_agent, facts, issuer, &counted))
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
        grouped: &Grouped,
        opened: Opened,
        caller: Caller<'_>,
        kept: Option<Arc<Facts>>,
        quotas: &mut Quotas,
    ) -> Result<Counted, Refusal> {
        let shown = Shown::of(caller.credential);
        let request = Request { opened, address: caller.address.to_owned(), shown, kept };
        let Some(reply) = grouped.ask(request).await.map_err(Refusal::Redis)? else {
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
        let decision = self.limits.regional().read(&ints, &dimensions).map_err(Refusal::Redis)?;
        *quotas = Quotas::of(decision.report());
        match (reply.status(), decision) {
            (Some(COUNTED), Decision::Allowed { .. }) => Counted::read(scan, &reply),
            (Some(NOT_MINTED), Decision::Allowed { .. }) => Err(Refusal::NotMinted),
            (Some(KEY_INVALID), Decision::Allowed { .. }) => Err(Refusal::Key(KeyRefusal::Invalid)),
            (Some(KEY_FORBIDDEN), Decision::Allowed { .. }) => Err(Refusal::Key(KeyRefusal::Forbidden)),
            (Some(DAMAGED), Decision::Allowed { .. }) => Err(damaged()),
            (Some(DENIED), Decision::Denied { retry_after, .. }) => Err(Refusal::Denied { retry_after }),
            _ => Err(misshapen("status and decision contradict each other")),
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
            _ => Err(misshapen("it was counted by a key that was not shown")),
        }
    }

    async fn bare_scan(
        &self,
        slot: &Slot,
        opened: &Opened,
        deployment: &str,
        kept: Option<&Facts>,
    ) -> Result<Counted, Refusal> {
        let mut call = SCAN.invoke();
        call.push_key(keys::DEPLOYMENT);
        push_scan_keys(&mut call, opened, kept);
        call.push_key(audit_chain::keys::HEAD);
        call.push_arg(deployment);
        push_scan_args(&mut call, opened, kept);
        call.push_arg(least_size(&self.durable));
        let pool = self.durable.pool();
        let reply = call.run_holding(pool, slot, pool.command_timeout()).await;
        let mut reply = Reply::split(reply.map_err(Refusal::Redis)?)?;
        glimpse(&self.durable, reply.head.take());
        match reply.status() {
            Some(COUNTED) => Counted::read(reply.facts(), &reply),
            Some(LOST) => Err(Refusal::StateLost),
            Some(NOT_MINTED) => Err(Refusal::NotMinted),
            Some(DAMAGED) => Err(damaged()),
            _ => Err(misshapen("an unknown status")),
        }
    }

    async fn facts_of(&self, kept: Option<Arc<Facts>>, counted: &Counted) -> Result<Arc<Facts>, Refusal> {
        match kept {
            Some(kept) if counted.batch.is_empty() && counted.product.is_empty() => Ok(kept),
            kept => self.refresh(kept.as_deref(), counted.batch.clone(), counted.product.clone()).await,
        }
    }

    /// Puts together what was kept and what Redis sent; asks for the product where the batch is new to this process.
    async fn refresh(
        &self,
        kept: Option<&Facts>,
        batch: Vec<u8>,
        product: Vec<u8>,
    ) -> Result<Arc<Facts>, Refusal> {
        let gone = || misshapen("a batch or its product is not there");
        let batch =
            fresher(kept.map(|facts| &facts.batch), batch).map_err(Refusal::Record)?.ok_or_else(gone)?;
        let product = match fresher(kept.map(|facts| &facts.product), product).map_err(Refusal::Record)? {
            Some(product) => product,
            None => Arc::new(self.product(&batch.value.product_id).await?.ok_or_else(gone)?),
        };
        let facts = Arc::new(Facts::new(batch, product));
        self.facts.put(&facts);
        Ok(facts)
    }

    async fn product(&self, id: &uuid::Uuid) -> Result<Option<catalog::Stored<catalog::Product>>, Refusal> {
        self.durable.catalog().product(id).await.map_err(|error| match error {
            catalog::CatalogError::Redis(error) => Refusal::Redis(error),
            catalog::CatalogError::Record(error) => Refusal::Record(error),
            catalog::CatalogError::TagState(error) => misshapen(&error.to_string()),
            lost @ catalog::CatalogError::Lost { .. } => Refusal::Store(errors::from_catalog(lost)),
        })
    }
}

/// What a script replied to one scan, taken apart but not read.
struct Reply {
    packed: Vec<u8>,
    batch: Vec<u8>,
    product: Vec<u8>,
    /// The audit head, where it is higher than the one this process has seen.
    head: Option<redis::Value>,
}

impl Reply {
    fn split(value: redis::Value) -> Result<Self, Refusal> {
        use redis::Value::{Array, BulkString};
        match value {
            BulkString(packed) => Ok(Self { packed, batch: Vec::new(), product: Vec::new(), head: None }),
            Array(mut values) => {
                let head = if values.len() == 4 { values.pop() } else { None };
                match <[redis::Value; 3]>::try_from(values) {
                    Ok([BulkString(packed), BulkString(batch), BulkString(product)]) => {
                        Ok(Self { packed, batch, product, head })
                    }
                    _ => Err(misshapen("three strings were expected")),
                }
            }
            _ => Err(misshapen("a string was expected")),
        }
    }

    fn status(&self) -> Option<u8> {
        self.packed.first().copied()
    }

    /// What follows the status.
    fn facts(&self) -> &[u8] {
        self.packed.get(1..).unwrap_or_default()
    }
}

impl Counted {
    /// Bytes of the packed scan: u48 now, u32 count, u48 first scan, three of one byte.
    const LEN: usize = 19;

    fn read(packed: &[u8], reply: &Reply) -> Result<Self, Refusal> {
        let packed: &[u8; Self::LEN] =
            packed.try_into().map_err(|_| misshapen("the scan's part has another length"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self {
            now_ms: number(&packed[..6]),
            count: u32::from_be_bytes([packed[6], packed[7], packed[8], packed[9]]),
            first_at_ms: number(&packed[10..16]),
            in_30_s: packed[16],
            in_60_s: packed[17],
            revoked: packed[18] == 1,
            batch: reply.batch.clone(),
            product: reply.product.clone(),
        })
    }
}

/// What a counted scan comes to.
fn judged(
    tag: TagId,
    key: KeyStanding,
    user_agent: Option<&[u8]>,
    facts: Arc<Facts>,
    issuer: IssuerAnswer,
    counted: &Counted,
) -> Verdict {
    let batch = &facts.batch.value;
    let now = from_unix_millis(counted.now_ms);
    let frequency = Frequency { in_30_s: counted.in_30_s, in_60_s: counted.in_60_s, in_all: counted.count };
    Verdict {
        tag,
        lifecycle: batch.lifecycle_under(key.disowns(batch), counted.revoked, now),
        first_scan_at: from_unix_millis(counted.first_at_ms),
        scan_count: counted.count,
        risk: assess(frequency, user_agent, key.supersedes(batch)),
        verification_id: ambient::uuid_v7(counted.now_ms),
        facts,
        issuer,
    }
}

fn damaged() -> Refusal {
    misshapen("the stored record of a tag, its batch, its product or a tenant is none that can be")
}

fn misshapen(what: &str) -> Refusal {
    Refusal::Redis(Error::Reply { what: format!("scan: {what}") })
}

//! The durable Redis as a service sees it: its pool, the deployment gate, the keyring, the audit appender, and what an operator
//! should know.
//!
//! It starts without Redis. A background task looks until a deployment record has been read that matches; only then is
//! there an appender, and only then is the keyring listened for. Afterwards every script compares the record itself, so a
//! wiped Redis is noticed by the very next call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ambient::{Clock, entropy};
use audit_chain::{
    AppendError, Appended, Appender, AuditLog, AuditMetrics, Effect, EndFault, Event, NewEvent, ReadError,
};
use catalog::{Catalog, Deployment, DeploymentError, DeploymentGate, Expectation, Init};
use http_edge::Check;
use keyring::{KeyringWatch, Role, Secrets};
use parking_lot::Mutex;
use redis_pool::RedisPool;
use storage::{AppendFailure, GateError};
use time::OffsetDateTime;
use uuid::Uuid;

mod keys;
mod memory;
mod metrics;
mod readiness;

pub use self::keys::KeyringSetup;
use self::memory::Memory;
pub use self::metrics::DurableMetrics;
pub use self::readiness::AUDIT_CHAIN;
use crate::storage::StorageWatch;

/// Pause between two looks at the deployment record: before the first was seen or while it is lost, and else.
const REFRESH_EVERY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Written and deleted again and again, to see whether the durable Redis takes writes: of each type that is written there.
const WRITE_PROBE: &[&str] =
    &["vt1:write-probe", "vt1:write-probe:list", "vt1:write-probe:hash", "vt1:write-probe:zset"];

/// The ways of one process to the durable Redis.
#[derive(Debug)]
pub struct DurablePools {
    /// For all that requests need.
    pub requests: RedisPool,
    /// For the keyring: a process whose other permits are all taken must hear of a revoked key nevertheless.
    pub heartbeats: RedisPool,
}

/// Whether Redis lets this process append.
#[derive(Debug)]
enum Permission {
    NotTried,
    Granted,
    /// Which command it may not run.
    Refused(String),
}

/// The durable Redis.
#[derive(Debug)]
pub struct Durable {
    pool: RedisPool,
    catalog: Catalog,
    gate: DeploymentGate,
    keyring: KeyringWatch,
    audit_origin: String,
    audit_metrics: AuditMetrics,
    metrics: DurableMetrics,
    /// One for each restore generation, the latest last. Those before it are kept, since callers may hold them; a restore is rare.
    appenders: boxcar::Vec<(u64, Appender)>,
    /// Held while one is started.
    starting: Mutex<()>,
    memory: Memory,
    /// Whether the state is lost because it was rolled back.
    rolled_back: AtomicBool,
    /// Whether the audit head was found lower than, or another than, one seen before.
    head_lost: AtomicBool,
    /// Whether the last look, or a script since, found the state lost; only a look that finds all of it there clears it.
    lost: AtomicBool,
    /// Why nothing can be appended, as the last look or append found it. No state is lost then: everything else goes on.
    chain_fault: Mutex<Option<EndFault>>,
    /// Whether this connection may run what appending takes.
    permission: Mutex<Permission>,
    clock: Arc<dyn Clock>,
    storage: StorageWatch,
    readiness: tokio::sync::Mutex<Option<(Duration, Vec<Check>)>>,
}

impl Durable {
    /// Nothing is asked of Redis yet: see [`Self::keep_refreshing`].
    #[must_use]
    pub fn new(
        DurablePools { requests: pool, heartbeats }: DurablePools,
        expectation: Expectation,
        init: Init,
        clock: Arc<dyn Clock>,
        audit_metrics: AuditMetrics,
        metrics: DurableMetrics,
        keyring: KeyringSetup,
    ) -> Self {
        pool.watch_writes(WRITE_PROBE);
        heartbeats.watch_writes(WRITE_PROBE);
        let secrets = Secrets { tags: Arc::clone(&expectation.tag_keys), signing: keyring.signing };
        let (role, shown) =
            (Role { announces: keyring.announce, seeds: keyring.seeds }, metrics.keyring.clone());
        let storage =
            StorageWatch::new(pool.clone(), "durable", true, Arc::clone(&clock), metrics.storage.clone());
        Self {
            keyring: KeyringWatch::new(heartbeats, Arc::clone(&clock), secrets, role, shown),
            catalog: Catalog::new(pool.clone()),
            audit_origin: expectation.audit_origin.clone(),
            gate: DeploymentGate::new(pool.clone(), expectation, init),
            pool,
            audit_metrics,
            metrics,
            appenders: boxcar::Vec::new(),
            starting: Mutex::default(),
            memory: Memory::default(),
            rolled_back: AtomicBool::new(false),
            head_lost: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            chain_fault: Mutex::default(),
            permission: Mutex::new(Permission::NotTried),
            clock,
            storage,
            readiness: tokio::sync::Mutex::new(None),
        }
    }

    /// Looks at the deployment record again and again, and heartbeats for the keyring; ends only with the process.
    pub async fn keep_refreshing(&self) {
        tokio::join!(self.keep_heartbeat(), self.keep_refreshing_records(), self.keep_remembering());
    }

    async fn keep_refreshing_records(&self) {
        loop {
            let found = self.refresh().await;
            let calm = found.is_ok() || (self.gate.seen().is_some() && !self.is_lost());
            let pause = if calm { REFRESH_EVERY.1 } else { REFRESH_EVERY.0 };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }

    /// Looks once: makes or compares the deployment record, and reads the settings of Redis when that is due.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn refresh(&self) -> Result<&Deployment, DeploymentError> {
        let found = self.refresh_record_and_head().await;
        self.note_outcome(&found);
        match &found {
            Ok(_) => {
                self.lost.store(false, Ordering::Release);
                self.metrics.lost(self.keyring_is_lost());
                self.storage.read_when_due().await;
            }
            Err(DeploymentError::Lost(_)) => {
                self.lost.store(true, Ordering::Release);
                self.metrics.lost(true);
            }
            Err(DeploymentError::Redis(_)) => {}
        }
        found
    }

    /// The record, and then the audit head: an older copy of the same deployment lacks revocations that were acknowledged.
    async fn refresh_record_and_head(&self) -> Result<&Deployment, DeploymentError> {
        let deployment = self.gate.refresh(self.now()).await?;
        let known = self.recall(deployment).await?;
        let appender = self.appender_of(deployment, known.as_ref())?;
        self.ask_permission(appender).await?;
        match appender.log().end().await {
            Ok(end) => {
                self.note_chain_fault(end.fault);
                if end.head.size > 0 && !self.gate.audit_begun() {
                    self.gate.note_audit_begun().await?;
                }
                if self.head_lost.swap(false, Ordering::AcqRel) {
                    tracing::info!("the audit head is again one that this process can go on from");
                }
                self.poll_keyring(deployment).await;
                Ok(deployment)
            }
            Err(ReadError::StateLost(why)) => {
                if !self.head_lost.swap(true, Ordering::AcqRel) {
                    tracing::error!(%why, "the durable Redis has lost VokeTag's state");
                }
                Err(DeploymentError::Lost(self.judged(&why)))
            }
            Err(ReadError::Redis(error)) => Err(DeploymentError::Redis(error)),
            // The head is read without its entries.
            Err(damaged @ ReadError::Damaged { .. }) => Err(DeploymentError::Lost(damaged.to_string())),
        }
    }

    /// Says once in the log that the chain cannot be appended to, and once that it can be again.
    fn note_chain_fault(&self, fault: Option<EndFault>) {
        let before = std::mem::replace(&mut *self.chain_fault.lock(), fault);
        self.metrics.chain_damaged(fault.is_some());
        match fault {
            Some(why) if before != Some(why) => {
                tracing::error!(%why, "nothing can be appended to the audit chain until that is settled");
            }
            None if before.is_some() => tracing::info!("the audit chain can be appended to again"),
            _ => {}
        }
    }

    /// Tries what appending takes, until it is granted.
    async fn ask_permission(&self, appender: &Appender) -> Result<(), DeploymentError> {
        if matches!(*self.permission.lock(), Permission::Granted) {
            return Ok(());
        }
        let refused = appender.log().probe().await?;
        let mut permission = self.permission.lock();
        if let (Some(why), Permission::NotTried) = (&refused, &*permission) {
            tracing::error!(%why, "Redis does not let this process append audit events");
        }
        *permission = refused.map_or(Permission::Granted, Permission::Refused);
        Ok(())
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &RedisPool {
        &self.pool
    }

    /// Reading products, batches and tags.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The gate, for batch numbers and for reporting a loss that a script found.
    #[must_use]
    pub fn gate(&self) -> &DeploymentGate {
        &self.gate
    }

    /// The wall clock's time in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        from_unix_millis(self.clock.unix_millis())
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The deployment this process works on, once seen and as long as the state is not lost: what makes readiness fail for lost
    /// state is refused here too, and the look that mends the one mends the other.
    ///
    /// # Errors
    /// [`GateError::StateLost`] or [`GateError::RolledBack`]; [`GateError::NotRead`] while Redis has not answered yet.
    pub fn deployment(&self) -> Result<&Deployment, GateError> {
        match self.gate.seen() {
            Some(_) if self.is_lost() => Err(self.lost_error()),
            Some(deployment) => Ok(deployment),
            None => Err(self.closed()),
        }
    }

    /// Whether an id that does not prove itself under this process's secrets is a forged one. Asks nobody.
    ///
    /// # Errors
    /// [`GateError::StateLost`] or [`GateError::RolledBack`] while it is known that the secrets, or other parts of the state,
    /// are not those of the deployment: genuine ids would be called forged.
    pub fn can_tell_forged(&self) -> Result<(), GateError> {
        if self.is_lost() { Err(self.lost_error()) } else { Ok(()) }
    }

    /// The deployment record, the audit head or the keyring.
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.gate.is_lost() || self.keyring_is_lost()
    }

    /// The audit appender.
    ///
    /// # Errors
    /// As [`Self::deployment`], and [`GateError::AppendNotPermitted`].
    pub fn appender(&self) -> Result<&Appender, GateError> {
        self.deployment()?;
        if !matches!(*self.permission.lock(), Permission::Granted) {
            return Err(GateError::AppendNotPermitted);
        }
        self.latest().map(|(_, appender)| appender).ok_or_else(|| self.closed())
    }

    pub(crate) fn closed(&self) -> GateError {
        if self.pool.stats().connected == 0 || !self.gate.is_lost() {
            return GateError::NotRead;
        }
        GateError::StateLost
    }

    /// The audit log, once the deployment was seen: what scripts hold the head against.
    #[must_use]
    pub fn log(&self) -> Option<&AuditLog> {
        self.latest().map(|(_, appender)| appender.log())
    }

    /// Notes a loss that a script found: the next readiness probe says so too.
    pub fn report_lost(&self, why: &str) {
        self.metrics.lost(true);
        self.lost.store(true, Ordering::Release);
        self.gate.report_lost(why);
    }

    /// Notes that an authentic tag id was presented that was never minted: only who holds the tag secret can make one. `request_id` is
    /// where to look for who that was.
    pub fn alarm_of_key_leak(&self, request_id: &str) {
        self.metrics.key_leak();
        tracing::error!(
            alarm = "key_leak",
            request_id,
            "an authentic tag id that was never minted was presented: the tag secret may have leaked"
        );
    }

    /// Takes leave of the others; for a process that stops.
    pub async fn leave(&self) {
        if let Err(error) = self.keyring.leave().await {
            tracing::debug!(%error, "could not take leave; this instance counts as living for some seconds");
        }
    }

    /// Appends an event that happens now, with its effect.
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub async fn append(&self, what: NewEvent, effect: Effect) -> Result<Appended, AppendFailure> {
        let unix_millis = self.clock.unix_millis();
        let id = ambient::uuid_v7(unix_millis);
        self.append_as(Stamp { unix_millis, id, nonce: entropy::random_bytes() }, what, effect).await
    }

    /// Appends an event whose time, id and nonce are given, so that a repeat is the same event; with its effect.
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub async fn append_as(
        &self,
        stamp: Stamp,
        what: NewEvent,
        effect: Effect,
    ) -> Result<Appended, AppendFailure> {
        let appender = self.appender()?;
        let event = Event::new(stamp.unix_millis, stamp.id, stamp.nonce, what)?;
        let appended = appender.append(&event, effect).await;
        match &appended {
            Err(AppendError::StateLost(why)) => self.report_lost(&why.to_string()),
            Err(AppendError::EndFault(fault)) => self.note_chain_fault(Some(*fault)),
            _ => {}
        }
        Ok(appended?)
    }
}

/// What tells one event from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it happens.
    pub unix_millis: u64,
    /// A version 7 UUID.
    pub id: Uuid,
    /// 16 random bytes.
    pub nonce: [u8; 16],
}

/// A time in Unix milliseconds as a date, UTC; what no calendar holds becomes 1970.
#[must_use]
pub fn from_unix_millis(millis: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

//! The deployment gate tells a wiped, foreign or rolled-back Redis from a new, empty one.
//!
//! A process starts without a deployment. The first record that matches its secrets and its audit origin
//! stays its deployment until the process ends. From then on, a missing or different record means lost state
//! and never a new deployment. Only a process with [`Init::Auto`] may create a record, and only in a Redis
//! without VokeTag data.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use redis_pool::{RedisPool, Script};
use tag_id::{BatchNo, Epoch, TagKeys};
use time::OffsetDateTime;

use crate::batch_no::{self, Drawn};
use crate::deployment_record::{Deployment, DeploymentRecord, StoredDeployment};
use crate::error::DeploymentError;
use crate::keys;

/// Whether this process may create the deployment record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// It may create one if Redis holds no VokeTag data.
    Auto,
    /// It never creates one.
    Never,
}

/// The settings of this process that a deployment record must match.
#[derive(Debug)]
pub struct Expectation {
    /// Tag secrets.
    pub tag_keys: Arc<TagKeys>,
    /// Epoch whose check value this process stores in a record that it creates. In an existing record, only a
    /// change of the keyring changes the check values.
    pub adds_epoch: Option<Epoch>,
    /// Audit origin.
    pub audit_origin: String,
}

/// Keeps the deployment of this process, from the first matching record on.
///
/// ```
/// # use std::num::NonZeroUsize;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// use catalog::{DeploymentGate, Expectation, Init};
/// use tag_id::{Epoch, MasterSecret, TagKeys};
/// # use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
/// # use test_support::RedisServer;
/// use time::macros::datetime;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let redis = RedisServer::start().await;
/// # let config = PoolConfig {
/// #     name: "durable",
/// #     url: redis.url().parse().unwrap(),
/// #     permits: NonZeroUsize::MIN,
/// #     connections: NonZeroUsize::MIN,
/// #     wait: Duration::from_secs(10),
/// #     command_timeout: Duration::from_secs(10),
/// #     open_for: redis_pool::OPEN_FOR,
/// # };
/// # let pool = RedisPool::new(config, Arc::new(ambient::SystemClock::new()), &PoolMetrics::default());
/// let expectation = Expectation {
///     tag_keys: Arc::new(TagKeys::new(None, [(Epoch::MIN, MasterSecret::from([7; 32]))])),
///     adds_epoch: Some(Epoch::MIN),
///     audit_origin: "voketag.local/audit".to_owned(),
/// };
/// let gate = DeploymentGate::new(pool, expectation, Init::Auto);
/// let now = datetime!(2026-02-16 12:00 UTC);
/// let id = gate.refresh(now).await?.id().to_owned();
/// assert_eq!(gate.refresh(now).await?.id(), id, "the record is created once");
///
/// let () = redis::cmd("FLUSHALL").query_async(&mut redis.connection().await).await.unwrap();
/// assert!(gate.refresh(now).await.is_err(), "a wiped Redis is lost state, not a new deployment");
/// assert!(gate.is_lost());
/// # Ok::<(), catalog::DeploymentError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct DeploymentGate {
    pool: RedisPool,
    expectation: Expectation,
    init: Mutex<Init>,
    /// One deployment per restore generation that was seen, the latest last. Earlier ones stay, because
    /// callers may hold references to them.
    seen: boxcar::Vec<Deployment>,
    /// Serialises additions to `seen`.
    follow_lock: Mutex<()>,
    last_error: Mutex<Option<String>>,
    lost: AtomicBool,
    audit_begun: AtomicBool,
}

static CREATE: LazyLock<Script> =
    LazyLock::new(|| Script::new("create_deployment", include_str!("lua/create_deployment.lua")));
static AMEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("amend_deployment", include_str!("lua/amend_deployment.lua")));

impl DeploymentGate {
    /// Creates a gate without contacting Redis. Call [`Self::refresh`] to open it.
    #[must_use]
    pub fn new(pool: RedisPool, expectation: Expectation, init: Init) -> Self {
        let last_error = Mutex::new(Some("the durable Redis has not been read yet".to_owned()));
        let (init, seen, lost) = (Mutex::new(init), boxcar::Vec::new(), AtomicBool::new(false));
        let (follow_lock, audit_begun) = (Mutex::default(), AtomicBool::new(false));
        Self { pool, expectation, init, seen, follow_lock, last_error, lost, audit_begun }
    }

    /// Returns the deployment that was seen last, if any. Only [`Self::refresh`] checks that it still exists.
    #[must_use]
    pub fn seen(&self) -> Option<&Deployment> {
        self.seen.iter().last().map(|(_, seen)| seen)
    }

    /// Returns why the gate is closed, `None` if it is open.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Whether the last reply of Redis contained no deployment that this process can use. False until the
    /// first reply: an unreachable Redis is not a lost state.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Closes the gate because a script found the deployment record missing or different.
    pub fn report_lost(&self, why: &str) {
        let mut last_error = self.last_error.lock();
        self.lost.store(true, Ordering::Relaxed);
        if last_error.is_none() {
            tracing::error!(why, "durable state lost");
        }
        *last_error = Some(why.to_owned());
    }

    /// Reads the record and compares it with the expectation. Creates the record if [`Init`] allows it.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] if the record is missing or does not match; [`Self::last_error`] then
    /// returns the same reason. [`DeploymentError::Redis`] leaves the gate as it was.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<&Deployment, DeploymentError> {
        let outcome = self.refresh_inner(now).await;
        // Only the first reply may lead to a new record: a Redis that is empty later was wiped.
        if !matches!(outcome, Err(DeploymentError::Redis(_))) {
            *self.init.lock() = Init::Never;
        }
        match &outcome {
            Ok(_) => {
                self.lost.store(false, Ordering::Relaxed);
                if self.last_error.lock().take().is_some() {
                    tracing::info!("deployment record matches");
                }
            }
            Err(DeploymentError::Lost(why)) => self.report_lost(why),
            Err(DeploymentError::Redis(_)) => {}
        }
        outcome
    }

    async fn refresh_inner(&self, now: OffsetDateTime) -> Result<&Deployment, DeploymentError> {
        // Read before the request: a concurrent refresh may follow a restore before this reply arrives.
        let seen_before = self.seen();
        let stored = match StoredDeployment::read(&self.pool).await? {
            Some(stored) => stored,
            None => self.create(now).await?,
        };
        let record = self.matching(stored)?;
        if record.audit_begun {
            self.audit_begun.store(true, Ordering::Release);
        }
        self.follow(Deployment::of(&record), seen_before)
    }

    /// Accepts `found` if it is the deployment that was seen, in the same restore generation or a later one.
    /// `seen_before` is the deployment that was seen before `found` was read.
    fn follow(
        &self,
        found: Deployment,
        seen_before: Option<&Deployment>,
    ) -> Result<&Deployment, DeploymentError> {
        let _guard = self.follow_lock.lock();
        let known = seen_before.map_or(0, Deployment::generation);
        match self.seen() {
            Some(seen) if seen.id() != found.id() => {
                let why = "the durable Redis holds another deployment than this process has seen";
                return Err(DeploymentError::Lost(why.to_owned()));
            }
            Some(_) if known > found.generation() => {
                return Err(DeploymentError::Lost(format!(
                    "rolled back: the deployment record is of restore generation {}, and {} was seen",
                    found.generation(),
                    known
                )));
            }
            Some(seen) if seen.generation() >= found.generation() => return Ok(seen),
            Some(_) => {
                tracing::warn!(
                    generation = found.generation(),
                    "operator accepted a restored state, following it"
                );
            }
            None => {}
        }
        let index = self.seen.push(found);
        Ok(&self.seen[index])
    }

    /// Whether the record that was read last is marked to have an entry in its audit chain.
    #[must_use]
    pub fn audit_begun(&self) -> bool {
        self.audit_begun.load(Ordering::Acquire)
    }

    /// Marks in the record that the audit chain has an entry. If another process changes the record at the
    /// same time, it does nothing; the caller tries again at its next refresh.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn note_audit_begun(&self) -> Result<(), DeploymentError> {
        if self.note_in_record(StoredDeployment::with_audit).await? {
            self.audit_begun.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Replaces the stored record by a changed one; returns whether it did. It does not if another process
    /// changes the record at the same time, or if the record is not of this process's deployment.
    pub(crate) async fn note_in_record(
        &self,
        change: impl FnOnce(StoredDeployment) -> StoredDeployment,
    ) -> Result<bool, DeploymentError> {
        let Some(stored) = StoredDeployment::read(&self.pool).await? else { return Ok(false) };
        if self.seen().is_none_or(|seen| !stored.bytes().starts_with(seen.prefix().as_bytes())) {
            return Ok(false);
        }
        let call = AMEND.invoke().key(keys::DEPLOYMENT).arg(stored.bytes());
        let amended: i64 = call.arg(change(stored.clone()).bytes()).run(&self.pool).await?;
        Ok(amended == 1)
    }

    async fn create(&self, now: OffsetDateTime) -> Result<StoredDeployment, DeploymentError> {
        let lost = |why: &str| Err(DeploymentError::Lost(why.to_owned()));
        let forbidden = if self.seen().is_some() {
            Some("the deployment record is gone from the durable Redis")
        } else if *self.init.lock() == Init::Never {
            Some("the durable Redis holds no deployment record, and this process does not create one")
        } else {
            None
        };
        if let Some(why) = forbidden {
            // A concurrent refresh of this process may have created it after this one found none.
            let created_since = StoredDeployment::read(&self.pool).await?;
            return created_since.map_or_else(|| lost(why), Ok);
        }
        if self.holds_voketag_data().await? {
            // The data may be the record itself, which another process created since it was read.
            if let Some(stored) = StoredDeployment::read(&self.pool).await? {
                return Ok(stored);
            }
            return lost("the durable Redis holds VokeTag data but no deployment record");
        }
        let record = DeploymentRecord {
            id: hex::encode(ambient::entropy::random_bytes::<16>()),
            restore_generation: 0,
            audit_origin: self.expectation.audit_origin.clone(),
            created_at: now,
            tag_checks: self
                .expectation
                .adds_epoch
                .into_iter()
                .filter_map(|epoch| self.check(epoch))
                .collect(),
            keyring_made: false,
            audit_begun: false,
            minted_noted: true,
        };
        let call =
            CREATE.invoke().key(keys::DEPLOYMENT).key(keys::NEXT_BATCH_NO).key(audit_chain::keys::HEAD);
        let (outcome, stored): (i64, Vec<u8>) = call.arg(record.encode()).run(&self.pool).await?;
        match outcome {
            1 => tracing::info!(deployment = %record.id, "created the deployment record in an empty redis"),
            0 => tracing::info!("another process created the deployment record first"),
            _ => return lost("the durable Redis holds VokeTag data but no deployment record"),
        }
        StoredDeployment::parse(stored)
    }

    /// Iterates over the whole key space. Called only if Redis has no deployment record.
    async fn holds_voketag_data(&self) -> Result<bool, DeploymentError> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::Cmd::new();
            scan.arg("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", keys::DURABLE_PREFIX))
                .arg("COUNT")
                .arg(1_000);
            let reply = self.pool.command(scan).await?;
            let (next, found): (u64, Vec<Vec<u8>>) = redis::from_redis_value(reply)
                .map_err(|error| redis_pool::PoolError::Reply { what: format!("SCAN: {error}") })?;
            if !found.is_empty() {
                return Ok(true);
            }
            if next == 0 {
                return Ok(false);
            }
            cursor = next;
        }
    }

    fn check(&self, epoch: Epoch) -> Option<(u16, String)> {
        self.expectation.tag_keys.check_value(epoch).map(|check| (epoch.get(), hex::encode(check)))
    }

    fn matching(&self, stored: StoredDeployment) -> Result<DeploymentRecord, DeploymentError> {
        let lost = |why: String| Err(DeploymentError::Lost(why));
        let record = stored.into_record();
        if record.audit_origin != self.expectation.audit_origin {
            return lost("the deployment record names another AUDIT_ORIGIN than this process has".to_owned());
        }
        for (number, recorded) in &record.tag_checks {
            let own = Epoch::new(*number).and_then(|epoch| self.check(epoch));
            match own {
                Some((_, own)) if own == *recorded => {}
                Some(_) => {
                    return lost(format!(
                        "the tag secret of epoch {number} is not the one this deployment has"
                    ));
                }
                None => {
                    return lost(format!(
                        "this process has no tag secret of epoch {number}, which this deployment has"
                    ));
                }
            }
        }
        Ok(record)
    }

    /// Draws an unused batch number at random; returns `None` if nearly all are used.
    ///
    /// Writes nothing. The append that writes the batch checks that the number is still unused; if it is not,
    /// the caller draws again.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] if the deployment is gone, or if the minted-batch index cannot be read.
    pub async fn draw_batch_no(&self) -> Result<Option<BatchNo>, DeploymentError> {
        let lost = |why: &str| {
            self.report_lost(why);
            DeploymentError::Lost(why.to_owned())
        };
        let deployment = self.seen().ok_or_else(|| lost("no deployment record has been seen yet"))?;
        match batch_no::draw(&self.pool, deployment, batch_no::NUMBERS).await? {
            Drawn::Number(number) => Ok(Some(number)),
            Drawn::NearlyAllUsed => Ok(None),
            Drawn::OtherDeployment => Err(lost("the deployment record is missing or of another deployment")),
        }
    }
}

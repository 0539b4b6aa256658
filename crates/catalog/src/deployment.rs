//! The deployment gate tells a wiped, foreign or older Redis from a new, empty one.
//!
//! A process starts without a deployment. The first record that matches its secrets and audit origin becomes its deployment
//! until it ends. From then on a missing or different record is "state lost", never a new beginning. Only a factory with
//! [`Init::Auto`] may create a record, and only in a Redis that holds no VokeTag data.

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
    /// It may, if Redis holds no VokeTag data.
    Auto,
    /// It may not.
    Never,
}

/// The values of this process that a deployment record must match.
#[derive(Debug)]
pub struct Expectation {
    /// Its tag secrets.
    pub tag_keys: Arc<TagKeys>,
    /// The epoch whose check value stands in a record that this process makes. Records that stand already change only with
    /// the keyring.
    pub adds_epoch: Option<Epoch>,
    /// Its audit origin.
    pub audit_origin: String,
}

/// Holds the deployment of this process from the first matching record on.
#[derive(Debug)]
pub struct DeploymentGate {
    pool: RedisPool,
    expectation: Expectation,
    init: Mutex<Init>,
    /// One for each restore generation that was seen, the latest last. Those before it are kept, since callers may hold them.
    seen: boxcar::Vec<Deployment>,
    /// Held while one is added.
    following: Mutex<()>,
    last_error: Mutex<Option<String>>,
    lost: AtomicBool,
    audit_begun: AtomicBool,
}

static CREATE: LazyLock<Script> =
    LazyLock::new(|| Script::new("create_deployment", include_str!("lua/create_deployment.lua")));
static AMEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("amend_deployment", include_str!("lua/amend_deployment.lua")));
impl DeploymentGate {
    /// A gate that has seen nothing yet.
    #[must_use]
    pub fn new(pool: RedisPool, expectation: Expectation, init: Init) -> Self {
        let last_error = Mutex::new(Some("the durable Redis has not been read yet".to_owned()));
        let (init, seen, lost) = (Mutex::new(init), boxcar::Vec::new(), AtomicBool::new(false));
        let (following, audit_begun) = (Mutex::default(), AtomicBool::new(false));
        Self { pool, expectation, init, seen, following, last_error, lost, audit_begun }
    }

    /// The deployment, if one was ever seen; whether it still stands only a call to Redis can tell.
    #[must_use]
    pub fn seen(&self) -> Option<&Deployment> {
        self.seen.iter().last().map(|(_, seen)| seen)
    }

    /// Why the gate was closed when it was last looked at.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Whether Redis, when it last answered, held no deployment that this process can work on. False until it has answered:
    /// a Redis that was not read yet, or that serves nobody, has lost nothing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Notes that a script found the deployment gone.
    pub fn report_lost(&self, why: &str) {
        let mut last_error = self.last_error.lock();
        self.lost.store(true, Ordering::Relaxed);
        if last_error.is_none() {
            tracing::error!(why, "the durable Redis has lost VokeTag's state");
        }
        *last_error = Some(why.to_owned());
    }

    /// Reads the record, compares it, and makes it where that is allowed.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] when it is missing or does not match; the gate's last_error says the same.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<&Deployment, DeploymentError> {
        let outcome = self.refresh_inner(now).await;
        // Whatever the first contact brought, nobody makes a record after it: what is empty later was wiped.
        if !matches!(outcome, Err(DeploymentError::Redis(_))) {
            *self.init.lock() = Init::Never;
        }
        match &outcome {
            Ok(_) => {
                self.lost.store(false, Ordering::Relaxed);
                if self.last_error.lock().take().is_some() {
                    tracing::info!("the deployment record is there and matches");
                }
            }
            Err(DeploymentError::Lost(why)) => self.report_lost(why),
            Err(DeploymentError::Redis(_)) => {}
        }
        outcome
    }

    async fn refresh_inner(&self, now: OffsetDateTime) -> Result<&Deployment, DeploymentError> {
        // Taken before the read is sent: another look may follow a restore before the reply is read.
        let seen_before = self.seen();
        let stored = match StoredDeployment::read(&self.pool).await? {
            Some(stored) => stored,
            None => self.make(now).await?,
        };
        let record = self.matching(stored)?;
        if record.audit_begun {
            self.audit_begun.store(true, Ordering::Release);
        }
        self.follow(Deployment::of(&record), seen_before)
    }

    /// Takes `found` for the deployment, if it is the one that was seen, in the same restore generation or a later one.
    /// `seen_before` is what was seen before `found` was read.
    fn follow(
        &self,
        found: Deployment,
        seen_before: Option<&Deployment>,
    ) -> Result<&Deployment, DeploymentError> {
        let _turn = self.following.lock();
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
                    "an operator accepted a restored state; following it"
                );
            }
            None => {}
        }
        let place = self.seen.push(found);
        Ok(&self.seen[place])
    }

    /// Whether the record said, when it was last read, that the audit chain has an entry.
    #[must_use]
    pub fn audit_begun(&self) -> bool {
        self.audit_begun.load(Ordering::Acquire)
    }

    /// Writes down in the record that the audit chain has an entry. Where others change it at the same time, nothing is done: the
    /// next look finds the same.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn note_audit_begun(&self) -> Result<(), DeploymentError> {
        if self.note_in_record(StoredDeployment::with_audit).await? {
            self.audit_begun.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Puts a changed record in the place of the one that stands; says whether that was done. Not where others change it at the same
    /// time, or where it is not this process's deployment.
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

    async fn make(&self, now: OffsetDateTime) -> Result<StoredDeployment, DeploymentError> {
        let lost = |why: &str| Err(DeploymentError::Lost(why.to_owned()));
        let may_not = if self.seen().is_some() {
            Some("the deployment record is gone from the durable Redis")
        } else if *self.init.lock() == Init::Never {
            Some("the durable Redis holds no deployment record, and this process does not make one")
        } else {
            None
        };
        if let Some(why) = may_not {
            // Another look of this process may have made it after ours had found none.
            let made_since = StoredDeployment::read(&self.pool).await?;
            return made_since.map_or_else(|| lost(why), Ok);
        }
        if self.holds_anything_of_ours().await? {
            // What was found may be the record itself, made by another process since it was asked for.
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
        let made =
            CREATE.invoke().key(keys::DEPLOYMENT).key(keys::NEXT_BATCH_NO).key(audit_chain::keys::HEAD);
        let (outcome, standing): (i64, Vec<u8>) = made.arg(record.encode()).run(&self.pool).await?;
        match outcome {
            1 => tracing::info!(deployment = %record.id, "made the deployment record in an empty Redis"),
            0 => tracing::info!("another process made the deployment record first"),
            _ => return lost("the durable Redis holds VokeTag data but no deployment record"),
        }
        StoredDeployment::parse(standing)
    }

    /// Walks the whole key space once; only ever asked of a Redis without a deployment record.
    async fn holds_anything_of_ours(&self) -> Result<bool, DeploymentError> {
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

    /// Draws a batch number at random among the unused ones; `None` when nearly all are used. Nothing is written: whoever writes the batch
    /// checks that the number is still unused, and draws again if not.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] when the deployment is not there, or what was minted cannot be read.
    pub async fn draw_batch_no(&self) -> Result<Option<BatchNo>, DeploymentError> {
        let lost = |why: &str| {
            self.report_lost(why);
            DeploymentError::Lost(why.to_owned())
        };
        let deployment = self.seen().ok_or_else(|| lost("no deployment record has been seen yet"))?;
        match batch_no::draw(&self.pool, deployment, batch_no::NUMBERS).await? {
            Drawn::Number(number) => Ok(Some(number)),
            Drawn::NearlyAllUsed => Ok(None),
            Drawn::OtherDeployment => Err(lost("the deployment record is gone or another")),
        }
    }
}

//! Polls the keyring twice a second and keeps the last snapshot.
//!
//! A heartbeat announces what this process holds and returns the keyring if it has changed.
//! [`KeyringWatch::poll`] only reads. A process that stops deregisters itself, so that no move waits for it.
//!
//! ```text
//! not read → usable     a record was read, and this process holds the secret of every tag key in use
//! not read → not made   the deployment never had a keyring; a process that may create it does
//! usable   → lost       the record is gone, has a lower revision, or needs a secret that this process lacks
//! lost     → usable     a usable record was read
//! ```
//!
//! The snapshot stays valid while Redis is unavailable; readiness and metrics report its age.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ambient::{Clock, entropy};
use catalog::Deployment;
use parking_lot::RwLock;
use redis_pool::{RedisPool, Script};
use tag_id::Epoch;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::KeyringError;
use crate::keys;
use crate::metrics::KeyringMetrics;
use crate::presence::{INSTANCE_TTL, Presence};
use crate::record::StoredKeyring;
use crate::secrets::Secrets;
use crate::seed;
use crate::snapshot::Snapshot;

/// Mean pause between two heartbeats. Even if one heartbeat is lost, a change arrives within 2 s.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Jitter of [`HEARTBEAT_INTERVAL`], in thousandths.
pub const HEARTBEAT_JITTER: u16 = 200;

/// Age of the last successful poll from which the snapshot counts as stale.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// Number of epochs after the keyring's highest one whose check values an instance announces.
pub(crate) const NEXT_EPOCHS: u16 = 16;

static LEAVE: LazyLock<Script> =
    LazyLock::new(|| Script::new("keyring-leave", include_str!("lua/leave.lua")));
static HEARTBEAT: LazyLock<Script> =
    LazyLock::new(|| Script::new("keyring-heartbeat", include_str!("lua/heartbeat.lua")));

/// How a process takes part in the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The service name to announce; `None` only polls, as an operator's command does.
    pub announces: Option<&'static str>,
    /// The active epoch of a keyring that this process creates if there never was one; `None` creates none.
    pub seeds: Option<Epoch>,
}

/// Whether the keyring can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringStatus {
    /// It was not read yet.
    NotRead,
    /// The deployment never had one.
    NotMade,
    /// It was read and this process holds every secret in use.
    Usable,
    /// It is missing, older than before, or needs a secret that this process lacks. Holds the reason.
    Lost(String),
}

#[derive(Debug)]
struct Known {
    /// Restore generation of the snapshot. A snapshot of an earlier generation must not make a restored
    /// keyring look lost.
    generation: u64,
    status: KeyringStatus,
    snapshot: Option<Arc<Snapshot>>,
    /// Monotonic time at which the last answered request was sent.
    polled_at: Option<Duration>,
}

/// Keeps this process's snapshot of the keyring current. Create one per process.
#[derive(Debug)]
pub struct KeyringWatch {
    pool: RedisPool,
    clock: Arc<dyn Clock>,
    secrets: Secrets,
    role: Role,
    instance: Uuid,
    metrics: KeyringMetrics,
    known: RwLock<Known>,
    /// Serialises requests, so that replies are handled in order.
    request_lock: tokio::sync::Mutex<()>,
}

impl KeyringWatch {
    /// Creates a watch without contacting Redis. Give it a dedicated `pool`, so that a revocation arrives
    /// even when the request pool is exhausted.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        clock: Arc<dyn Clock>,
        secrets: Secrets,
        role: Role,
        metrics: KeyringMetrics,
    ) -> Self {
        let instance = ambient::uuid_v7(clock.unix_millis());
        metrics.polled(&clock, clock.monotonic());
        let known = RwLock::new(Known {
            generation: 0,
            status: KeyringStatus::NotRead,
            snapshot: None,
            polled_at: None,
        });
        let request_lock = tokio::sync::Mutex::new(());
        Self { pool, clock, secrets, role, instance, metrics, known, request_lock }
    }

    /// Returns the last snapshot, or `None` while the keyring is missing or unusable.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let known = self.known.read();
        known.snapshot.clone().filter(|_| known.status == KeyringStatus::Usable)
    }

    /// Returns whether the keyring can be used.
    #[must_use]
    pub fn status(&self) -> KeyringStatus {
        self.known.read().status.clone()
    }

    /// Returns whether the keyring is lost: see [`KeyringStatus::Lost`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.known.read().status, KeyringStatus::Lost(_))
    }

    /// Returns the age of the last successful poll, or `None` before the first one.
    #[must_use]
    pub fn polled_ago(&self) -> Option<Duration> {
        let polled_at = self.known.read().polled_at?;
        Some(self.clock.monotonic().saturating_sub(polled_at))
    }

    /// Returns whether the last successful poll is older than [`STALE_AFTER`] or never happened.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.polled_ago().is_none_or(|ago| ago >= STALE_AFTER)
    }

    /// Returns the secrets of this process.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sleeps for one jittered heartbeat interval.
    pub async fn pause(&self) {
        tokio::time::sleep(entropy::jittered(HEARTBEAT_INTERVAL, HEARTBEAT_JITTER)).await;
    }

    /// Sends one heartbeat. If the reply brings a new revision, sends a second one at once, so that the other
    /// instances learn without delay what this process holds of it.
    ///
    /// # Errors
    /// See [`KeyringError`]. If Redis does not answer, the last snapshot stays valid.
    pub async fn heartbeat(&self, deployment: &Deployment) -> Result<Arc<Snapshot>, KeyringError> {
        let _guard = self.request_lock.lock().await;
        self.ask_in_turn(deployment, true).await
    }

    /// Returns a snapshot that is at least as new as this call. Concurrent callers share one request.
    ///
    /// # Errors
    /// As [`Self::heartbeat`].
    pub async fn poll(&self, deployment: &Deployment) -> Result<Arc<Snapshot>, KeyringError> {
        let asked_at = self.clock.monotonic();
        let _guard = self.request_lock.lock().await;
        let known = self.known.read().polled_at.is_some_and(|polled_at| polled_at > asked_at);
        match self.snapshot().filter(|_| known) {
            Some(snapshot) => Ok(snapshot),
            None => self.ask_in_turn(deployment, false).await,
        }
    }

    /// Deregisters this instance, so that no move waits for it.
    ///
    /// # Errors
    /// [`KeyringError::Redis`]. The registration then expires after [`INSTANCE_TTL`].
    pub async fn leave(&self) -> Result<(), KeyringError> {
        let _guard = self.request_lock.lock().await;
        let call = LEAVE.invoke().key(keys::LIVE).key(keys::instance(&self.instance));
        let _left: i64 = call.arg(self.instance.to_string()).run(&self.pool).await?;
        Ok(())
    }

    async fn ask_in_turn(
        &self,
        deployment: &Deployment,
        announce: bool,
    ) -> Result<Arc<Snapshot>, KeyringError> {
        self.follow(deployment);
        let before = self.revision();
        let outcome = self.ask_once(deployment, announce).await;
        if self.role.announces.is_some() && outcome.is_ok() && self.revision() != before {
            // This heartbeat only announces the new revision. The next regular one handles its errors.
            drop(self.ask_once(deployment, true).await);
        }
        let known = self.known.read();
        let revision = known.snapshot.as_ref().map(|snapshot| snapshot.revision());
        drop(known);
        self.metrics.show(self.polled_ago(), self.is_stale(), revision);
        outcome
    }

    /// Drops the snapshot of an earlier restore generation.
    fn follow(&self, deployment: &Deployment) {
        let mut known = self.known.write();
        if known.generation < deployment.generation() {
            let generation = deployment.generation();
            *known = Known { generation, status: KeyringStatus::NotRead, snapshot: None, polled_at: None };
        }
    }

    fn revision(&self) -> Option<u32> {
        self.known.read().snapshot.as_ref().map(|snapshot| snapshot.revision())
    }

    async fn ask_once(&self, deployment: &Deployment, announce: bool) -> Result<Arc<Snapshot>, KeyringError> {
        let sent_at = self.clock.monotonic();
        let mut reply = self.ask(deployment, announce).await?;
        if reply == PollReply::NeverMade
            && let Some(epoch) = self.role.seeds
        {
            let now = self.now();
            if seed::create(&self.pool, deployment, &self.secrets, epoch, now).await? {
                tracing::info!(epoch = epoch.get(), "created the keyring record");
            }
            reply = self.ask(deployment, announce).await?;
        }
        let judged = self.judge(reply);
        let mut known = self.known.write();
        known.polled_at = Some(sent_at);
        self.metrics.polled(&self.clock, sent_at);
        match judged {
            Ok(snapshot) => {
                if known.status != KeyringStatus::Usable {
                    tracing::info!(revision = snapshot.revision(), "keyring usable");
                }
                known.status = KeyringStatus::Usable;
                known.snapshot = Some(Arc::clone(&snapshot));
                Ok(snapshot)
            }
            Err(error) => {
                let status = match &error {
                    KeyringError::NotMade => KeyringStatus::NotMade,
                    other => KeyringStatus::Lost(other.to_string()),
                };
                if known.status != status {
                    tracing::error!(%error, "keyring unusable");
                }
                known.status = status;
                Err(error)
            }
        }
    }

    async fn ask(&self, deployment: &Deployment, announce: bool) -> Result<PollReply, KeyringError> {
        let known = self.known.read().snapshot.clone();
        let (id, presence) = match self.role.announces.filter(|_| announce) {
            Some(service) => {
                let presence = self.presence(service, known.as_deref());
                let json =
                    serde_json::to_vec(&presence).expect("plain data is always serialisable into memory");
                (self.instance.to_string(), json)
            }
            None => (String::new(), Vec::new()),
        };
        let call = HEARTBEAT
            .invoke()
            .key(catalog::keys::DEPLOYMENT)
            .key(keys::KEYRING)
            .key(keys::LIVE)
            .key(keys::LIVE_SEQ)
            .key(keys::instance(&self.instance))
            .arg(deployment.prefix())
            .arg(known.map_or(-1, |snapshot| i64::from(snapshot.revision())))
            .arg(id)
            .arg(presence)
            .arg(INSTANCE_TTL.as_millis().to_string());
        let (status, revision, record): (i64, u32, Vec<u8>) = call.run(&self.pool).await?;
        Ok(match status {
            0 if record.is_empty() => PollReply::Unchanged(revision),
            0 => PollReply::Record(record),
            1 => PollReply::OtherDeployment,
            2 => PollReply::NeverMade,
            _ => PollReply::Gone,
        })
    }

    fn presence(&self, service: &str, known: Option<&Snapshot>) -> Presence {
        let known_epochs = known.into_iter().flat_map(|snapshot| &snapshot.record().tag);
        let known_epochs: Vec<u16> = known_epochs.map(|entry| entry.number.get()).collect();
        // `restore accept` activates a new epoch in one step, so instances announce upcoming epochs too.
        let highest = known_epochs.iter().copied().max().unwrap_or(0);
        let check = |number: u16| {
            let check = self.secrets.tags.check_value(Epoch::new(number)?)?;
            Some((number, hex::encode(check)))
        };
        let tag: BTreeMap<u16, String> = known_epochs.into_iter().filter_map(check).collect();
        let next = (highest + 1..=highest.saturating_add(NEXT_EPOCHS)).filter_map(check).collect();
        let signing = &self.secrets.signing;
        let audit = signing
            .numbers()
            .filter_map(|number| Some((number.get(), signing.vkey(number)?.to_string())))
            .collect();
        Presence {
            service: service.to_owned(),
            revision: known.map_or(0, Snapshot::revision),
            tag,
            audit,
            next,
        }
    }

    /// Checks a reply against the last snapshot and against the secrets of this process.
    fn judge(&self, reply: PollReply) -> Result<Arc<Snapshot>, KeyringError> {
        let known = self.known.read().snapshot.clone();
        let lost = |why: String| Err(KeyringError::Lost(why));
        let snapshot = match (reply, known) {
            (PollReply::Unchanged(revision), Some(known)) if revision == known.revision() => known,
            (PollReply::Unchanged(_), _) => return lost("a new revision came without its record".to_owned()),
            (PollReply::OtherDeployment, _) => {
                return lost("the deployment record is missing or of another deployment".to_owned());
            }
            (PollReply::NeverMade, None) => return Err(KeyringError::NotMade),
            (PollReply::NeverMade | PollReply::Gone, _) => {
                return lost("the keyring record is gone from the durable Redis".to_owned());
            }
            (PollReply::Record(bytes), known) => {
                let stored = StoredKeyring::decode(bytes)?;
                if let Some(known) = known.filter(|known| known.revision() > stored.revision) {
                    let (seen, found) = (known.revision(), stored.revision);
                    return lost(format!("it went back from revision {seen} to {found}"));
                }
                Arc::new(Snapshot::of(&stored))
            }
        };
        match snapshot.first_not_held(&self.secrets.tags) {
            None => Ok(snapshot),
            Some((key, true)) => {
                lost(format!("this process holds another secret for {key} than the one in the keyring"))
            }
            Some((key, false)) => lost(format!("this process has no secret for {key}, which is in use")),
        }
    }

    fn now(&self) -> OffsetDateTime {
        let nanos = i128::from(self.clock.unix_millis()) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// The reply of `heartbeat.lua`.
#[derive(Debug, PartialEq, Eq)]
enum PollReply {
    /// The keyring has this revision, which the process knows.
    Unchanged(u32),
    /// The stored record.
    Record(Vec<u8>),
    /// The deployment record is missing or of another deployment.
    OtherDeployment,
    /// The deployment never had a keyring.
    NeverMade,
    /// The deployment had a keyring, and its record is missing.
    Gone,
}

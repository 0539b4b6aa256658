//! What this process knows of the keyring: it heartbeats every half second, and hears in the reply what has changed. Asked for in between it
//! only listens, which writes nothing. A process that stops takes its leave, so that nobody waits for it.
//!
//! ```text
//! not read → stands          a record was read, and this process holds the secret of every tag key in use
//! not read → not made        there is none, and there never was one; a process that may seed makes it
//! stands   → lost            it is gone, went back, or names a key in use whose secret this process lacks
//! ```
//!
//! What was heard stays known while Redis is away; how long ago it was heard is for readiness and metrics to tell. From
//! `lost` a record that can be worked with leads back.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ambient::{Clock, entropy};
use catalog::{Deployment, StoredDeployment};
use parking_lot::RwLock;
use redis_pool::{RedisPool, Script};
use tag_id::Epoch;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::KeyringError;
use crate::keys;
use crate::metrics::KeyringMetrics;
use crate::presence::{LIVES_FOR, Presence};
use crate::record::StoredKeyring;
use crate::seed;
use crate::signing::SigningKeys;
use crate::snapshot::Snapshot;

/// Pause between two heartbeats: with the spread and one lost beat, a change is heard well within 2 s.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Spread of that pause, in thousandths.
pub const HEARTBEAT_JITTER: u16 = 200;

/// From when on an instance counts as not having heard.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// How many epochs behind the highest one of the keyring an instance says its check value of.
pub(crate) const NEXT_EPOCHS: u16 = 16;

static LEAVE: LazyLock<Script> =
    LazyLock::new(|| Script::new("keyring-leave", include_str!("lua/leave.lua")));
static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new("keyring-beat", include_str!("lua/beat.lua")));

/// The secrets that a process holds.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Tag secrets.
    pub tags: Arc<tag_id::Keyring>,
    /// Signing keys.
    pub signing: Arc<SigningKeys>,
}

/// What a process is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The service whose live instance it is; `None` only listens, as an operator's command does.
    pub announces: Option<&'static str>,
    /// The epoch that is active in a keyring that this process makes where there never was one; `None` makes none.
    pub seeds: Option<Epoch>,
}

/// What is known of the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringStatus {
    /// Redis has not told yet.
    NotRead,
    /// There is none, and there never was one.
    NotMade,
    /// It is known and can be worked with.
    Stands,
    /// It is not the one seen before, or cannot be worked with: why.
    Lost(String),
}

#[derive(Debug)]
struct Known {
    /// The deployment's restore generation that it was heard in: what was known in an earlier one is not held against a restored keyring.
    generation: u64,
    standing: KeyringStatus,
    snapshot: Option<Arc<Snapshot>>,
    /// When the last beat that was answered was sent, by the monotonic clock.
    polled_at: Option<Duration>,
}

/// One per process.
#[derive(Debug)]
pub struct KeyringWatch {
    pool: RedisPool,
    clock: Arc<dyn Clock>,
    secrets: Secrets,
    role: Role,
    instance: Uuid,
    metrics: KeyringMetrics,
    known: RwLock<Known>,
    /// Replies are taken in the order of their questions.
    beating: tokio::sync::Mutex<()>,
}

impl KeyringWatch {
    /// Nothing is asked of Redis yet. `pool` is best one of its own: an instance whose permits are all taken must hear of a revoked
    /// key nevertheless.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        clock: Arc<dyn Clock>,
        secrets: Secrets,
        role: Role,
        metrics: KeyringMetrics,
    ) -> Self {
        let instance = ambient::uuid_v7(clock.unix_millis());
        let known = RwLock::new(Known {
            generation: 0,
            standing: KeyringStatus::NotRead,
            snapshot: None,
            polled_at: None,
        });
        Self { pool, clock, secrets, role, instance, metrics, known, beating: tokio::sync::Mutex::new(()) }
    }

    /// The keyring as it was last heard, while it can be worked with.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let known = self.known.read();
        known.snapshot.clone().filter(|_| known.standing == KeyringStatus::Stands)
    }

    /// What is known of the keyring.
    #[must_use]
    pub fn standing(&self) -> KeyringStatus {
        self.known.read().standing.clone()
    }

    /// Whether it is not the one seen before, or cannot be worked with.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.known.read().standing, KeyringStatus::Lost(_))
    }

    /// How long ago it was last heard, whether changed or not; `None` before the first time.
    #[must_use]
    pub fn polled_ago(&self) -> Option<Duration> {
        let polled_at = self.known.read().polled_at?;
        Some(self.clock.monotonic().saturating_sub(polled_at))
    }

    /// Whether it was not heard for too long, or never.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.polled_ago().is_none_or(|ago| ago >= STALE_AFTER)
    }

    /// The secrets this process holds.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Waits as long as lies between two heartbeats.
    pub async fn pause(&self) {
        tokio::time::sleep(entropy::jittered(HEARTBEAT_INTERVAL, HEARTBEAT_JITTER)).await;
    }

    /// Beats once, and once more when that brought news, so that others learn at once what this process holds of it.
    ///
    /// # Errors
    /// See [`KeyringError`]; what was known stays known when Redis did not answer.
    pub async fn heartbeat(&self, deployment: &Deployment) -> Result<Arc<Snapshot>, KeyringError> {
        let _turn = self.beating.lock().await;
        self.ask_in_turn(deployment, true).await
    }

    /// The keyring as of now or later. Of many that ask at once, one listens for all that came before it.
    ///
    /// # Errors
    /// As [`Self::heartbeat`].
    pub async fn poll(&self, deployment: &Deployment) -> Result<Arc<Snapshot>, KeyringError> {
        let asked_at = self.clock.monotonic();
        let _turn = self.beating.lock().await;
        let known = self.known.read().polled_at.is_some_and(|polled_at| polled_at > asked_at);
        match self.snapshot().filter(|_| known) {
            Some(snapshot) => Ok(snapshot),
            None => self.ask_in_turn(deployment, false).await,
        }
    }

    /// Takes leave: this instance no longer counts as living.
    ///
    /// # Errors
    /// [`KeyringError::Redis`]. It then ceases to count by itself.
    pub async fn leave(&self) -> Result<(), KeyringError> {
        let _turn = self.beating.lock().await;
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
            // What it brings is taken by the next beat; it only says what this process holds.
            drop(self.ask_once(deployment, true).await);
        }
        let known = self.known.read();
        let revision = known.snapshot.as_ref().map(|snapshot| snapshot.revision());
        drop(known);
        self.metrics.show(self.polled_ago(), self.is_stale(), revision);
        outcome
    }

    /// Forgets what was known in an earlier restore generation.
    fn follow(&self, deployment: &Deployment) {
        let mut known = self.known.write();
        if known.generation < deployment.generation() {
            let generation = deployment.generation();
            *known = Known { generation, standing: KeyringStatus::NotRead, snapshot: None, polled_at: None };
        }
    }

    fn revision(&self) -> Option<u32> {
        self.known.read().snapshot.as_ref().map(|snapshot| snapshot.revision())
    }

    async fn ask_once(&self, deployment: &Deployment, announce: bool) -> Result<Arc<Snapshot>, KeyringError> {
        let sent_at = self.clock.monotonic();
        let mut heard = self.ask(deployment, announce).await?;
        if heard == Heard::NeverMade
            && let Some(epoch) = self.role.seeds
        {
            let now = self.now();
            if seed::make(&self.pool, deployment, &self.secrets, epoch, now).await? {
                tracing::info!(epoch = epoch.get(), "made the keyring record");
            }
            heard = self.ask(deployment, announce).await?;
        }
        let judged = self.judge(heard);
        let mut known = self.known.write();
        known.polled_at = Some(sent_at);
        match judged {
            Ok(snapshot) => {
                if known.standing != KeyringStatus::Stands {
                    tracing::info!(revision = snapshot.revision(), "the keyring is there");
                }
                known.standing = KeyringStatus::Stands;
                known.snapshot = Some(Arc::clone(&snapshot));
                Ok(snapshot)
            }
            Err(error) => {
                let standing = match &error {
                    KeyringError::NotMade => KeyringStatus::NotMade,
                    other => KeyringStatus::Lost(other.to_string()),
                };
                if known.standing != standing {
                    tracing::error!(why = %error, "the keyring cannot be worked with");
                }
                known.standing = standing;
                Err(error)
            }
        }
    }

    async fn ask(&self, deployment: &Deployment, announce: bool) -> Result<Heard, KeyringError> {
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
        let call = BEAT
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
            .arg(LIVES_FOR.as_millis().to_string());
        let (status, revision, record): (i64, u32, Vec<u8>) = call.run(&self.pool).await?;
        Ok(match status {
            0 if record.is_empty() => Heard::Unchanged(revision),
            0 => Heard::Record(record),
            1 => Heard::OtherDeployment,
            2 => Heard::NeverMade,
            _ => Heard::Gone,
        })
    }

    fn presence(&self, service: &str, known: Option<&Snapshot>) -> Presence {
        let known_epochs = known.into_iter().flat_map(|snapshot| &snapshot.record().tag);
        let known_epochs: Vec<u16> = known_epochs.map(|entry| entry.number.get()).collect();
        // A restored state is accepted together with a new epoch, which nobody can be asked about first.
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

    /// Holds what was heard against what is known and held.
    fn judge(&self, heard: Heard) -> Result<Arc<Snapshot>, KeyringError> {
        let known = self.known.read().snapshot.clone();
        let lost = |why: String| Err(KeyringError::Lost(why));
        let snapshot = match (heard, known) {
            (Heard::Unchanged(revision), Some(known)) if revision == known.revision() => known,
            (Heard::Unchanged(_), _) => return lost("its revision came without its record".to_owned()),
            (Heard::OtherDeployment, _) => {
                return lost("the deployment record is gone, or another".to_owned());
            }
            (Heard::NeverMade, None) => return Err(KeyringError::NotMade),
            (Heard::NeverMade | Heard::Gone, _) => {
                return lost("the keyring record is gone from the durable Redis".to_owned());
            }
            (Heard::Record(bytes), known) => {
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
                lost(format!("this process holds another secret for {key} than the keyring names"))
            }
            Some((key, false)) => lost(format!("this process has no secret for {key}, which is in use")),
        }
    }

    fn now(&self) -> OffsetDateTime {
        let nanos = i128::from(self.clock.unix_millis()) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Unchanged(u32),
    Record(Vec<u8>),
    OtherDeployment,
    NeverMade,
    Gone,
}

/// The deployment record as it stands, if it is the one this process has seen.
pub(crate) async fn standing_deployment(
    pool: &RedisPool,
    deployment: &Deployment,
) -> Result<StoredDeployment, KeyringError> {
    let stored = StoredDeployment::read(pool).await?;
    let gone = || KeyringError::Lost("the deployment record is gone, or another".to_owned());
    stored.filter(|stored| stored.id() == deployment.id()).ok_or_else(gone)
}

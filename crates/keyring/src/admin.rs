//! Moving keys: what is read, and the one effect that a move becomes.
//!
//! Nothing is written here. A planned move is an [`Effect`] that compares the exact bytes of everything it was planned from
//! (the keyring record; for a key that becomes active also who lives, and the deployment record), and travels with its audit
//! event. Whoever appends it and meets a failed check plans again.

use std::time::Duration;

use audit_chain::{AuditAction, Details, Effect, Precondition, RedisWrite};
use catalog::{Deployment, StoredDeployment};
use redis_pool::RedisPool;
use time::OffsetDateTime;

use crate::deployment::standing_deployment;
use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::moves::{Move, Moved};
use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::presence::Live;
use crate::record::{KeyringEntry, KeyringRecord, Public, StoredKeyring};
use crate::secrets::Secrets;
use crate::snapshot::own_check;

/// How long a move waits for live instances to have heard of its key: a key that was added a moment ago reaches them with
/// their next beat.
pub const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// Pause between two looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A move that was planned.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// It was made already: this is the record as it stands.
    Nothing(StoredKeyring),
    /// It is to be written.
    Change(Planned),
}

/// What is to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The event's action: `keyring.key_added`, `…_activated`, `…_retired`, `…_revoked`, `…_destroyed`,
    /// `keyring.date_corrected`.
    pub action: AuditAction,
    /// The event's resource.
    pub resource: String,
    /// The event's details.
    pub details: Details,
    /// What is written with it. A check that does not hold means that something has changed since: plan again.
    pub effect: Effect,
    /// The record after it.
    pub record: KeyringRecord,
    /// Its revision.
    pub revision: u32,
    former_date: Option<OffsetDateTime>,
}

/// Reads the keyring and plans its moves. Cheap to make.
#[derive(Debug, Clone)]
pub struct KeyringAdmin {
    pool: RedisPool,
    secrets: Secrets,
}

impl KeyringAdmin {
    /// Reads through `pool`; `secrets` are this process's, of which a new key's public part is made.
    #[must_use]
    pub fn new(pool: RedisPool, secrets: Secrets) -> Self {
        Self { pool, secrets }
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The keyring record as it stands; `None` where there is none.
    ///
    /// # Errors
    /// [`KeyringError::Redis`], [`KeyringError::Record`].
    pub async fn read(&self) -> Result<Option<StoredKeyring>, KeyringError> {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(keys::KEYRING);
        match self.pool.command(get).await? {
            redis::Value::BulkString(bytes) => Ok(Some(StoredKeyring::decode(bytes)?)),
            _ => Ok(None),
        }
    }

    /// The other tag epochs of `record` that derive from the same master secret as this one, as far as this process holds them: who
    /// has the one secret has the other.
    pub fn sharing<'a>(
        &'a self,
        record: &'a KeyringRecord,
        epoch: KeyNumber,
    ) -> impl Iterator<Item = KeyNumber> + 'a {
        let others = record.tag.iter().map(|entry| entry.number).filter(move |number| *number != epoch);
        others.filter(move |other| self.secrets.tags.share_secret(epoch.epoch(), other.epoch()))
    }

    /// The instances that live.
    ///
    /// # Errors
    /// [`KeyringError::Redis`].
    pub async fn live(&self) -> Result<Live, KeyringError> {
        Live::read(&self.pool).await
    }

    /// Plans a move at `now`. A key that is to become active waits, at most [`HEARD_WITHIN`], for live instances that have
    /// not heard of it.
    ///
    /// # Errors
    /// [`KeyringError::Refused`] when it cannot be made; else as reading fails.
    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline of tokio's own timers, which a test's paused time moves too"
    )]
    pub async fn plan(
        &self,
        deployment: &Deployment,
        key: KeyRef,
        what: &Move,
        now: OffsetDateTime,
    ) -> Result<Plan, KeyringError> {
        let again = async {
            loop {
                let plan = self.plan_once(deployment, key, what, now).await;
                if !matches!(plan, Err(KeyringError::Refused(MoveRefusal::Unheard { .. }))) {
                    return plan;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(HEARD_WITHIN, again).await {
            Ok(plan) => plan,
            // Who has not heard by now is told by one more look.
            Err(_) => self.plan_once(deployment, key, what, now).await,
        }
    }

    async fn plan_once(
        &self,
        deployment: &Deployment,
        key: KeyRef,
        what: &Move,
        now: OffsetDateTime,
    ) -> Result<Plan, KeyringError> {
        let stored = self.read().await?.ok_or(KeyringError::NotMade)?;
        let Some(moved) = stored.record.after(key, what, self.own(key), now)? else {
            return Ok(Plan::Nothing(stored));
        };
        let revision = stored.revision.checked_add(1).ok_or(MoveRefusal::Full)?;
        let mut effect = Effect::none()
            .check(Precondition::Equals { key: keys::KEYRING.into(), value: stored.bytes.clone() })
            .write(RedisWrite::Set { key: keys::KEYRING.into(), value: moved.record.encode(revision) });
        if let Some(active) = moved.activated {
            let entry = stored.record.entry(active).ok_or(MoveRefusal::Unknown(active))?;
            if self.own(active).is_some_and(|own| own != entry.public) {
                return Err(MoveRefusal::OtherSecret(active).into());
            }
            let live = self.live().await?;
            live.can_work_with(active, entry, stored.revision)?;
            effect = effect.check(live.unchanged());
        }
        if let Some(amended) = self.amended(deployment, key, what, &moved).await? {
            let (before, after) = amended;
            let deployment = || catalog::keys::DEPLOYMENT.into();
            effect = effect
                .check(Precondition::Equals { key: deployment(), value: before.bytes().to_vec() })
                .write(RedisWrite::Set { key: deployment(), value: after.bytes().to_vec() });
        }
        let Moved { record, action, details, .. } = moved;
        let former = stored.record.entry(key).and_then(|entry| entry.revoked.as_ref());
        let former_date = former.map(|revocation| revocation.compromised_since);
        let resource = key.resource();
        Ok(Plan::Change(Planned { action, resource, details, effect, record, revision, former_date }))
    }

    /// The deployment record before and after, where a tag key enters or leaves use.
    async fn amended(
        &self,
        deployment: &Deployment,
        key: KeyRef,
        what: &Move,
        moved: &Moved,
    ) -> Result<Option<(StoredDeployment, StoredDeployment)>, KeyringError> {
        let activated = moved.activated.filter(|active| active.family == KeyFamily::Tag);
        let destroyed = key.family == KeyFamily::Tag && *what == Move::Destroy;
        if activated.is_none() && !destroyed {
            return Ok(None);
        }
        let before = standing_deployment(&self.pool, deployment).await?;
        let after = match activated.and_then(|active| Some((active, moved.record.entry(active)?.check()?))) {
            Some((active, check)) => before.clone().with_check(active.number.epoch(), check),
            None => before.clone().without_check(key.number.epoch()),
        };
        Ok((after != before).then_some((before, after)))
    }

    /// The public part of the secret that this process holds under that number.
    fn own(&self, key: KeyRef) -> Option<Public> {
        match key.family {
            KeyFamily::Tag => own_check(&self.secrets.tags, key.number.epoch()),
            KeyFamily::Audit => self.secrets.signing.vkey(key.number).cloned().map(Public::Vkey),
        }
    }
}

impl Planned {
    /// Since when the key was not believed before the move, if it was revoked then.
    #[must_use]
    pub fn former_date(&self) -> Option<OffsetDateTime> {
        self.former_date
    }

    /// The key as it will stand.
    #[must_use]
    pub fn entry(&self, key: KeyRef) -> Option<&KeyringEntry> {
        self.record.entry(key)
    }
}

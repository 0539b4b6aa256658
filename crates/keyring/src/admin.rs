//! Plans moves of keys. Writes nothing.
//!
//! A planned move is an [`Effect`] that the caller appends with its audit event. Its preconditions compare
//! the exact bytes of everything that the plan was based on: the keyring record and, where the move depends
//! on them, the registration counter and the deployment record. If a precondition fails, the caller plans
//! again.

use std::time::Duration;

use audit_chain::{AuditAction, Details, Effect, Precondition, RedisWrite};
use catalog::{Deployment, StoredDeployment};
use redis_pool::RedisPool;
use time::OffsetDateTime;

use crate::deployment::stored_deployment;
use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::moves::{Move, Moved};
use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::presence::LiveInstances;
use crate::record::{KeyringEntry, KeyringRecord, Public, StoredKeyring};
use crate::secrets::Secrets;
use crate::snapshot::own_check;

/// How long a move waits until live instances have read its key. Their next heartbeat brings a new key.
pub const ACTIVATION_WAIT: Duration = Duration::from_secs(3);

/// Pause between two attempts during that wait.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The result of planning a move.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// The move was made before. Holds the stored record.
    Nothing(StoredKeyring),
    /// The move changes the keyring.
    Change(Planned),
}

/// A planned change of the keyring.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Action of the audit event: `keyring.key_added`, `…_activated`, `…_retired`, `…_revoked`,
    /// `…_destroyed`, `keyring.date_corrected`.
    pub action: AuditAction,
    /// Resource of the audit event.
    pub resource: String,
    /// Details of the audit event.
    pub details: Details,
    /// The effect to append with the event. If a precondition fails, the state has changed: plan again.
    pub effect: Effect,
    /// The record after the move.
    pub record: KeyringRecord,
    /// The revision after the move.
    pub revision: u32,
    former_date: Option<OffsetDateTime>,
}

/// Reads the keyring and plans its moves. Cheap to create.
#[derive(Debug, Clone)]
pub struct KeyringAdmin {
    pool: RedisPool,
    secrets: Secrets,
}

impl KeyringAdmin {
    /// Creates a planner that reads through `pool`. The public part of a new key comes from `secrets`.
    #[must_use]
    pub fn new(pool: RedisPool, secrets: Secrets) -> Self {
        Self { pool, secrets }
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Reads the keyring record; returns `None` if there is none.
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

    /// Returns the other tag epochs of `record` that have the same master secret as `epoch`, so that one leak
    /// reveals all of them. Includes only epochs whose secret this process holds.
    pub fn sharing<'a>(
        &'a self,
        record: &'a KeyringRecord,
        epoch: KeyNumber,
    ) -> impl Iterator<Item = KeyNumber> + 'a {
        let others = record.tag.iter().map(|entry| entry.number).filter(move |number| *number != epoch);
        others.filter(move |other| self.secrets.tags.share_secret(epoch.epoch(), other.epoch()))
    }

    /// Reads the live instances.
    ///
    /// # Errors
    /// [`KeyringError::Redis`].
    pub async fn live(&self) -> Result<LiveInstances, KeyringError> {
        LiveInstances::read(&self.pool).await
    }

    /// Plans a move at `now`. If the move makes a key active, waits up to [`ACTIVATION_WAIT`] for live
    /// instances that have not read the key yet.
    ///
    /// # Errors
    /// [`KeyringError::Refused`] if the move is rejected; else as [`Self::read`].
    #[allow(clippy::disallowed_methods, reason = "a deadline that tokio's paused time moves in tests")]
    pub async fn plan(
        &self,
        deployment: &Deployment,
        key: KeyRef,
        what: &Move,
        now: OffsetDateTime,
    ) -> Result<Plan, KeyringError> {
        let attempts = async {
            loop {
                let plan = self.plan_once(deployment, key, what, now).await;
                if !matches!(plan, Err(KeyringError::Refused(MoveRefusal::NotYetRead { .. }))) {
                    return plan;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        match tokio::time::timeout(ACTIVATION_WAIT, attempts).await {
            Ok(plan) => plan,
            // The last attempt returns the rejection, with the instances that have not read the key.
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

    /// Returns the deployment record before and after a move that puts a tag key into or out of use.
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
        let before = stored_deployment(&self.pool, deployment).await?;
        let after = match activated.and_then(|active| Some((active, moved.record.entry(active)?.check()?))) {
            Some((active, check)) => before.clone().with_check(active.number.epoch(), check),
            None => before.clone().without_check(key.number.epoch()),
        };
        Ok((after != before).then_some((before, after)))
    }

    /// Returns the public part of the secret that this process holds under a key's number.
    fn own(&self, key: KeyRef) -> Option<Public> {
        match key.family {
            KeyFamily::Tag => own_check(&self.secrets.tags, key.number.epoch()),
            KeyFamily::Audit => self.secrets.signing.vkey(key.number).cloned().map(Public::Vkey),
        }
    }
}

impl Planned {
    /// Returns `compromised_since` before the move, if the key was revoked then.
    #[must_use]
    pub fn former_date(&self) -> Option<OffsetDateTime> {
        self.former_date
    }

    /// Returns a key of the record after the move.
    #[must_use]
    pub fn entry(&self, key: KeyRef) -> Option<&KeyringEntry> {
        self.record.entry(key)
    }
}

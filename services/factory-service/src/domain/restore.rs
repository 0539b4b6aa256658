//! `restore accept`: an operator accepts the state in Redis although it may be older than a state that was
//! seen before.
//!
//! One append raises the restore generation in the deployment record, activates a new tag epoch and writes
//! `deployment.restored`. Running processes adopt it automatically, and so does `STATE_DIR`.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, entropy, from_unix_millis};
use audit_chain::{
    AppendError, Appender, AppenderConfig, AuditAction, AuditLog, AuditMetrics, Event, Head, ReadError,
    SafeInt,
};
use catalog::{Deployment, DeploymentError, DeploymentGate, Expectation, Init, StoredDeployment};
use keyring::{KeyringAdmin, KeyringError, MoveRefusal, Secrets};
use redis_pool::RedisPool;
use storage::{Known, StateDir, StateDirError};
use tag_id::Epoch;

use crate::domain::identity::Caller;
use crate::domain::update::{Update, update};

/// How long live instances have to announce that they hold the new epoch's secret.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts while they have not.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// Accepts a restored state. It needs no running service.
pub(crate) struct Restore {
    pub(crate) pool: RedisPool,
    pub(crate) secrets: Secrets,
    pub(crate) audit_origin: String,
    pub(crate) state_dir: Option<StateDir>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The operator's request.
#[derive(Debug)]
pub(crate) struct RestoreRequest {
    pub(crate) reason: String,
    /// The new tag epoch. The default is the next unused one.
    pub(crate) epoch: Option<Epoch>,
    /// Accepts the state also if `STATE_DIR` shows that nothing was lost.
    pub(crate) force: bool,
}

/// What was done.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) generation: u64,
    pub(crate) epoch: Epoch,
    /// The number of entries that `STATE_DIR` has seen, if it has seen any.
    pub(crate) old_size: Option<u64>,
    /// The number of entries in the restored chain.
    pub(crate) size: u64,
    pub(crate) seq: u64,
}

/// Why the state was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAccepted {
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("the audit chain cannot be read: {0}")]
    Chain(#[from] ReadError),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("the event cannot be built: {0}")]
    Event(#[from] audit_chain::EventError),
    #[error(
        "nothing was lost: STATE_DIR has seen {seen} entries of the audit trail, and the {found} in Redis \
         contain them; --force accepts the state anyway"
    )]
    NothingLost { seen: u64, found: u64 },
    #[error(
        "this process has no secret for tag epoch {0}, which would be the new one: set TAG_MASTER_SECRET_{0} \
         (openssl rand -hex 32) for every instance of both services and for this command, restart them, and \
         repeat; nothing was changed"
    )]
    NoSecret(u16),
    #[error("tag epoch {0} was or may have been used; --epoch takes a higher one; nothing was changed")]
    Used(u16),
    #[error("there is no tag epoch above {0}; nothing was changed")]
    NoEpochLeft(u16),
    #[error("others changed the keyring or the deployment during every attempt; nothing was changed")]
    Overtaken,
}

impl Restore {
    /// Accepts the state in Redis.
    pub(crate) async fn accept(&self, wanted: &RestoreRequest) -> Result<Accepted, NotAccepted> {
        let gate = DeploymentGate::new(self.pool.clone(), self.expectation(), Init::Never);
        let deployment = gate.refresh(self.now()).await?;
        let known = self.state_dir.as_ref().map(|dir| dir.known(deployment.id())).transpose()?.flatten();
        let config = AppenderConfig::new(self.audit_origin.clone(), vec![deployment.guard()]);
        let metrics = AuditMetrics::default();
        let appender = Appender::start(self.pool.clone(), config, Arc::clone(&self.clock), &metrics);
        let found = appender.log().head().await?;
        if let Some(known) = &known
            && !wanted.force
            && !self.is_rolled_back(known, deployment).await?
        {
            return Err(NotAccepted::NothingLost { seen: known.size, found: found.size });
        }
        let admin = KeyringAdmin::new(self.pool.clone(), self.secrets.clone());
        let epoch = self.epoch(&admin, known.as_ref(), wanted.epoch).await?;
        let mut waited = Duration::ZERO;
        loop {
            let accepted = update(&*self.clock, || async {
                match self.try_once(&admin, &appender, (known.as_ref(), found), epoch, wanted).await {
                    Err(NotAccepted::Append(AppendError::Precondition { .. })) => Ok(Update::Overtaken),
                    ended => ended.map(Update::Done),
                }
            });
            match accepted.await {
                Err(NotAccepted::Keyring(KeyringError::Refused(
                    MoveRefusal::Lacking { .. } | MoveRefusal::NotYetRead { .. },
                ))) if waited < ANNOUNCE_TIMEOUT => {
                    waited += TRY_EVERY;
                    tokio::time::sleep(TRY_EVERY).await;
                }
                Ok(Update::Done(accepted)) => return Ok(accepted),
                Ok(Update::Overtaken) => return Err(NotAccepted::Overtaken),
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_once(
        &self,
        admin: &KeyringAdmin,
        appender: &Appender,
        (known, found): (Option<&Known>, Head),
        epoch: Epoch,
        wanted: &RestoreRequest,
    ) -> Result<Accepted, NotAccepted> {
        let gone = || DeploymentError::Lost("the durable Redis has no deployment record".to_owned());
        let before = StoredDeployment::read(&self.pool).await?.ok_or_else(gone)?;
        // No generation is used twice, however often which backup is restored. Without STATE_DIR, only the
        // time is sure to have advanced.
        let known_generation = known.map_or(0, |known| known.generation);
        let generation =
            (before.generation().max(known_generation) + 1).max(self.clock.unix_millis() / 1_000);
        let plan = admin.plan_restore(&before, epoch, generation, self.now()).await?;
        let old_size = known.map(|known| known.size);
        let integer = |number: u64| SafeInt::try_from(i64::try_from(number).unwrap_or(i64::MAX));
        let details =
            plan.details.with("size", integer(found.size)?).with("generation", integer(generation)?);
        let details = details.with("old_size", old_size.map(integer).transpose()?);
        let millis = self.clock.unix_millis();
        let (resource, details) =
            (format!("deployment/{}", before.id()), details.with("reason", wanted.reason.as_str()));
        let event = Caller::command_line(millis).event(AuditAction::DeploymentRestored, resource, details);
        let event = Event::new(millis, ambient::uuid_v7(millis), entropy::random_bytes(), event)?;
        let appended = appender.append(&event, plan.effect).await?;
        if let Some(dir) = &self.state_dir {
            let head = Head { size: appended.seq + 1, hash: appended.hash };
            let initial = Known::initial(before.id());
            let now = Known { generation, highest_epoch: epoch.get(), ..initial }.with_head(Some(head));
            dir.merge(now)?;
        }
        Ok(Accepted { generation, epoch, old_size, size: found.size, seq: appended.seq })
    }

    /// Returns whether Redis lacks entries that `STATE_DIR` has seen, or holds others in their place.
    async fn is_rolled_back(&self, known: &Known, deployment: &Deployment) -> Result<bool, NotAccepted> {
        let Ok(head) = known.head_in(deployment.generation()) else { return Ok(true) };
        let Some(head) = head else { return Ok(false) };
        let log = AuditLog::new(self.pool.clone(), &self.audit_origin);
        log.remember(head);
        match log.head().await {
            Ok(_) => Ok(false),
            Err(ReadError::StateLost(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the new tag epoch: `wanted`, or the first unused one.
    async fn epoch(
        &self,
        admin: &KeyringAdmin,
        known: Option<&Known>,
        wanted: Option<Epoch>,
    ) -> Result<Epoch, NotAccepted> {
        let highest = known.map_or(0, |known| known.highest_epoch);
        let next = admin.next_epoch(highest).await?.ok_or(NotAccepted::NoEpochLeft(Epoch::MAX.get()))?;
        let epoch = wanted.unwrap_or(next);
        if epoch < next {
            return Err(NotAccepted::Used(epoch.get()));
        }
        if !self.secrets.tags.has(epoch) {
            return Err(NotAccepted::NoSecret(epoch.get()));
        }
        Ok(epoch)
    }

    fn expectation(&self) -> Expectation {
        let tag_keys = Arc::clone(&self.secrets.tags);
        Expectation { tag_keys, adds_epoch: None, audit_origin: self.audit_origin.clone() }
    }

    fn now(&self) -> time::OffsetDateTime {
        from_unix_millis(self.clock.unix_millis())
    }
}

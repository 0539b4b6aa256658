//! Helpers of the tests: a deployment, and processes in it with the secrets that a test needs.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{AppendError, Appended, Appender, AppenderConfig, AuditMetrics, Event, NewEvent};
use catalog::{Deployment, DeploymentGate, Expectation, Init};
use keyring::{
    KeyNumber, KeyRef, KeyringAdmin, KeyringError, KeyringMetrics, KeyringWatch, Move, MoveRefusal, Plan,
    Planned, Role, Secrets, SigningKeys, SigningSeed,
};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use tag_id::{Epoch, MasterSecret, TagKeys};
use test_support::RedisServer;
use time::OffsetDateTime;

pub(crate) const ORIGIN: &str = "voketag.local/audit";
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn now() -> OffsetDateTime {
    let millis = i128::from(SystemClock::new().unix_millis());
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap()
}

pub(crate) fn epoch(number: u16) -> Epoch {
    Epoch::new(number).unwrap()
}

pub(crate) fn number(number: u16) -> KeyNumber {
    KeyNumber::new(number).unwrap()
}

pub(crate) fn tag(number: u16) -> KeyRef {
    KeyRef::tag(epoch(number))
}

pub(crate) fn audit(of: u16) -> KeyRef {
    KeyRef::audit(number(of))
}

pub(crate) fn pool_within(url: &str, command_timeout: Duration) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(16).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: WAIT,
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

/// Returns secrets of these tag epochs and signing keys; each secret consists of its number.
pub(crate) fn secrets(tags: &[u16], signing: &[u16]) -> Secrets {
    let byte = |number: u16| u8::try_from(number).unwrap();
    let tags = tags.iter().map(|of| (epoch(*of), MasterSecret::from([byte(*of); 32])));
    let seeds = signing.iter().map(|of| (number(*of), SigningSeed::from([byte(*of); 32])));
    Secrets {
        tags: Arc::new(TagKeys::new(None, tags)),
        signing: Arc::new(SigningKeys::new(ORIGIN, seeds).unwrap()),
    }
}

pub(crate) const FACTORY: Role = Role { announces: Some("factory-service"), seeds: Some(Epoch::MIN) };
pub(crate) const SCANNER: Role = Role { announces: Some("scan-service"), seeds: None };
pub(crate) const LISTENER: Role = Role { announces: None, seeds: None };

/// A Redis with a deployment under tag epoch 1.
pub(crate) struct Fixture {
    pub(crate) redis: RedisServer,
    pub(crate) pool: RedisPool,
    pub(crate) deployment: Deployment,
    pub(crate) appender: Appender,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::start().await;
        let pool = pool_within(&redis.url(), WAIT);
        let expectation = Expectation {
            tag_keys: secrets(&[1], &[]).tags,
            adds_epoch: Some(Epoch::MIN),
            audit_origin: ORIGIN.to_owned(),
        };
        let gate = DeploymentGate::new(pool.clone(), expectation, Init::Auto);
        let deployment = gate.refresh(now()).await.unwrap().clone();
        let config = AppenderConfig::new(ORIGIN, vec![deployment.guard()]);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let appender = Appender::start(pool.clone(), config, clock, &AuditMetrics::default());
        Self { redis, pool, deployment, appender }
    }

    /// Starts a process that has sent one heartbeat. Without a keyring the heartbeat fails, which is ignored.
    pub(crate) async fn process(&self, role: Role, secrets: Secrets) -> Arc<KeyringWatch> {
        let watch = self.watch(role, secrets);
        drop(watch.heartbeat(&self.deployment).await);
        watch
    }

    pub(crate) fn watch(&self, role: Role, secrets: Secrets) -> Arc<KeyringWatch> {
        let clock = Arc::new(SystemClock::new());
        Arc::new(KeyringWatch::new(self.pool.clone(), clock, secrets, role, KeyringMetrics::default()))
    }

    pub(crate) fn admin(&self, secrets: Secrets) -> KeyringAdmin {
        KeyringAdmin::new(self.pool.clone(), secrets)
    }

    pub(crate) async fn plan(
        &self,
        admin: &KeyringAdmin,
        key: KeyRef,
        what: &Move,
    ) -> Result<Plan, KeyringError> {
        admin.plan(&self.deployment, key, what, now()).await
    }

    pub(crate) async fn append(&self, planned: &Planned) -> Result<Appended, AppendError> {
        let what = NewEvent {
            tenant: "default".into(),
            actor: "key/test".into(),
            action: planned.action.into(),
            resource: planned.resource.clone(),
            request_id: "req".into(),
            ip: None,
            details: planned.details.clone(),
        };
        let now = SystemClock::new().unix_millis();
        let event = Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what).unwrap();
        self.appender.append(&event, planned.effect.clone()).await
    }

    /// Plans and writes a move, and plans again if another move was written first.
    pub(crate) async fn make(
        &self,
        admin: &KeyringAdmin,
        key: KeyRef,
        what: &Move,
    ) -> Result<u32, KeyringError> {
        loop {
            match self.plan(admin, key, what).await? {
                Plan::Nothing(stored) => return Ok(stored.revision),
                Plan::Change(planned) => match self.append(&planned).await {
                    Ok(_) => return Ok(planned.revision),
                    Err(AppendError::Precondition { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                },
            }
        }
    }

    pub(crate) async fn refusal(&self, admin: &KeyringAdmin, key: KeyRef, what: &Move) -> MoveRefusal {
        match self.plan(admin, key, what).await {
            Err(KeyringError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn revoke(since: OffsetDateTime) -> Move {
    Move::Revoke { reason: "leaked".to_owned(), compromised_since: since }
}

pub(crate) fn correct(since: OffsetDateTime) -> Move {
    Move::CorrectDate { reason: "a mistyped year".to_owned(), compromised_since: since }
}

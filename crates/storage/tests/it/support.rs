//! Fixture of the tests: durable storage as one process of either service uses it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use audit_chain::{AppendError, AuditMetrics, Details, Effect, NewEvent};
use catalog::{Expectation, Init};
use keyring::{KeyNumber, KeyringError, SigningKeys, SigningSeed};
use prometheus_client::registry::Registry;
use redis_pool::{PoolConfig, PoolError, PoolMetrics, RedisPool};
use storage::{
    AppendFailure, DurableMetrics, DurablePools, DurableSetup, DurableStorage, KeyringSetup, PartHealth,
    StorageCheck, StorageError,
};
use tag_id::{Epoch, MasterSecret, TagKeys};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const STRONG: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(crate) struct Service {
    pub(crate) storage: DurableStorage,
    registry: Registry,
}

/// Creates the storage of a factory-service, with the tag secret and the signing key of all these tests.
pub(crate) fn service(url: &str, init: Init, command_timeout: Duration) -> Service {
    let seeds = [(KeyNumber::FIRST, SigningSeed::from([7; 32]))];
    let signing = Arc::new(SigningKeys::new("voketag.local/audit", seeds).unwrap());
    let setup = KeyringSetup { announce: Some("factory-service"), seeds: Some(Epoch::MIN), signing };
    service_as(url, init, command_timeout, setup)
}

/// Creates the storage of a scan-service, which creates neither a deployment nor a keyring.
pub(crate) fn scanner(url: &str, command_timeout: Duration) -> Service {
    let signing = Arc::new(SigningKeys::none("voketag.local/audit"));
    let setup = KeyringSetup { announce: Some("scan-service"), seeds: None, signing };
    service_as(url, Init::Never, command_timeout, setup)
}

fn service_as(url: &str, init: Init, command_timeout: Duration, keyring: KeyringSetup) -> Service {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig {
        name: "durable",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(8).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: DEADLINE,
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    let pool = |config| RedisPool::new(config, clock.clone(), &PoolMetrics::default());
    let pools = DurablePools {
        heartbeats: pool(PoolConfig { name: "keyring", ..config.clone() }),
        requests: pool(config),
    };
    let expectation = Expectation {
        tag_keys: Arc::new(TagKeys::new(Some(MasterSecret::from([7; 32])), [])),
        adds_epoch: Some(Epoch::MIN),
        audit_origin: "voketag.local/audit".to_owned(),
    };
    let mut registry = Registry::with_prefix("voketag");
    let audit = AuditMetrics::register(&mut registry);
    let metrics = DurableMetrics::register(&mut registry);
    let setup = DurableSetup { expectation, init, keyring, state_dir: None };
    let storage = DurableStorage::new(pools, setup, &clock, audit, &metrics);
    Service { storage, registry }
}

impl Service {
    pub(crate) fn has_metric(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().any(|shown| shown == line)
    }

    pub(crate) async fn check(&self, name: &str) -> Option<StorageCheck> {
        self.storage.readiness.checks().await.into_iter().find(|check| check.name == name)
    }

    pub(crate) async fn append(&self) -> Result<u64, AppendFailure> {
        let event = NewEvent {
            tenant: "acme".to_owned(),
            actor: "test".to_owned(),
            action: "product.created".to_owned(),
            resource: "product/1".to_owned(),
            request_id: "r".to_owned(),
            ip: None,
            details: Details::new(),
        };
        let appended = self.storage.audit.append(event, Effect::default()).await;
        appended.map(|appended| appended.seq)
    }
}

/// Returns `ok`, `state-lost`, `unavailable` (it suffices to wait) or `failed`.
pub(crate) fn kind<T, E: Into<StorageError>>(outcome: Result<T, E>) -> &'static str {
    match outcome.map_err(Into::into) {
        Ok(_) => "ok",
        Err(error) if error.is_state_lost() => "state-lost",
        Err(
            StorageError::Gate(_)
            | StorageError::Keyring(KeyringError::Redis(PoolError::Unavailable { .. }))
            | StorageError::Append(
                AppendFailure::Gate(_) | AppendFailure::Append(AppendError::Unavailable { .. }),
            ),
        ) => "unavailable",
        Err(_) => "failed",
    }
}

pub(crate) fn is_ok(check: &StorageCheck) -> bool {
    check.health == PartHealth::Ok
}

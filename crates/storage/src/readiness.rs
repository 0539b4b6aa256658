//! Whether each part of durable storage can be used, for the readiness probe.

use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use catalog::DeploymentError;
use keyring::KeyringStatus;
use redis_pool::RedisPool;

use crate::refresher::StorageRefresher;

/// How long a result is reused, so that frequent probes cost Redis nothing.
const REUSED_FOR: Duration = Duration::from_millis(200);
/// The name of the check whether the chain can be appended to.
pub const AUDIT_CHAIN: &str = "audit_chain";
/// The detail of a part that could not be read.
const UNREAD: &str = "not read this time";

/// The state of one part of durable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageCheck {
    /// The part, e.g. `redis`.
    pub name: &'static str,
    /// Whether it can be used.
    pub health: PartHealth,
}

/// Whether a part can be used. Details are sentences without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartHealth {
    /// It works.
    Ok,
    /// It works, and an operator should look at it.
    Warning(String),
    /// It does not work.
    Failed(String),
}

impl StorageCheck {
    /// A part that works.
    #[must_use]
    pub fn ok(name: &'static str) -> Self {
        Self { name, health: PartHealth::Ok }
    }

    fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, health: PartHealth::Warning(detail.into()) }
    }

    fn failed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, health: PartHealth::Failed(detail.into()) }
    }

    /// The detail, where there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match &self.health {
            PartHealth::Ok => None,
            PartHealth::Warning(detail) | PartHealth::Failed(detail) => Some(detail),
        }
    }

    /// Whether the part does not work.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(self.health, PartHealth::Failed(_))
    }
}

/// Checks durable storage.
#[derive(Debug)]
pub struct StorageReadiness {
    refresher: Arc<StorageRefresher>,
    pool: RedisPool,
    clock: Arc<dyn Clock>,
    latest: tokio::sync::Mutex<Option<(Duration, Vec<StorageCheck>)>>,
}

impl StorageReadiness {
    pub(crate) fn new(refresher: Arc<StorageRefresher>, pool: RedisPool, clock: Arc<dyn Clock>) -> Self {
        Self { refresher, pool, clock, latest: tokio::sync::Mutex::new(None) }
    }

    /// The checks `redis`, `deployment`, `audit`, `audit_chain`, `keyring` and `storage`; `state_dir` only as
    /// a warning. `audit_chain` fails while nothing can be appended to the chain although no state is lost;
    /// the service decides whether that makes the instance unready.
    pub async fn checks(&self) -> Vec<StorageCheck> {
        let mut latest = self.latest.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, checks)) = &*latest
            && now.saturating_sub(*at) < REUSED_FOR
            && self.agrees_with(checks)
        {
            return checks.clone();
        }
        let checks = self.refreshed().await;
        *latest = Some((self.clock.monotonic(), checks.clone()));
        checks
    }

    /// Whether an earlier result names what a request has found lost or damaged since.
    fn agrees_with(&self, checks: &[StorageCheck]) -> bool {
        let failed = |wanted: &dyn Fn(&str) -> bool| {
            checks.iter().any(|check| check.is_failed() && wanted(check.name))
        };
        let StorageRefresher { state, audit, .. } = &*self.refresher;
        (!state.is_lost() || failed(&|name| name != AUDIT_CHAIN))
            && (audit.chain_fault().is_none() || failed(&|name| name == AUDIT_CHAIN))
    }

    async fn refreshed(&self) -> Vec<StorageCheck> {
        let (deployment, is_read) = match self.refresher.refresh().await {
            Ok(_) => (StorageCheck::ok("deployment"), true),
            Err(DeploymentError::Lost(why)) => {
                (StorageCheck::failed("deployment", format!("state lost: {why}")), false)
            }
            // An overloaded pool is not unavailable: taking busy instances out of service would make the
            // others busier.
            Err(DeploymentError::Redis(busy @ redis_pool::PoolError::Overloaded { .. }))
                if self.was_ready() =>
            {
                return self.unread(StorageCheck::warning("redis", busy.to_string()), StorageCheck::warning);
            }
            Err(DeploymentError::Redis(error)) => {
                return self.unread(self.unavailable(&error), StorageCheck::failed);
            }
        };
        let redis = match self.pool.stats().refuses_writes {
            Some(code) => StorageCheck::failed("redis", refuses(code)),
            None => StorageCheck::ok("redis"),
        };
        // Behind a foreign deployment nothing is read.
        let chain = if is_read { self.chain_check() } else { StorageCheck::failed(AUDIT_CHAIN, UNREAD) };
        let mut checks = vec![
            redis,
            deployment,
            self.audit_check(is_read),
            chain,
            self.keyring_check(),
            self.settings_check(),
        ];
        checks.extend(self.refresher.memory.last_error().map(|why| StorageCheck::warning("state_dir", why)));
        checks
    }

    fn was_ready(&self) -> bool {
        let state = &self.refresher.state;
        state.deployment().is_ok() && state.gate().last_error().is_none()
    }

    fn unavailable(&self, error: &redis_pool::PoolError) -> StorageCheck {
        let mut detail = error.to_string();
        let redis_pool::PoolStats { last_error, refuses_writes, .. } = self.pool.stats();
        if let Some(code) = refuses_writes {
            detail = format!("{}; {detail}", refuses(code));
        }
        if let Some(last_error) = last_error.filter(|last_error| !detail.contains(last_error.as_str())) {
            detail = format!("{detail} ({last_error})");
        }
        StorageCheck::failed("redis", detail)
    }

    /// Names every part although Redis told nothing of the others this time. A stale keyring and a damaged
    /// chain are known without Redis.
    fn unread(
        &self,
        redis: StorageCheck,
        other: fn(&'static str, &'static str) -> StorageCheck,
    ) -> Vec<StorageCheck> {
        let StorageRefresher { keyring, audit, .. } = &*self.refresher;
        let keyring =
            if keyring.watch().is_stale() { self.keyring_check() } else { other("keyring", UNREAD) };
        let [deployment, audit_check, settings] =
            ["deployment", "audit", "storage"].map(|name| other(name, UNREAD));
        let chain =
            if audit.chain_fault().is_some() { self.chain_check() } else { other(AUDIT_CHAIN, UNREAD) };
        vec![redis, deployment, audit_check, chain, keyring, settings]
    }

    fn settings_check(&self) -> StorageCheck {
        let settings = &self.refresher.settings;
        match settings.warning() {
            Some(warning) => StorageCheck::warning("storage", warning),
            None if settings.is_read() => StorageCheck::ok("storage"),
            None => StorageCheck::warning("storage", UNREAD),
        }
    }

    fn chain_check(&self) -> StorageCheck {
        match self.refresher.audit.chain_fault() {
            Some(fault) => StorageCheck::failed(AUDIT_CHAIN, fault.to_string()),
            None => StorageCheck::ok(AUDIT_CHAIN),
        }
    }

    fn audit_check(&self, is_read: bool) -> StorageCheck {
        if self.refresher.is_head_lost() {
            return StorageCheck::failed(
                "audit",
                "the audit head is not one that this process can go on from",
            );
        }
        match self.refresher.audit.refused_command() {
            Some(why) => StorageCheck::failed("audit", format!("Redis does not let us append: {why}")),
            None if !is_read => StorageCheck::failed("audit", UNREAD),
            None => StorageCheck::ok("audit"),
        }
    }

    fn keyring_check(&self) -> StorageCheck {
        let watch = self.refresher.keyring.watch();
        match (watch.standing(), watch.polled_ago()) {
            (KeyringStatus::Lost(why), _) => StorageCheck::failed("keyring", format!("state lost: {why}")),
            (KeyringStatus::NotMade, _) => StorageCheck::failed(
                "keyring",
                "it was not made yet; start the factory-service, which makes it",
            ),
            (KeyringStatus::NotRead, _) | (_, None) => {
                StorageCheck::failed("keyring", "it was not heard yet")
            }
            (KeyringStatus::Usable, Some(ago)) if watch.is_stale() => {
                StorageCheck::failed("keyring", format!("it was not heard for {} s", ago.as_secs()))
            }
            (KeyringStatus::Usable, Some(_)) => StorageCheck::ok("keyring"),
        }
    }
}

/// The detail for a Redis that answers reads and rejects writes.
fn refuses(code: &str) -> String {
    format!("it refuses writes: {code}")
}

//! Checks of the parts of durable storage, for the readiness probe.

use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use catalog::DeploymentError;
use keyring::KeyringStatus;
use redis_pool::RedisPool;

use crate::refresher::StorageRefresher;

/// How long a result is reused, so that frequent probes add no load to Redis.
const REUSED_FOR: Duration = Duration::from_millis(200);
/// The name of the check that the audit chain accepts appends.
pub const AUDIT_CHAIN: &str = "audit_chain";
/// The detail of a part that was not read.
const UNREAD: &str = "not read this time";

/// The state of one part of durable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageCheck {
    /// The part, e.g. `redis`.
    pub name: &'static str,
    /// Whether it can be used.
    pub health: PartHealth,
}

/// Whether a part can be used. Details hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartHealth {
    /// The part works.
    Ok,
    /// The part works, but needs an operator's attention.
    Warning(String),
    /// The part does not work.
    Failed(String),
}

impl StorageCheck {
    /// Creates the check of a part that works.
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

    /// Returns the detail, `None` if the part works.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match &self.health {
            PartHealth::Ok => None,
            PartHealth::Warning(detail) | PartHealth::Failed(detail) => Some(detail),
        }
    }

    /// Returns whether the part does not work.
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

    /// Returns the checks `redis`, `deployment`, `audit`, `audit_chain`, `keyring` and `storage`, and
    /// `state_dir` if it has a warning.
    ///
    /// `audit_chain` fails while the chain accepts no appends although no state is lost. The service decides
    /// whether that makes the instance unready.
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

    /// Returns whether an earlier result reports the loss or damage that requests have found since.
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
            Some(code) => StorageCheck::failed("redis", rejects_writes(code)),
            None => StorageCheck::ok("redis"),
        };
        // Nothing is read from a deployment other than the expected one.
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
            detail = format!("{}; {detail}", rejects_writes(code));
        }
        if let Some(last_error) = last_error.filter(|last_error| !detail.contains(last_error.as_str())) {
            detail = format!("{detail} ({last_error})");
        }
        StorageCheck::failed("redis", detail)
    }

    /// Returns one check per part although Redis did not answer. A stale keyring and a damaged chain are
    /// known without Redis.
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
                "the audit head is missing, or older than or different from one that was seen before",
            );
        }
        match self.refresher.audit.rejected_command() {
            Some(why) => {
                StorageCheck::failed("audit", format!("Redis rejects a command that appending needs: {why}"))
            }
            None if !is_read => StorageCheck::failed("audit", UNREAD),
            None => StorageCheck::ok("audit"),
        }
    }

    fn keyring_check(&self) -> StorageCheck {
        let watch = self.refresher.keyring.watch();
        match (watch.status(), watch.polled_ago()) {
            (KeyringStatus::Lost(why), _) => StorageCheck::failed("keyring", format!("state lost: {why}")),
            (KeyringStatus::NotMade, _) => StorageCheck::failed(
                "keyring",
                "it was not created yet; start the factory-service, which creates it",
            ),
            (KeyringStatus::NotRead, _) | (_, None) => StorageCheck::failed("keyring", "it was not read yet"),
            (KeyringStatus::Usable, Some(ago)) if watch.is_stale() => {
                StorageCheck::failed("keyring", format!("it was not read for {} s", ago.as_secs()))
            }
            (KeyringStatus::Usable, Some(_)) => StorageCheck::ok("keyring"),
        }
    }
}

/// Returns the detail for a Redis that answers reads and rejects writes.
fn rejects_writes(code: &str) -> String {
    format!("it refuses writes: {code}")
}

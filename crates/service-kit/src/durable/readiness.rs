//! What the readiness probe says of the durable Redis.

use std::sync::atomic::Ordering;
use std::time::Duration;

use catalog::DeploymentError;
use http_edge::Check;

use super::{Durable, Permission};

/// How long an answer of the readiness probe stands, so that asking for it often costs Redis nothing.
const READINESS_STANDS: Duration = Duration::from_millis(200);
/// The check that says whether the chain can be appended to.
pub const AUDIT_CHAIN: &str = "audit_chain";
/// What is said of what could not be looked at.
const UNREAD: &str = "not read this time";

impl Durable {
    /// The checks `redis`, `deployment`, `audit`, `audit_chain`, `keyring` and `storage`. `audit_chain` fails where nothing can be
    /// appended to the chain although no state is lost; whether that makes the instance unready is for the service to say.
    pub async fn checks(&self) -> Vec<Check> {
        let mut latest = self.readiness.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, checks)) = &*latest
            && now.saturating_sub(*at) < READINESS_STANDS
            && self.agrees_with(checks)
        {
            return checks.clone();
        }
        let checks = self.refresh_for_readiness().await;
        *latest = Some((self.clock.monotonic(), checks.clone()));
        checks
    }

    /// Whether an earlier answer names what a request has found lost or damaged since.
    fn agrees_with(&self, checks: &[Check]) -> bool {
        let failed =
            |wanted: &dyn Fn(&str) -> bool| checks.iter().any(|check| !check.ok && wanted(&check.name));
        (!self.is_lost() || failed(&|name| name != AUDIT_CHAIN))
            && (self.chain_fault.lock().is_none() || failed(&|name| name == AUDIT_CHAIN))
    }

    /// Every dependency named, though Redis told nothing of the others this time; the keyring's own silence may say more.
    fn unread(&self, redis: Check, other: fn(&'static str, &'static str) -> Check) -> Vec<Check> {
        let keyring = if self.keyring.is_stale() { self.keyring_check() } else { other("keyring", UNREAD) };
        let [deployment, audit, storage] = ["deployment", "audit", "storage"].map(|name| other(name, UNREAD));
        let chain =
            if self.chain_fault.lock().is_some() { self.chain_check() } else { other(AUDIT_CHAIN, UNREAD) };
        vec![redis, deployment, audit, chain, keyring, storage]
    }

    async fn refresh_for_readiness(&self) -> Vec<Check> {
        let (deployment, looked_on) = match self.refresh().await {
            Ok(_) => (Check::ok("deployment"), true),
            Err(DeploymentError::Lost(why)) => {
                (Check::failed("deployment", format!("state lost: {why}")), false)
            }
            // Busy is not away: taking busy instances out of service would make the others busier.
            Err(DeploymentError::Redis(busy @ redis_pool::PoolError::Overloaded { .. }))
                if self.deployment().is_ok() && self.gate.last_error().is_none() =>
            {
                return self.unread(Check::warning("redis", busy.to_string()), Check::warning);
            }
            Err(DeploymentError::Redis(error)) => {
                let mut detail = error.to_string();
                let redis_pool::PoolStats { last_error, refuses_writes, .. } = self.pool.stats();
                if let Some(code) = refuses_writes {
                    detail = format!("{}; {detail}", refuses(code));
                }
                if let Some(last_error) =
                    last_error.filter(|last_error| !detail.contains(last_error.as_str()))
                {
                    detail = format!("{detail} ({last_error})");
                }
                return self.unread(Check::failed("redis", detail), Check::failed);
            }
        };
        // Behind a deployment that is not ours nothing is looked at.
        let storage = match self.storage.warning() {
            Some(warning) => Check::warning("storage", warning),
            None if self.storage.is_read() => Check::ok("storage"),
            None => Check::warning("storage", UNREAD),
        };
        let chain = if looked_on { self.chain_check() } else { Check::failed(AUDIT_CHAIN, UNREAD) };
        let (audit, keyring) = (self.audit_check(looked_on), self.keyring_check());
        let redis = match self.pool.stats().refuses_writes {
            Some(code) => Check::failed("redis", refuses(code)),
            None => Check::ok("redis"),
        };
        let mut checks = vec![redis, deployment, audit, chain, keyring, storage];
        checks.extend(self.memory.last_error().map(|why| Check::warning("state_dir", why)));
        checks
    }

    fn chain_check(&self) -> Check {
        match &*self.chain_fault.lock() {
            Some(fault) => Check::failed(AUDIT_CHAIN, fault.to_string()),
            None => Check::ok(AUDIT_CHAIN),
        }
    }

    fn audit_check(&self, looked_on: bool) -> Check {
        if self.head_lost.load(Ordering::Acquire) {
            return Check::failed("audit", "the audit head is not one that this process can go on from");
        }
        match &*self.permission.lock() {
            Permission::Refused(why) => {
                Check::failed("audit", format!("Redis does not let us append: {why}"))
            }
            _ if !looked_on => Check::failed("audit", UNREAD),
            _ => Check::ok("audit"),
        }
    }
}

/// What is said of a Redis that goes on reading but refuses writes.
fn refuses(code: &str) -> String {
    format!("it refuses writes: {code}")
}

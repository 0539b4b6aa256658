//! The rate limits of API keys, tenants and client addresses.
//!
//! Each API key has one quota per minute for writes and one for reads. Its tenant has five times as much. A
//! request without a valid key spends the quota of its address; a valid key is never denied because of its
//! address. A cold start halves no quota, and each process counts on its own while the limiter's Redis is
//! unavailable, because a limiter must not keep an operator from revoking something. The command line is not
//! limited.

use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use prometheus_client::registry::Registry;
use rate_limiter::{
    Decision, Dimension, DimensionName, LimiterMetrics, Quota, Region, Status, SteadyLimiter,
};
use redis_pool::RedisPool;

use crate::domain::identity::Principal;
use crate::settings::FactoryLimitSettings;

const KEY_WRITES: &str = "key-writes";
const KEY_READS: &str = "key-reads";
const TENANT_WRITES: &str = "tenant-writes";
const TENANT_READS: &str = "tenant-reads";
const AUTH_FAILURES: &str = "auth-failures";
/// A tenant's quota, in quotas of one key.
const KEY_QUOTAS_OF_A_TENANT: u32 = 5;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Reads,
    Writes,
}

/// The limiter's decision on a request.
#[derive(Debug)]
pub(crate) struct Spent {
    /// The time until the request would pass, if it is denied.
    pub(crate) denied: Option<Duration>,
    /// The state of each quota after this request.
    pub(crate) quotas: Vec<Status>,
}

/// The limits of the factory.
pub(crate) struct Limits {
    callers: SteadyLimiter,
    /// A separate limiter, so that a flood of addresses evicts no keys while this process counts locally.
    addresses: SteadyLimiter,
    quotas: Quotas,
}

/// Quotas per minute. Arrays hold the quota of a key and of a tenant.
struct Quotas {
    writes: [Quota; 2],
    reads: [Quota; 2],
    auth_failures: Quota,
}

impl Limits {
    pub(crate) fn new(
        settings: &FactoryLimitSettings,
        pool: &RedisPool,
        clock: &Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Self {
        let names = [KEY_WRITES, KEY_READS, TENANT_WRITES, TENANT_READS, AUTH_FAILURES];
        let metrics = LimiterMetrics::register_steady(registry, &names);
        let region = Region::new("factory").expect("\"factory\" is a valid region name");
        let limiter = || SteadyLimiter::new(pool.clone(), region.clone(), metrics.clone(), Arc::clone(clock));
        let key_and_tenant = |quota: Quota| {
            let tenants = Quota::new(quota.get() * KEY_QUOTAS_OF_A_TENANT);
            [quota, tenants.expect("five times the largest setting is a valid quota")]
        };
        let quotas = Quotas {
            writes: key_and_tenant(settings.writes),
            reads: key_and_tenant(settings.reads),
            auth_failures: settings.auth_failures,
        };
        Self { callers: limiter(), addresses: limiter(), quotas }
    }

    /// Spends one request of a key's quota and of its tenant's.
    pub(crate) async fn spend(&self, principal: &Principal, what: Use) -> Spent {
        let (names, [of_key, of_tenant]) = match what {
            Use::Writes => ([KEY_WRITES, TENANT_WRITES], self.quotas.writes),
            Use::Reads => ([KEY_READS, TENANT_READS], self.quotas.reads),
        };
        let key = principal.actor.strip_prefix("key/").unwrap_or(&principal.actor);
        let named = |name, subject, quota| Dimension { name: DimensionName::Named(name), subject, quota };
        let dimensions =
            [named(names[0], key, of_key), named(names[1], principal.tenant.as_str(), of_tenant)];
        Spent::of(&self.callers.decide(&dimensions).await)
    }

    /// Spends one failed authentication of an address's quota.
    pub(crate) async fn spend_failure(&self, address: &str) -> Spent {
        let name = DimensionName::Named(AUTH_FAILURES);
        let dimension = Dimension { name, subject: address, quota: self.quotas.auth_failures };
        Spent::of(&self.addresses.decide(&[dimension]).await)
    }
}

impl Spent {
    fn of(decision: &Decision) -> Self {
        let denied = match decision {
            Decision::Allowed { .. } => None,
            Decision::Denied { retry_after, .. } => Some(*retry_after),
        };
        Self { denied, quotas: decision.report().statuses.clone() }
    }
}

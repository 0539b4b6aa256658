//! How often a key, a tenant and a stranger may ask.
//!
//! Each API key has two quotas a minute, one for what changes something and one for what reads, and its tenant has five times as much. A
//! request that shows no key in force spends its address's quota; a key that is in force is never denied because of the address it comes
//! from. None of these is halved by a cold start, and where the limiter's Redis cannot be asked each process counts by itself: a limiter
//! must never be what keeps an operator from revoking something. The command line is not limited.

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
/// How many keys' worth a tenant has.
const KEYS_OF_A_TENANT: u32 = 5;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Reads,
    Writes,
}

/// What the limiter said.
#[derive(Debug)]
pub(crate) struct Spent {
    /// Set where the request is denied: when it would pass.
    pub(crate) denied: Option<Duration>,
    /// Each quota as it stands after this request.
    pub(crate) quotas: Vec<Status>,
}

/// The limits of the factory.
pub(crate) struct Limits {
    callers: SteadyLimiter,
    /// Apart, so that a flood of addresses takes no place from keys while this process counts by itself.
    strangers: SteadyLimiter,
    quotas: Quotas,
}

/// A minute's worth.
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
        let region = Region::new("factory").expect("a region's name");
        let limiter = || SteadyLimiter::new(pool.clone(), region.clone(), metrics.clone(), Arc::clone(clock));
        let of_both = |quota: Quota| {
            let tenants = Quota::new(quota.get() * KEYS_OF_A_TENANT);
            [quota, tenants.expect("the setting's range leaves room for a tenant's")]
        };
        let quotas = Quotas {
            writes: of_both(settings.writes),
            reads: of_both(settings.reads),
            auth_failures: settings.auth_failures,
        };
        Self { callers: limiter(), strangers: limiter(), quotas }
    }

    /// Spends one request's worth of a key's quota and of its tenant's.
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

    /// Spends one failed authentication's worth of an address's quota.
    pub(crate) async fn spend_failure(&self, address: &str) -> Spent {
        let name = DimensionName::Named(AUTH_FAILURES);
        let dimension = Dimension { name, subject: address, quota: self.quotas.auth_failures };
        Spent::of(&self.strangers.decide(&[dimension]).await)
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

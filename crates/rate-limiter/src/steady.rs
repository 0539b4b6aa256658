//! A limit without cold start that always decides: in a Redis that several processes share, or in this
//! process.
//!
//! It is for authenticated callers. A new or emptied Redis forgets their last minute and changes nothing
//! else. If Redis cannot be asked, each process counts by itself, so that a Redis failure does not block a
//! caller.

use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use redis_pool::{PoolError, RedisPool, UnavailableReason};

use crate::decision::Decision;
use crate::keys::{self, Region};
use crate::local::LocalLimiter;
use crate::log_gate::LogGate;
use crate::metrics::LimiterMetrics;
use crate::quota::{Dimension, Factor, MAX_DIMENSIONS, assert_sound};
use crate::script;

/// The longest that a request waits for the limiter's Redis, whatever the pool's own deadlines.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// Limits authenticated callers, by dimensions that the service names ([`crate::DimensionName::Named`]).
pub struct SteadyLimiter {
    pool: RedisPool,
    region: Region,
    local: LocalLimiter,
    metrics: LimiterMetrics,
    clock: Arc<dyn Clock>,
    gate: LogGate,
}

impl SteadyLimiter {
    /// Creates a limiter whose state is behind `pool`, under the name of `region`. There is no birth record.
    #[must_use]
    pub fn new(pool: RedisPool, region: Region, metrics: LimiterMetrics, clock: Arc<dyn Clock>) -> Self {
        let local = LocalLimiter::new(Factor::WHOLE);
        Self { pool, region, local, metrics, clock, gate: LogGate::default() }
    }

    /// Decides on one request in one atomic script call.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub async fn decide(&self, dimensions: &[Dimension<'_>]) -> Decision {
        assert_sound(dimensions);
        let asked = tokio::time::timeout(ASKED_WITHIN, self.ask(dimensions)).await;
        let late = PoolError::Unavailable {
            reason: UnavailableReason::Timeout(ASKED_WITHIN),
            retry_after: ASKED_WITHIN,
        };
        let answered = asked.unwrap_or(Err(late));
        let decision = answered.unwrap_or_else(|error| self.decide_here(&error, dimensions));
        self.metrics.count(&decision);
        decision
    }

    async fn ask(&self, dimensions: &[Dimension<'_>]) -> Result<Decision, PoolError> {
        let mut call = script::GLOBAL.invoke();
        for dimension in dimensions {
            call.push_key(keys::state(&self.region, dimension.name, dimension.subject));
        }
        dimensions.iter().for_each(|dimension| call.push_arg(dimension.quota.get()));
        let ints: Vec<i64> = call.run(&self.pool).await?;
        let mut names = [""; MAX_DIMENSIONS];
        for (name, dimension) in names.iter_mut().zip(dimensions) {
            *name = dimension.name.as_str();
        }
        Decision::read(&ints, &names[..dimensions.len()], false)
    }

    fn decide_here(&self, error: &PoolError, dimensions: &[Dimension<'_>]) -> Decision {
        let now = self.clock.monotonic();
        self.metrics.in_process.inc();
        if let Some(withheld) = self.gate.pass(now) {
            tracing::warn!(%error, withheld, "rate limiter: redis unavailable, limiting in process");
        }
        self.local.decide(dimensions, now)
    }
}

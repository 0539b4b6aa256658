//! The limit over all regions, in its own Redis. It is twice the regional limit and never reduced.
//!
//! It can only deny more. If its Redis cannot be asked, the region's decision stands, which is counted
//! (`rate_limit_global_degraded_total`) and logged. There is no birth record: lost state forgets a caller's
//! last minute, and the regional limit still holds.

use std::sync::Arc;

use ambient::Clock;
use redis_pool::{PoolError, RedisPool};

use crate::decision::Decision;
use crate::keys;
use crate::log_gate::LogGate;
use crate::metrics::{GLOBAL, LimiterMetrics};
use crate::quota::{Dimension, DimensionName, Quota};
use crate::script;

/// Limits a client address or a partner key over all regions.
pub struct GlobalLimiter {
    pool: RedisPool,
    per_ip: u32,
    per_key: u32,
    metrics: LimiterMetrics,
    gate: LogGate,
    clock: Arc<dyn Clock>,
}

impl GlobalLimiter {
    /// `per_ip` and `per_key` are the regional quotas; the limit here is twice that. `clock` only spaces log
    /// lines.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        per_ip: Quota,
        per_key: Quota,
        metrics: LimiterMetrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (per_ip, per_key) = (per_ip.over_all_regions(), per_key.over_all_regions());
        Self { pool, per_ip, per_key, metrics, gate: LogGate::default(), clock }
    }

    /// Decides on one request in one atomic script call. The quota of `dimension` is ignored in favour of
    /// this limiter's.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn decide(&self, dimension: &Dimension<'_>) -> Result<Decision, PoolError> {
        let limit = match dimension.name {
            DimensionName::Ip => self.per_ip,
            DimensionName::Key | DimensionName::Named(_) => self.per_key,
        };
        let key = keys::global(dimension.name, dimension.subject);
        let ints: Vec<i64> = script::GLOBAL.invoke().key(key).arg(limit).run(&self.pool).await?;
        let decision = Decision::read(&ints, &[GLOBAL], false)?;
        self.metrics.count(&decision);
        Ok(decision)
    }

    /// Decides like [`Self::decide`]. Returns `None` if the global Redis cannot be asked; the region's
    /// decision stands then.
    pub async fn ask(&self, dimension: &Dimension<'_>) -> Option<Decision> {
        match self.decide(dimension).await {
            Ok(decision) => Some(decision),
            Err(error) => {
                self.metrics.global_degraded.inc();
                if let Some(withheld) = self.gate.pass(self.clock.monotonic()) {
                    tracing::warn!(%error, withheld, "rate limiter: no global limit, deciding by region");
                }
                None
            }
        }
    }
}

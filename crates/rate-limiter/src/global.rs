//! The limit over all regions together, in a Redis of its own: twice the regional one, never reduced.
//!
//! It only ever tightens: when its Redis cannot be asked, whatever the reason, the region's answer stands, counted
//! (`rate_limit_global_degraded_total`) and logged. There is no birth record: state lost here costs a caller's last
//! minute, while the regional limit holds.

use std::sync::Arc;

use ambient::Clock;
use redis_pool::{PoolError, RedisPool};

use crate::decision::Decision;
use crate::keys;
use crate::log_gate::LogGate;
use crate::metrics::{GLOBAL, LimiterMetrics};
use crate::quota::{Dimension, DimensionName, Quota};
use crate::script;

/// Counts one client address, or one partner key, over all regions.
pub struct GlobalLimiter {
    pool: RedisPool,
    per_ip: u32,
    per_key: u32,
    metrics: LimiterMetrics,
    gate: LogGate,
    clock: Arc<dyn Clock>,
}

impl GlobalLimiter {
    /// `per_ip` and `per_key` are the configured regional quotas; twice that is the limit here. The clock only spaces log lines.
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

    /// Decides on one request by what `dimension` counts it by, in one atomic call; the limit is this limiter's own.
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

    /// Decides as [`Self::decide`]; nothing when the global Redis cannot be asked, and then the region's answer stands.
    pub async fn ask(&self, dimension: &Dimension<'_>) -> Option<Decision> {
        match self.decide(dimension).await {
            Ok(decision) => Some(decision),
            Err(error) => {
                self.metrics.global_degraded.inc();
                if let Some(withheld) = self.gate.pass(self.clock.monotonic()) {
                    tracing::warn!(%error, withheld, "rate limiter: no global limit, the region decides alone");
                }
                None
            }
        }
    }
}

//! The limit over all regions together, in a Redis of its own: twice the regional one, never reduced.
//!
//! It only ever tightens: when its Redis cannot be asked, whatever the reason, the region's answer stands, counted
//! (`rate_limit_global_degraded_total`) and logged. There is no birth record: state lost here costs a caller's last
//! minute, while the regional limit holds.

use std::sync::Arc;

use ambient::Clock;
use redis_pool::{Error, RedisPool};

use crate::decision::Decision;
use crate::keys;
use crate::log_gate::LogGate;
use crate::metrics::{GLOBAL, LimiterMetrics};
use crate::quota::Quota;
use crate::script;

/// Counts one client address over all regions.
pub struct GlobalLimiter {
    pool: RedisPool,
    limit: u32,
    metrics: LimiterMetrics,
    gate: LogGate,
    clock: Arc<dyn Clock>,
}

impl GlobalLimiter {
    /// `per_region` is the configured regional quota; twice that is the limit here. The clock only spaces log lines.
    #[must_use]
    pub fn new(pool: RedisPool, per_region: Quota, metrics: LimiterMetrics, clock: Arc<dyn Clock>) -> Self {
        Self { pool, limit: per_region.over_all_regions(), metrics, gate: LogGate::default(), clock }
    }

    /// Decides on one request of a client address, in one atomic call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn decide(&self, address: &str) -> Result<Decision, Error> {
        let ints: Vec<i64> =
            script::GLOBAL.invoke().key(keys::global(address)).arg(self.limit).run(&self.pool).await?;
        let decision = Decision::read(&ints, &[GLOBAL], false)?;
        self.metrics.count(&decision);
        Ok(decision)
    }

    /// Decides as [`Self::decide`]; nothing when the global Redis cannot be asked, and then the region's answer stands.
    pub async fn ask(&self, address: &str) -> Option<Decision> {
        match self.decide(address).await {
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

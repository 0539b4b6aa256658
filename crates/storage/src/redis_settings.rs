//! Checks that the settings of a Redis do not lose stored data.
//!
//! The settings are read every 30 seconds. A log line, a metric and a readiness warning report unsafe
//! settings. They do not affect requests. While Redis does not answer, the last report stays.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, entropy};
use catalog::StoragePolicy;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis_pool::RedisPool;

/// How often the settings of a Redis are read.
const READ_EVERY: Duration = Duration::from_secs(30);
/// Pause before the next attempt if Redis did not answer.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The values of the label `concern`.
const CONCERNS: [&str; 3] = ["eviction", "fsync", "unknown"];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConcernLabel {
    pool: &'static str,
    concern: &'static str,
}

/// The gauge `redis_storage_warnings` for all pools of a process.
#[derive(Debug, Clone, Default)]
pub struct RedisSettingsMetrics(Family<ConcernLabel, Gauge>);

impl RedisSettingsMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "redis_storage_warnings",
            "1 while the settings of a Redis may lose stored data, by pool and concern",
            metrics.0.clone(),
        );
        metrics
    }

    fn set(&self, pool: &'static str, concern: &'static str, on: bool) {
        self.0.get_or_create(&ConcernLabel { pool, concern }).set(i64::from(on));
    }
}

/// Watches the settings of one Redis.
#[derive(Debug)]
pub struct RedisSettingsWatch {
    pool: RedisPool,
    name: &'static str,
    must_survive_a_crash: bool,
    clock: Arc<dyn Clock>,
    metrics: RedisSettingsMetrics,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    read_at: Option<Duration>,
    warnings: Vec<String>,
}

impl RedisSettingsWatch {
    /// Creates a watch that has read nothing yet. `name` is the label `pool` of the metric.
    ///
    /// `must_survive_a_crash` is false for the Redis of a limiter: it may lose its data in a crash (its
    /// region then starts cold), but must not evict keys while it runs.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        name: &'static str,
        must_survive_a_crash: bool,
        clock: Arc<dyn Clock>,
        metrics: RedisSettingsMetrics,
    ) -> Self {
        for concern in CONCERNS {
            metrics.set(name, concern, false);
        }
        Self { pool, name, must_survive_a_crash, clock, metrics, seen: Mutex::default() }
    }

    /// Reads the settings as long as the process lives.
    pub async fn keep_reading(&self) {
        loop {
            spans::in_job("read settings of redis", self.read_when_due()).await;
            let pause = if self.seen.lock().read_at.is_some() { READ_EVERY } else { RETRY_EVERY };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }

    /// Reads the settings if the last read is old enough.
    pub async fn read_when_due(&self) {
        let now = self.clock.monotonic();
        if self.seen.lock().read_at.is_some_and(|read_at| now.saturating_sub(read_at) < READ_EVERY) {
            return;
        }
        let Ok(policy) = StoragePolicy::read(&self.pool).await else { return };
        self.update_metrics(&policy);
        let warnings = policy.warnings(self.must_survive_a_crash);
        let mut seen = self.seen.lock();
        if seen.warnings != warnings {
            for warning in &warnings {
                tracing::warn!(redis = self.name, warning, "redis settings may lose stored data");
            }
        }
        *seen = Seen { read_at: Some(now), warnings };
    }

    /// Returns whether the settings were ever read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.seen.lock().read_at.is_some()
    }

    /// Returns what an operator should change; `None` if nothing, or if the settings were never read.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let warnings = self.seen.lock().warnings.join(". ");
        (!warnings.is_empty()).then_some(warnings)
    }

    fn update_metrics(&self, policy: &StoragePolicy) {
        let fsync_matters = self.must_survive_a_crash;
        let [eviction, fsync, unread] = CONCERNS;
        self.metrics.set(self.name, eviction, policy.may_evict());
        self.metrics.set(self.name, fsync, fsync_matters && policy.is_weak());
        let unknown = policy.eviction.is_none() || (fsync_matters && policy.fsync.is_none());
        self.metrics.set(self.name, unread, unknown);
    }
}

//! Whether a Redis is configured to keep what it is given.
//!
//! The settings that it reports are read now and then. They become a log line, a metric and a warning in
//! readiness. Requests are served all the same, and a Redis that does not answer changes nothing.

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
/// Pause before another try when it did not answer.
const TRY_EVERY: Duration = Duration::from_secs(1);

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
            "1 where the settings of a Redis may lose what it is given, by pool and concern",
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
    /// A watch that has read nothing yet. `name` is the label `pool` of the metric. A limiter's Redis may
    /// lose its data in a crash (its region is cold then), but must not drop keys while it runs.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        name: &'static str,
        must_survive_a_crash: bool,
        clock: Arc<dyn Clock>,
        metrics: RedisSettingsMetrics,
    ) -> Self {
        Self { pool, name, must_survive_a_crash, clock, metrics, seen: Mutex::default() }
    }

    /// Reads the settings as long as the process lives.
    pub async fn keep_reading(&self) {
        loop {
            self.read_when_due().await;
            let pause = if self.seen.lock().read_at.is_some() { READ_EVERY } else { TRY_EVERY };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }

    /// Reads the settings if that is due.
    pub async fn read_when_due(&self) {
        let now = self.clock.monotonic();
        if self.seen.lock().read_at.is_some_and(|read_at| now.saturating_sub(read_at) < READ_EVERY) {
            return;
        }
        let Ok(policy) = StoragePolicy::read(&self.pool).await else { return };
        self.show(&policy);
        let warnings = policy.warnings(self.must_survive_a_crash);
        let mut seen = self.seen.lock();
        if seen.warnings != warnings {
            for warning in &warnings {
                tracing::warn!(redis = self.name, warning, "redis is not configured to keep everything");
            }
        }
        *seen = Seen { read_at: Some(now), warnings };
    }

    /// Whether the settings were read at all.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.seen.lock().read_at.is_some()
    }

    /// What an operator should change; `None` if nothing, or while nothing was read.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let warnings = self.seen.lock().warnings.join(". ");
        (!warnings.is_empty()).then_some(warnings)
    }

    fn show(&self, policy: &StoragePolicy) {
        let fsync_matters = self.must_survive_a_crash;
        self.metrics.set(self.name, "eviction", policy.may_evict());
        self.metrics.set(self.name, "fsync", fsync_matters && policy.is_weak());
        let unknown = policy.eviction.is_none() || (fsync_matters && policy.fsync.is_none());
        self.metrics.set(self.name, "unknown", unknown);
    }
}

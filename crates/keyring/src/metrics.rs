//! Metrics of the keyring's age and revision in this process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ambient::Clock;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The age of the last successful poll, read at each scrape: a poll that never returns ages too.
#[derive(Clone, Default)]
struct PollAge(Arc<Mutex<Option<LastPoll>>>);

/// A monotonic clock, and the time of the last successful poll by it.
struct LastPoll {
    clock: Arc<dyn Clock>,
    at: Duration,
}

impl fmt::Debug for PollAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollAge").finish_non_exhaustive()
    }
}

impl Collector for PollAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let age = match &*self.0.lock() {
            Some(LastPoll { clock, at }) => clock.monotonic().saturating_sub(*at),
            None => Duration::ZERO,
        };
        let gauge = ConstGauge::new(age.as_secs_f64());
        let help = "Time since the last successful keyring poll, or since the start before the first one";
        gauge.encode(encoder.encode_descriptor("keyring_age_seconds", help, None, gauge.metric_type())?)
    }
}

/// The gauges `keyring_heard_seconds`, `keyring_age_seconds`, `keyring_stale`, `keyring_revision`.
#[derive(Debug, Clone, Default)]
pub struct KeyringMetrics {
    polled_ago: Gauge<f64, AtomicU64>,
    stale: Gauge,
    revision: Gauge,
    age: PollAge,
}

impl KeyringMetrics {
    /// Creates and registers the gauges.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "keyring_heard_seconds",
            "Age in seconds of the last successful keyring poll at the last attempt; NaN before the first",
            metrics.polled_ago.clone(),
        );
        registry.register(
            "keyring_stale",
            "1 while the last successful poll of the keyring is older than 10 s, or never happened",
            metrics.stale.clone(),
        );
        registry.register(
            "keyring_revision",
            "Revision of the keyring that this instance uses",
            metrics.revision.clone(),
        );
        registry.register_collector(Box::new(metrics.age.clone()));
        metrics.show(None, true, None);
        metrics
    }

    /// Notes that the keyring was polled successfully at `at`, or that the watch began then.
    pub(crate) fn polled(&self, clock: &Arc<dyn Clock>, at: Duration) {
        *self.age.0.lock() = Some(LastPoll { clock: Arc::clone(clock), at });
    }

    pub(crate) fn show(&self, polled_ago: Option<Duration>, stale: bool, revision: Option<u32>) {
        self.polled_ago.set(polled_ago.map_or(f64::NAN, |ago| ago.as_secs_f64()));
        self.stale.set(i64::from(stale));
        self.revision.set(revision.map_or(0, i64::from));
    }
}

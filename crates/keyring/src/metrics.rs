//! Metrics of the keyring's age and revision in this process.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The gauges `keyring_heard_seconds`, `keyring_stale`, `keyring_revision`.
#[derive(Debug, Clone, Default)]
pub struct KeyringMetrics {
    polled_ago: Gauge<f64, AtomicU64>,
    stale: Gauge,
    revision: Gauge,
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
        metrics.show(None, true, None);
        metrics
    }

    pub(crate) fn show(&self, polled_ago: Option<Duration>, stale: bool, revision: Option<u32>) {
        self.polled_ago.set(polled_ago.map_or(f64::NAN, |ago| ago.as_secs_f64()));
        self.stale.set(i64::from(stale));
        self.revision.set(revision.map_or(0, i64::from));
    }
}

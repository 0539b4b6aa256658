//! What a process knows of the keyring, and how fresh that is.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The gauges `keyring_heard_seconds`, `keyring_stale`, `keyring_revision`.
#[derive(Debug, Clone, Default)]
pub struct KeyringMetrics {
    heard: Gauge<f64, AtomicU64>,
    stale: Gauge,
    revision: Gauge,
}

impl KeyringMetrics {
    /// Registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "keyring_heard_seconds",
            "Seconds since this instance last heard the keyring, as of its last try; NaN before the first time",
            metrics.heard.clone(),
        );
        registry.register(
            "keyring_stale",
            "1 while this instance has not heard the keyring for 10 s",
            metrics.stale.clone(),
        );
        registry.register(
            "keyring_revision",
            "The revision of the keyring it goes by",
            metrics.revision.clone(),
        );
        metrics.show(None, true, None);
        metrics
    }

    pub(crate) fn show(&self, polled_ago: Option<Duration>, stale: bool, revision: Option<u32>) {
        self.heard.set(polled_ago.map_or(f64::NAN, |ago| ago.as_secs_f64()));
        self.stale.set(i64::from(stale));
        self.revision.set(revision.map_or(0, i64::from));
    }
}

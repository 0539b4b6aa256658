//! Metrics of durable storage and of the state found in it.

use keyring::KeyringMetrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::redis_settings::RedisSettingsMetrics;
use crate::signing_watch::SigningMetrics;

/// The gauges `durable_state_lost`, `audit_chain_damaged` and `redis_storage_warnings`, the counter
/// `key_leak_alarms_total`, and the metrics of the keyring and of the chain's signatures.
#[derive(Debug, Clone, Default)]
pub struct DurableMetrics {
    pub(crate) keyring: KeyringMetrics,
    pub(crate) redis_settings: RedisSettingsMetrics,
    pub(crate) signing: SigningMetrics,
    pub(crate) state_lost: Gauge,
    pub(crate) chain_damaged: Gauge,
    pub(crate) key_leaks: Counter,
}

impl DurableMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            keyring: KeyringMetrics::register(registry),
            redis_settings: RedisSettingsMetrics::register(registry),
            ..Self::default()
        };
        registry.register(
            "durable_state_lost",
            "1 while the deployment record, the audit head or the keyring is missing or not the expected one",
            metrics.state_lost.clone(),
        );
        registry.register(
            "audit_chain_damaged",
            "1 while the end of the audit chain contradicts its head, which prevents appends",
            metrics.chain_damaged.clone(),
        );
        registry.register(
            "key_leak_alarms",
            "Tag ids presented on any route that are authentic but were never minted",
            metrics.key_leaks.clone(),
        );
        registry.register_collector(Box::new(metrics.signing.clone()));
        metrics
    }

    /// Returns the metrics of Redis settings, for the watches of the process's other pools.
    #[must_use]
    pub fn redis_settings(&self) -> &RedisSettingsMetrics {
        &self.redis_settings
    }
}

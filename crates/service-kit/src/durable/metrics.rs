//! What is shown of the durable Redis and of what is found in it.

use keyring::KeyringMetrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::storage::StorageMetrics;

/// The gauges `durable_state_lost`, `audit_chain_damaged` and `redis_storage_warnings`, the counter `key_leak_alarms_total`, and those of the keyring.
#[derive(Debug, Clone, Default)]
pub struct DurableMetrics {
    pub(crate) keyring: KeyringMetrics,
    pub(crate) storage: StorageMetrics,
    lost: Gauge,
    chain_damaged: Gauge,
    key_leaks: Counter,
}

impl DurableMetrics {
    /// Registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            keyring: KeyringMetrics::register(registry),
            storage: StorageMetrics::register(registry),
            lost: Gauge::default(),
            chain_damaged: Gauge::default(),
            key_leaks: Counter::default(),
        };
        registry.register(
            "durable_state_lost",
            "1 while the deployment record, the audit head or the keyring is missing, or not the one seen before",
            metrics.lost.clone(),
        );
        registry.register(
            "audit_chain_damaged",
            "1 while nothing can be appended to the audit chain, because it does not end as its head says",
            metrics.chain_damaged.clone(),
        );
        registry.register(
            "key_leak_alarms",
            "Authentic tag ids that were presented, by whatever route, and were never minted",
            metrics.key_leaks.clone(),
        );
        metrics
    }

    /// Those of the settings of Redis, for the watches of a process's other pools.
    #[must_use]
    pub fn storage(&self) -> &StorageMetrics {
        &self.storage
    }

    pub(crate) fn key_leak(&self) {
        self.key_leaks.inc();
    }

    pub(crate) fn chain_damaged(&self, damaged: bool) {
        self.chain_damaged.set(i64::from(damaged));
    }

    pub(crate) fn lost(&self, lost: bool) {
        self.lost.set(i64::from(lost));
    }
}

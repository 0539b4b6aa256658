//! The metrics of connections: how many are open, and how many were closed at a limit.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// `http_connections`, `http_connections_limit` and `http_connections_shed_total{limit}`.
///
/// The default value is not registered anywhere.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    limit: Gauge,
    shed: Family<LimitLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

const CLIENT_LIMIT: LimitLabel = LimitLabel { limit: "client" };
const TOTAL_LIMIT: LimitLabel = LimitLabel { limit: "total" };

impl ConnectionMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("http_connections", "Open connections", metrics.open.clone());
        registry.register("http_connections_limit", "Limit of open connections", metrics.limit.clone());
        registry.register(
            "http_connections_shed",
            "Connections rejected at the limit of their client, and idle ones closed at the total limit",
            metrics.shed.clone(),
        );
        for limit in [CLIENT_LIMIT, TOTAL_LIMIT] {
            drop(metrics.shed.get_or_create(&limit));
        }
        metrics
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    pub(crate) fn closed(&self) {
        self.open.dec();
    }

    pub(crate) fn rejected_at_client_limit(&self) {
        self.shed.get_or_create(&CLIENT_LIMIT).inc();
    }

    pub(crate) fn closed_at_total_limit(&self) {
        self.shed.get_or_create(&TOTAL_LIMIT).inc();
    }
}

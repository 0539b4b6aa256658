//! The metrics of connections: how many are open, and how many were closed at a limit.

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Weak};

/// A table of open connections, as a scrape sees it.
pub(crate) trait ObservedConnections: Send + Sync {
    /// Returns the number of connections that wait for a request, and of the others.
    fn idle_and_active(&self) -> (usize, usize);
}

/// The table that a scrape counts, once there is one.
#[derive(Clone, Default)]
struct ByState(Arc<Mutex<Option<Weak<dyn ObservedConnections>>>>);

impl fmt::Debug for ByState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByState").finish_non_exhaustive()
    }
}

impl Collector for ByState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let table = self.0.lock().as_ref().and_then(Weak::upgrade);
        let (idle, active) = table.map_or((0, 0), |table| table.idle_and_active());
        let help = "Open connections by state: idle ones wait for a request";
        let probe = ConstGauge::new(0_i64);
        let mut family =
            encoder.encode_descriptor("http_connections_by_state", help, None, probe.metric_type())?;
        for (state, count) in [("idle", idle), ("active", active)] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("state", state)])?)?;
        }
        Ok(())
    }
}

/// `http_connections`, `http_connections_by_state{state}`, `http_connections_limit` and
/// `http_connections_shed_total{limit}`.
///
/// The default value is not registered anywhere.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    limit: Gauge,
    shed: Family<LimitLabel, Counter>,
    by_state: ByState,
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
        registry.register_collector(Box::new(metrics.by_state.clone()));
        for limit in [CLIENT_LIMIT, TOTAL_LIMIT] {
            drop(metrics.shed.get_or_create(&limit));
        }
        metrics
    }

    /// Sets the table that a scrape counts.
    pub(crate) fn observe(&self, table: Weak<dyn ObservedConnections>) {
        *self.by_state.0.lock() = Some(table);
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

//! What the limiter shows of itself. The handles of every label are taken once, so a decision costs an
//! increment and no look-up.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::decision::{Decision, Status};

/// The value of the label `dimension` for the limit over all regions.
pub(crate) const GLOBAL: &str = "global";

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    dimension: &'static str,
    decision: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DimensionLabel {
    dimension: &'static str,
}

#[derive(Debug, Clone)]
struct PerDimension {
    name: &'static str,
    allowed: Counter,
    denied: Counter,
}

/// The limiter's metrics: `rate_limit_decisions_total{dimension,decision}`, `rate_limit_region_cold`,
/// `rate_limit_state_lost_total`, `rate_limit_global_degraded_total`,
/// `rate_limit_remembered_denials_total{dimension}`. Clones share the numbers.
#[derive(Debug, Clone)]
pub struct LimiterMetrics {
    decisions: Vec<PerDimension>,
    remembered: [(&'static str, Counter); 2],
    region_cold: Gauge,
    pub(crate) state_lost: Counter,
    pub(crate) global_degraded: Counter,
    pub(crate) in_process: Counter,
}

impl LimiterMetrics {
    /// Registers the metrics. Register once in a process.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let mut metrics = Self::counting(registry, &["ip", "key", GLOBAL]);
        let remembered = Family::<DimensionLabel, Counter>::default();
        metrics.remembered = ["ip", "key"]
            .map(|dimension| (dimension, remembered.get_or_create_owned(&DimensionLabel { dimension })));
        registry.register(
            "rate_limit_remembered_denials",
            "Requests denied by a remembered denial, without a call to Redis",
            remembered,
        );
        registry.register(
            "rate_limit_region_cold",
            "1 while the region's limits are reduced after its birth, as of the last decision",
            metrics.region_cold.clone(),
        );
        registry.register(
            "rate_limit_state_lost",
            "Times the limiter state was found lost: flushed, replaced, or far in the future",
            metrics.state_lost.clone(),
        );
        registry.register(
            "rate_limit_global_degraded",
            "Requests decided by the region alone because the global limiter was unavailable",
            metrics.global_degraded.clone(),
        );
        metrics
    }

    /// Registers the metrics of [`crate::SteadyLimiter`]s that count by `names`:
    /// `rate_limit_decisions_total{dimension,decision}` and `rate_limit_in_process_total`. Register once in a
    /// process.
    #[must_use]
    pub fn register_steady(registry: &mut Registry, names: &[&'static str]) -> Self {
        let metrics = Self::counting(registry, names);
        registry.register(
            "rate_limit_in_process",
            "Requests limited in process because the limiter's Redis was unavailable",
            metrics.in_process.clone(),
        );
        metrics
    }

    fn counting(registry: &mut Registry, names: &[&'static str]) -> Self {
        let decisions = Family::<Labels, Counter>::default();
        let handles = |name: &&'static str| {
            let of = |decision| decisions.get_or_create_owned(&Labels { dimension: name, decision });
            PerDimension { name, allowed: of("allowed"), denied: of("denied") }
        };
        let metrics = Self {
            decisions: names.iter().map(handles).collect(),
            remembered: [("ip", Counter::default()), ("key", Counter::default())],
            region_cold: Gauge::default(),
            state_lost: Counter::default(),
            global_degraded: Counter::default(),
            in_process: Counter::default(),
        };
        registry.register(
            "rate_limit_decisions",
            "Allowed requests by every dimension, and denied requests by the dimensions that denied",
            decisions,
        );
        metrics
    }

    /// Counts one decision. A dimension that would have let a denied request pass is not counted: nothing of
    /// it was used.
    pub(crate) fn count(&self, decision: &Decision) {
        let allowed = decision.is_allowed();
        for status in &decision.report().statuses {
            let Some(handles) = self.decisions.iter().find(|handles| handles.name == status.name) else {
                continue;
            };
            if allowed {
                handles.allowed.inc();
            } else if !status.allows {
                handles.denied.inc();
            }
        }
    }

    /// Counts one request that was denied from memory, by what it was counted by.
    pub(crate) fn count_remembered(&self, dimension: &'static str, statuses: &[Status]) {
        for (_, hits) in self.remembered.iter().filter(|(name, _)| *name == dimension) {
            hits.inc();
        }
        for status in statuses.iter().filter(|status| !status.allows) {
            for handles in self.decisions.iter().filter(|handles| handles.name == status.name) {
                handles.denied.inc();
            }
        }
    }

    /// Shows whether the region is cold; says whether that is a change.
    pub(crate) fn show_cold(&self, cold: bool) -> bool {
        let cold = i64::from(cold);
        // Read first: the value hardly ever changes, and a shared line that is only read stays in every
        // core's cache.
        self.region_cold.get() != cold && self.region_cold.set(cold) != cold
    }
}

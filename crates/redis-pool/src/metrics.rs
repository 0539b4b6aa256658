//! The metrics of the pools: `redis_pool_slots` (permits), `redis_pool_exhausted_total`, `redis_connections`,
//! `redis_writes_refused`, `redis_command_duration_seconds`, `redis_errors_total`, `circuit_breaker_state`,
//! `circuit_breaker_transitions_total`.
//!
//! Gauges are read during a scrape, so an operation does not pay for them.

use std::sync::{Arc, Weak};

use circuit_breaker::{BreakerState, Transitions};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::config::PoolStats;
use crate::error::error_labels;

/// Upper bounds of `redis_command_duration_seconds`, in seconds.
const BUCKETS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabel {
    pool: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabel {
    pool: &'static str,
    code: &'static str,
}

/// Counts the errors of one pool by their label.
#[derive(Debug, Clone)]
pub(crate) struct ErrorCounts {
    pool: &'static str,
    errors: Family<ErrorLabel, Counter>,
}

impl ErrorCounts {
    pub(crate) fn count(&self, code: &'static str) {
        self.errors.get_or_create(&ErrorLabel { pool: self.pool, code }).inc();
    }
}

/// What a scrape reads from a pool.
pub(crate) trait ObservedPool: Send + Sync {
    fn name(&self) -> &'static str;
    fn stats(&self) -> PoolStats;
    fn breaker_transitions(&self) -> Transitions;
}

/// The metrics of all pools of a process. The label `pool` holds the name of the pool.
#[derive(Clone)]
pub struct PoolMetrics {
    pools: Arc<Mutex<Vec<Weak<dyn ObservedPool>>>>,
    durations: Family<PoolLabel, Histogram, fn() -> Histogram>,
    errors: Family<ErrorLabel, Counter>,
}

impl Default for PoolMetrics {
    fn default() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        Self { pools: Arc::default(), durations, errors: Family::default() }
    }
}

impl PoolMetrics {
    /// Registers the metrics. Pass the returned value to every pool of the process.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "redis_command_duration_seconds",
            "Time from getting a permit to reading the reply, by pool",
            metrics.durations.clone(),
        );
        registry.register(
            "redis_errors",
            "Commands without a usable reply, by pool and by the error code of Redis or the kind of failure",
            metrics.errors.clone(),
        );
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    pub(crate) fn durations_of(&self, pool: &'static str) -> Histogram {
        self.durations.get_or_create_owned(&PoolLabel { pool })
    }

    pub(crate) fn errors_of(&self, pool: &'static str) -> ErrorCounts {
        for code in error_labels() {
            drop(self.errors.get_or_create(&ErrorLabel { pool, code }));
        }
        ErrorCounts { pool, errors: self.errors.clone() }
    }

    pub(crate) fn watch(&self, pool: Weak<dyn ObservedPool>) {
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }
}

type Label = (&'static str, &'static str);
/// A label beside `pool`, if any, and the value.
type Row = (Option<Label>, u64);
type Rows = Vec<(Vec<Label>, u64)>;

impl Collector for PoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pools: Vec<Arc<dyn ObservedPool>> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        let rows = |of| rows_of(&pools, of);
        let permits = rows(|pool| {
            let stats = pool.stats();
            let in_use = stats.permits_in_use as u64;
            vec![
                (Some(("state", "total")), stats.permits as u64),
                (Some(("state", "in_use")), in_use),
                (Some(("state", "waiting")), stats.waiting as u64),
            ]
        });
        gauge(
            &mut encoder,
            "redis_pool_slots",
            "Permits in total, permits in use, and callers that wait for a permit",
            &permits,
        )?;
        let exhausted = rows(|pool| vec![(None, pool.stats().exhausted)]);
        counter(
            &mut encoder,
            "redis_pool_exhausted",
            "Operations rejected because no permit came free in time",
            &exhausted,
        )?;
        let connections = rows(|pool| {
            let stats = pool.stats();
            vec![
                (Some(("state", "connected")), stats.connected as u64),
                (Some(("state", "draining")), stats.draining as u64),
            ]
        });
        gauge(
            &mut encoder,
            "redis_connections",
            "Connections that take commands, and connections that only finish the commands sent to them",
            &connections,
        )?;
        let refused = rows(|pool| vec![(None, u64::from(pool.stats().refuses_writes.is_some()))]);
        gauge(&mut encoder, "redis_writes_refused", "1 while Redis rejects writes", &refused)?;
        let state = rows(|pool| vec![(None, breaker_number(pool.stats().breaker))]);
        gauge(
            &mut encoder,
            "circuit_breaker_state",
            "State of the circuit breaker: 0 closed, 1 half-open, 2 open",
            &state,
        )?;
        let transitions = rows(|pool| {
            let seen = pool.breaker_transitions();
            vec![
                (Some(("to", "open")), seen.opened),
                (Some(("to", "half_open")), seen.half_opened),
                (Some(("to", "closed")), seen.closed),
            ]
        });
        counter(
            &mut encoder,
            "circuit_breaker_transitions",
            "Transitions of the circuit breaker, by the state entered",
            &transitions,
        )
    }
}

fn rows_of(pools: &[Arc<dyn ObservedPool>], of: fn(&dyn ObservedPool) -> Vec<Row>) -> Rows {
    let of_pool = |pool: &Arc<dyn ObservedPool>| {
        let name = pool.name();
        of(&**pool)
            .into_iter()
            .map(move |(label, value)| ([Some(("pool", name)), label].into_iter().flatten().collect(), value))
    };
    pools.iter().flat_map(of_pool).collect()
}

fn breaker_number(state: BreakerState) -> u64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &Rows,
) -> Result<(), std::fmt::Error> {
    let probe = ConstGauge::new(0_i64);
    let mut family = encoder.encode_descriptor(name, help, None, probe.metric_type())?;
    for (labels, value) in rows {
        let metric = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
        metric.encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &Rows,
) -> Result<(), std::fmt::Error> {
    let probe = ConstCounter::new(0_u64);
    let mut family = encoder.encode_descriptor(name, help, None, probe.metric_type())?;
    for (labels, value) in rows {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

impl std::fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}

//! What a pool shows of itself: `redis_pool_slots`, `redis_pool_exhausted_total`, `redis_command_duration_seconds`,
//! `redis_errors_total`, `circuit_breaker_state`, `circuit_breaker_transitions_total`. Gauges are read when asked for, so the hot path pays for none.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::operation::PoolInner;

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

/// The errors of one pool, counted by what the error is called: one of few words.
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

/// The metrics of all pools of a process, told apart by the label `pool`.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    pools: Arc<Mutex<Vec<Weak<PoolInner>>>>,
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
    /// Registers the metrics of all pools that will be made with the returned value.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "redis_command_duration_seconds",
            "Time from the permit to the reply, by pool",
            metrics.durations.clone(),
        );
        registry.register(
            "redis_errors",
            "Commands without a usable reply, by pool and by what Redis answered or what went wrong",
            metrics.errors.clone(),
        );
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    pub(crate) fn durations_of(&self, pool: &'static str) -> Histogram {
        self.durations.get_or_create_owned(&PoolLabel { pool })
    }

    pub(crate) fn errors_of(&self, pool: &'static str) -> ErrorCounts {
        ErrorCounts { pool, errors: self.errors.clone() }
    }

    pub(crate) fn watch(&self, pool: &Arc<PoolInner>) {
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }
}

type Label = (&'static str, &'static str);
/// What a row adds to the label `pool`, and its value.
type Row = (Option<Label>, u64);
type Rows = Vec<(Vec<Label>, u64)>;

impl Collector for PoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pools: Vec<Arc<PoolInner>> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        let rows = |of: fn(&PoolInner) -> Vec<Row>| -> Rows {
            let of_pool = |pool: &Arc<PoolInner>| {
                let name = pool.name();
                of(pool).into_iter().map(move |(label, value)| {
                    ([Some(("pool", name)), label].into_iter().flatten().collect(), value)
                })
            };
            pools.iter().flat_map(of_pool).collect()
        };
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
            "Permits, permits in use, and callers waiting for one",
            &permits,
        )?;
        let exhausted = rows(|pool| vec![(None, pool.stats().exhausted)]);
        counter(
            &mut encoder,
            "redis_pool_exhausted",
            "Operations refused because no permit came free",
            &exhausted,
        )?;
        let state = rows(|pool| vec![(None, breaker_number(pool.stats().breaker))]);
        gauge(&mut encoder, "circuit_breaker_state", "0 closed, 1 half-open, 2 open", &state)?;
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
            "Changes of state, by the state entered",
            &transitions,
        )
    }
}

fn breaker_number(state: crate::BreakerState) -> u64 {
    match state {
        crate::BreakerState::Closed => 0,
        crate::BreakerState::HalfOpen => 1,
        crate::BreakerState::Open => 2,
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use ambient::SystemClock;

    use super::*;
    use crate::{PoolConfig, RedisPool};

    #[tokio::test]
    async fn every_pool_shows_its_slots_breaker_and_refusals_under_its_own_name() {
        let mut registry = Registry::with_prefix("voketag");
        let metrics = PoolMetrics::register(&mut registry);
        let make = |name| {
            let config = PoolConfig {
                name,
                url: "redis://127.0.0.1:1".parse().unwrap(),
                permits: NonZeroUsize::new(7).unwrap(),
                connections: NonZeroUsize::MIN,
                wait: Duration::from_millis(1),
                command_timeout: Duration::from_millis(1),
                open_for: crate::OPEN_FOR,
            };
            RedisPool::new(config, Arc::new(SystemClock::new()), &metrics)
        };
        let pools = (make("durable"), make("limiter"));
        for _ in 0..5 {
            assert!(pools.1.command(redis::cmd("PING")).await.is_err());
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "voketag_redis_pool_slots{pool=\"durable\",state=\"total\"} 7",
            "voketag_redis_pool_slots{pool=\"limiter\",state=\"in_use\"} 0",
            "voketag_redis_pool_exhausted_total{pool=\"durable\"} 0",
            "voketag_circuit_breaker_state{pool=\"durable\"} 0",
            "voketag_circuit_breaker_state{pool=\"limiter\"} 2",
            "voketag_circuit_breaker_transitions_total{pool=\"limiter\",to=\"open\"} 1",
            "voketag_redis_command_duration_seconds_count{pool=\"limiter\"} 5",
            "voketag_redis_errors_total{pool=\"limiter\",code=\"not_connected\"} 5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

//! The metrics of several pools in one process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use prometheus_client::registry::Registry;
use redis_pool::{OPEN_FOR, PoolConfig, PoolMetrics, RedisPool};

#[tokio::test]
async fn every_pool_exports_its_permits_breaker_and_errors_under_its_own_name() {
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
            open_for: OPEN_FOR,
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
        "voketag_redis_errors_total{pool=\"durable\",code=\"OOM\"} 0",
        "voketag_redis_connections{pool=\"durable\",state=\"connected\"} 0",
        "voketag_redis_connections{pool=\"durable\",state=\"draining\"} 0",
        "voketag_redis_writes_refused{pool=\"limiter\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

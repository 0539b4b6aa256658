//! A Redis, a pool on it, and readings of what the limiter did to it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use prometheus_client::registry::Registry;
use rate_limiter::{
    ColdStart, Decision, Dimension, DimensionName, Factor, Limiter, LimiterMetrics, Quota, Region,
};
use redis::aio::MultiplexedConnection;
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use test_support::{CapturedLog, RedisServer};

pub(crate) const COLD_MS: u64 = 300_000;
pub(crate) const BORN: &str = "vtrl1:{eu}:born";
pub(crate) const STATE: &str = "vtrl1:{eu}:ip:192.0.2.1";

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// A pool patient enough for a busy machine.
pub(crate) fn pool(server: &RedisServer) -> RedisPool {
    pool_within(server, Duration::from_secs(10))
}

/// A pool for a server that will be away: it gives up after `command_timeout`.
pub(crate) fn pool_within(server: &RedisServer, command_timeout: Duration) -> RedisPool {
    let config = PoolConfig {
        name: "limiter",
        url: server.url().parse().expect("a test server's url"),
        permits: NonZeroUsize::new(100).expect("not zero"),
        connections: NonZeroUsize::new(2).expect("not zero"),
        wait: Duration::from_secs(20),
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, clock(), &PoolMetrics::default())
}

pub(crate) fn quota(per_minute: u32) -> Quota {
    Quota::new(per_minute).expect("a quota")
}

pub(crate) fn ip(subject: &str, per_minute: u32) -> Dimension<'_> {
    Dimension { name: DimensionName::Ip, subject, quota: quota(per_minute) }
}

pub(crate) fn key(subject: &str, per_minute: u32) -> Dimension<'_> {
    Dimension { name: DimensionName::Key, subject, quota: quota(per_minute) }
}

pub(crate) fn cold_start() -> ColdStart {
    ColdStart::new(Duration::from_millis(COLD_MS), Factor::new(0.5).expect("a factor")).expect("a cold start")
}

/// One Redis and the metrics of one process on it.
pub(crate) struct World {
    pub(crate) server: RedisServer,
    pub(crate) direct: MultiplexedConnection,
    pub(crate) metrics: LimiterMetrics,
    registry: Registry,
}

impl World {
    pub(crate) async fn new() -> Self {
        CapturedLog::install("info");
        let server = RedisServer::start().await;
        let direct = server.connection().await;
        let mut registry = Registry::with_prefix("voketag");
        let metrics = LimiterMetrics::register(&mut registry);
        Self { server, direct, metrics, registry }
    }

    /// A limiter as a newly started process would have it.
    pub(crate) fn limiter(&self, region: &str) -> Limiter {
        self.limiter_on(pool(&self.server), region)
    }

    pub(crate) fn limiter_on(&self, pool: RedisPool, region: &str) -> Limiter {
        let region = Region::new(region).expect("a region's name");
        Limiter::new(pool, region, cold_start(), self.metrics.clone(), clock())
    }

    /// Lets the region `eu` have been born long enough ago to be warm.
    pub(crate) async fn warm_up(&mut self, region: &str) {
        let long_ago = self.redis_millis().await - COLD_MS;
        self.set(&format!("vtrl1:{{{region}}}:born"), long_ago).await;
    }

    pub(crate) async fn redis_millis(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) =
            redis::cmd("TIME").query_async(&mut self.direct).await.expect("TIME");
        seconds * 1_000 + micros / 1_000
    }

    pub(crate) async fn set(&mut self, key: &str, value: u64) {
        redis::cmd("SET").arg(key).arg(value).exec_async(&mut self.direct).await.expect("SET");
    }

    pub(crate) async fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        redis::cmd("GET").arg(key).query_async(&mut self.direct).await.expect("GET")
    }

    pub(crate) async fn ttl_ms(&mut self, key: &str) -> i64 {
        redis::cmd("PTTL").arg(key).query_async(&mut self.direct).await.expect("PTTL")
    }

    pub(crate) async fn flush_all(&mut self) {
        redis::cmd("FLUSHALL").exec_async(&mut self.direct).await.expect("FLUSHALL");
    }

    /// How often Redis carried out each of `commands`, calls from scripts included.
    pub(crate) async fn calls(&mut self, commands: &[&str]) -> Vec<u64> {
        let info: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut self.direct).await.expect("INFO");
        let calls_of = |command: &&str| {
            let prefix = format!("cmdstat_{command}:calls=");
            let line = info.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
            line.map_or(0, |rest| rest.split(',').next().expect("a number").parse().expect("a number"))
        };
        commands.iter().map(calls_of).collect()
    }

    /// The value of the metric whose line begins with `name`.
    pub(crate) fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("metrics can be written");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no metric {name} in:\n{text}")).to_owned()
    }
}

/// How many of `asked` requests, one after the other, are let pass.
pub(crate) async fn admitted(limiter: &Limiter, dimensions: &[Dimension<'_>], asked: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..asked {
        admitted += usize::from(limiter.decide(dimensions).await.expect("redis is there").is_allowed());
    }
    admitted
}

pub(crate) fn denied_for(decision: &Decision) -> Duration {
    match decision {
        Decision::Denied { retry_after, .. } => *retry_after,
        Decision::Allowed { .. } => panic!("allowed: {decision:?}"),
    }
}

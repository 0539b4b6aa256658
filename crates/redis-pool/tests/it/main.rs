//! One file per hazard. Every test starts its own Redis.

mod cancellation;
mod failover;
mod metrics;
mod outage;
mod refused_writes;
mod saturation;
mod scripts;
mod tls;
mod transports;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use redis_pool::{OPEN_FOR, PoolConfig, PoolMetrics, RedisPool, RedisUrl};

/// Keeps a test from hanging. No test depends on a condition being met sooner.
const PATIENCE: Duration = Duration::from_secs(60);
/// The timeout of a command that must be answered on a slow machine too.
const LONG_MS: u64 = 30_000;

/// A pool on `url` with the given number of permits, 100 ms for a permit and `command_ms` for a command.
fn pool(url: &str, permits: usize, command_ms: u64) -> RedisPool {
    patient(url, permits, command_ms, Duration::from_millis(100), Arc::new(SystemClock::new()))
}

/// The same with another wait for a permit and another clock.
fn patient(url: &str, permits: usize, command_ms: u64, wait: Duration, clock: Arc<dyn Clock>) -> RedisPool {
    let url = url.parse().expect("a test's address is well-formed");
    RedisPool::new(PoolConfig { wait, ..config(url, permits, command_ms) }, clock, &PoolMetrics::default())
}

fn config(url: RedisUrl, permits: usize, command_ms: u64) -> PoolConfig {
    PoolConfig {
        name: "test",
        url,
        permits: NonZeroUsize::new(permits).expect("not zero"),
        connections: NonZeroUsize::new(2).expect("not zero"),
        wait: Duration::from_millis(100),
        command_timeout: Duration::from_millis(command_ms),
        open_for: OPEN_FOR,
    }
}

fn pool_of(config: PoolConfig) -> RedisPool {
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

fn echo(text: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("ECHO");
    cmd.arg(text);
    cmd
}

fn text(value: redis::Value) -> String {
    redis::from_redis_value(value).expect("an ECHO answers with text")
}

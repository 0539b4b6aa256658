//! Helpers of the tests: pools, gates and minimal records.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use catalog::{Batch, DeploymentError, DeploymentGate, Expectation, Init, Product};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use tag_id::{BatchNo, Epoch, MasterSecret, TagKeys};
use test_support::RedisServer;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-02-16 12:00 UTC);
pub(crate) const ORIGIN: &str = "voketag.local/audit";

pub(crate) fn pool_within(url: &str, command_timeout: Duration) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(16).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: Duration::from_secs(10),
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

/// Returns a pool with long timeouts.
pub(crate) fn pool(redis: &RedisServer) -> RedisPool {
    pool_within(&redis.url(), Duration::from_secs(10))
}

pub(crate) fn epoch(number: u16) -> Epoch {
    Epoch::new(number).unwrap()
}

/// Returns tag keys from pairs of epoch and byte; each secret consists of its byte.
pub(crate) fn tag_keys(secrets: &[(u16, u8)]) -> Arc<TagKeys> {
    let secrets = secrets.iter().map(|&(number, byte)| (epoch(number), MasterSecret::from([byte; 32])));
    Arc::new(TagKeys::new(None, secrets))
}

/// Returns the expectation of a process that holds these secrets.
pub(crate) fn expecting(secrets: &[(u16, u8)], adds: Option<u16>) -> Expectation {
    Expectation { tag_keys: tag_keys(secrets), adds_epoch: adds.map(epoch), audit_origin: ORIGIN.to_owned() }
}

pub(crate) fn factory(redis: &RedisServer) -> DeploymentGate {
    DeploymentGate::new(pool(redis), expecting(&[(1, 1)], Some(1)), Init::Auto)
}

pub(crate) fn scanner(redis: &RedisServer) -> DeploymentGate {
    DeploymentGate::new(pool(redis), expecting(&[(1, 1)], None), Init::Never)
}

/// Refreshes the gate, which must fail because the state is lost, and returns the reason.
pub(crate) async fn lost(gate: &DeploymentGate) -> String {
    match gate.refresh(NOW).await {
        Err(DeploymentError::Lost(why)) => why,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn id(number: u64) -> Uuid {
    format!("019c6652-5e00-7000-8000-{number:012x}").parse().unwrap()
}

pub(crate) fn product(number: u64) -> Product {
    Product {
        id: id(number),
        tenant: "acme".to_owned(),
        name: format!("Product {number}"),
        brand: "Acme".to_owned(),
        gtin: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) fn batch(number: u32) -> Batch {
    Batch {
        id: id(u64::from(number)),
        tenant: "acme".to_owned(),
        batch_no: BatchNo::new(number).unwrap(),
        epoch: epoch(3),
        size: 10,
        product_id: id(0xaa),
        label: None,
        manufactured_at: None,
        expires_at: None,
        created_at: NOW,
        revoked: None,
        recalled: None,
    }
}

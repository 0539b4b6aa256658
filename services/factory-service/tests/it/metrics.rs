//! The reference of the metrics, and those of the audit chain's signatures.

use serde_json::json;
use test_support::{RedisServer, eventually};

use crate::support::{Factory, SECRET, SOON};

const SIGNS: (&str, &str) = ("AUDIT_SIGNING_KEY", SECRET);
const SECOND: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
/// No checkpoint is signed in the background.
const SELDOM: (&str, &str) = ("AUDIT_CHECKPOINT_SECS", "3600");

async fn number(factory: &Factory, metric: &str) -> f64 {
    factory.metric(&format!("voketag_{metric}")).await.parse().unwrap()
}

async fn eventually_shown(factory: &Factory, what: &str, metric: &str, holds: fn(f64) -> bool) {
    eventually(what, SOON, || async { holds(number(factory, metric).await) }).await;
}

#[tokio::test]
async fn every_metric_is_documented() {
    let limiter = ("RATE_LIMIT_REDIS_URL", "redis://127.0.0.1:2");
    let factory = Factory::begin("redis://127.0.0.1:1", &[limiter, SIGNS]).await;
    let write = std::env::var_os("VOKETAG_WRITE_DOCS").is_some();
    test_support::assert_metrics_documented("factory-service", &factory.get("/metrics").await.text, write);
}

#[tokio::test]
async fn unsigned_entries_are_counted_and_age_until_a_checkpoint_covers_them() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[SIGNS, SELDOM]).await;
    factory.product().await;
    eventually_shown(&factory, "an entry is unsigned", "audit_unsigned_entries", |count| count == 1.0).await;
    eventually_shown(&factory, "it ages", "audit_oldest_unsigned_seconds", |age| age > 0.5).await;
    assert!(number(&factory, "audit_checkpoint_age_seconds").await > 0.5, "the age of the first entry");

    assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    eventually_shown(&factory, "all are signed", "audit_unsigned_entries", |count| count == 0.0).await;
    assert_eq!(factory.metric("voketag_audit_oldest_unsigned_seconds").await, "0.0");
    let age = number(&factory, "audit_checkpoint_age_seconds").await;
    assert!(age > 0.5, "{age}");

    factory.product().await;
    eventually_shown(&factory, "one more is unsigned", "audit_unsigned_entries", |count| count == 1.0).await;
    let checkpoint = number(&factory, "audit_checkpoint_age_seconds").await;
    assert!(number(&factory, "audit_oldest_unsigned_seconds").await < checkpoint, "it is the later entry");
}

#[tokio::test]
async fn checkpoints_of_a_revoked_key_sign_nothing() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[SIGNS, ("AUDIT_SIGNING_KEY_2", SECOND), SELDOM]).await;
    factory.product().await;
    assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    factory.post("/v1/admin/keyring/audit", &json!({"number": 2})).await.expect(200);
    factory.post("/v1/admin/keyring/audit/2/activate", &json!({})).await.expect(200);
    eventually_shown(&factory, "two moves are unsigned", "audit_unsigned_entries", |count| count == 2.0)
        .await;
    let revoke = json!({"reason": "leaked", "compromised_since": "2020-01-01T00:00:00Z"});
    factory.post("/v1/admin/keyring/audit/1/revoke", &revoke).await.expect(200);
    eventually_shown(&factory, "all are unsigned", "audit_unsigned_entries", |count| count == 4.0).await;
}

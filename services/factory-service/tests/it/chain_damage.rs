//! A chain whose end does not match its head: nothing is appended, everything else works, and readiness
//! reports it.

use std::time::Duration;

use audit_chain::keys;
use redis::AsyncCommands;
use serde_json::json;
use test_support::eventually;

use crate::support::{Factory, SOON, start};

/// Checks twenty times that readiness fails because of the chain and nothing else.
async fn assert_unready_for_the_chain(factory: &Factory, says: &str) {
    for _ in 0..20 {
        let ready = factory.get("/v1/ready").await;
        assert_eq!(ready.status, 503, "{ready:?}");
        let checks = ready.json()["checks"].as_array().unwrap().clone();
        let failed: Vec<_> = checks.iter().filter(|check| check["ok"] == false).collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0]["name"], "audit_chain");
        assert!(failed[0]["detail"].as_str().unwrap().contains(says), "{failed:?}");
        // Longer than the result of a probe is cached, so that several probes are observed.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_half_written_tail_blocks_appends_and_nothing_else() {
    let (redis, factory) = start().await;
    let product = factory.product().await;
    let mut direct = redis.connection().await;
    direct.rpush::<_, _, ()>(keys::segment(0), "half a write").await.unwrap();
    eventually("readiness fails without an append", SOON, async || {
        factory.get("/v1/ready").await.status == 503
    })
    .await;
    assert_unready_for_the_chain(&factory, "1 entries follow the audit head").await;
    for _ in 0..20 {
        let rejected = factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
        assert_eq!(rejected.header("retry-after"), "30");
        let why = rejected.expect_problem(503, "state-lost");
        assert!(why.contains("audit trail is damaged") && why.contains("nothing was written"), "{why}");
        for path in ["/v1/products", &format!("/v1/products/{product}"), "/v1/audit/events", "/v1/audit/head"]
        {
            assert_eq!(factory.get(path).await.status, 200, "{path}");
        }
    }
    let report = factory.post("/v1/audit/verify", &json!({})).await.expect(200);
    assert_eq!((&report["state"], &report["first_error"]["seq"]), (&json!("broken"), &json!(1)));
    assert_eq!(factory.metric("voketag_audit_chain_damaged").await, "1");
    assert_eq!(factory.metric("voketag_durable_state_lost").await, "0");
    assert_eq!(factory.metric("voketag_audit_appends_total{result=\"end_fault\"}").await, "20");

    direct.rpop::<_, Vec<u8>>(keys::segment(0), None).await.unwrap();
    factory.until_ready().await;
    factory.product().await;
    assert_eq!(factory.metric("voketag_audit_chain_damaged").await, "0");
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn a_forged_head_blocks_appends_and_reading_a_missing_entry_is_state_lost() {
    let (redis, factory) = start().await;
    factory.product().await;
    let mut direct = redis.connection().await;
    let genuine: Vec<u8> = direct.get(keys::HEAD).await.unwrap();
    let forged = [&12_288_u64.to_be_bytes()[..], &genuine[8..]].concat();
    direct.set::<_, _, ()>(keys::HEAD, forged).await.unwrap();
    for _ in 0..3 {
        factory
            .post("/v1/products", &json!({"name": "n", "brand": "b"}))
            .await
            .expect_problem(503, "state-lost");
    }
    assert_unready_for_the_chain(&factory, "entry 8192 of the audit chain is missing").await;
    assert_eq!(factory.get("/v1/products").await.status, 200);
    assert_eq!(factory.get("/v1/audit/events?limit=1").await.status, 200);
    factory.get("/v1/audit/events?limit=2").await.expect_problem(503, "state-lost");
    assert_eq!(direct.llen::<_, u64>(keys::segment(0)).await.unwrap(), 1);
    direct.set::<_, _, ()>(keys::HEAD, genuine).await.unwrap();
    factory.until_ready().await;
    factory.product().await;
}

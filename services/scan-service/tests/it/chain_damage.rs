//! A half-written end of the audit chain rejects reports, and does not affect scans.

use audit_chain::keys;
use redis::AsyncCommands;
use serde_json::json;
use test_support::eventually;

use crate::app::{WAIT_LIMIT, open};
use crate::shop::Shop;

#[tokio::test]
async fn scans_succeed_while_reports_cannot_be_recorded() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "100000")]).await;
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    let mut direct = shop.redis.connection().await;
    direct.rpush::<_, _, ()>(keys::segment(0), "half a write").await.unwrap();
    for _ in 0..50 {
        app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
        for index in 0..3 {
            assert_eq!(app.scan(shop.tag(index)).await.status, 200);
        }
        let ready = app.get("/v1/ready").await;
        assert_eq!(ready.status, 200, "{}", ready.text);
        let checks = ready.json()["checks"].clone();
        let chain = checks.as_array().unwrap().iter().find(|check| check["name"] == "audit_chain").unwrap();
        assert_eq!(chain["detail"].is_string(), chain["ok"] == false);
    }
    eventually("readiness names the damage and stays 200", WAIT_LIMIT, async || {
        let ready = app.get("/v1/ready").await;
        let chain = json!({"name": "audit_chain", "ok": false, "required": false, "detail":
            "1 entries follow the audit head; factory-service audit repair removes them"});
        ready.status == 200 && ready.json()["checks"].as_array().unwrap().contains(&chain)
    })
    .await;
    assert_eq!(app.metric("voketag_audit_chain_damaged").await, 1);
    assert_eq!(app.metric("voketag_durable_state_lost").await, 0);
    direct.rpop::<_, Vec<u8>>(keys::segment(0), None).await.unwrap();
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    eventually("the chain is repaired", WAIT_LIMIT, async || {
        app.metric("voketag_audit_chain_damaged").await == 0
    })
    .await;
}

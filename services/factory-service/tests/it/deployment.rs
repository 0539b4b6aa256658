//! Lost state is never mistaken for an empty deployment, and a restart loses nothing.

use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::support::{Factory, SECRET, SOON, answer, start, stored_keys, text};

/// Returns the readiness check of one dependency.
fn check(readiness: &Value, name: &str) -> Value {
    let checks = readiness["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{readiness}")).clone()
}

#[tokio::test]
async fn a_wiped_redis_is_state_lost_on_every_route_and_gets_no_second_chain() {
    let (mut redis, factory) = start().await;
    let batch = factory.batch(2).await;
    let product = text(&batch["product_id"]);
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let batch = format!("/v1/batches/{}", text(&batch["id"]));
    redis.restart().await;
    let lost = async || {
        let answered = factory.get("/v1/products").await;
        answered.status == 503 && answered.json()["error"] == "state_lost"
    };
    eventually("the loss is detected", SOON, lost).await;
    assert!(stored_keys(&redis).await.is_empty());

    for path in [
        format!("/v1/products/{product}"),
        batch.clone(),
        "/v1/batches".to_owned(),
        format!("{batch}/tags"),
        format!("/v1/tags/{tag}"),
        format!("/v1/tags/{tag}/qr.svg"),
        "/v1/audit/events".to_owned(),
        "/v1/audit/head".to_owned(),
    ] {
        let rejected = factory.get(&path).await;
        assert!(rejected.header("retry-after").parse::<u32>().unwrap() > 0);
        rejected.expect_problem(503, "state-lost");
    }
    let mint = json!({"product_id": product, "size": 1});
    for (path, body) in [
        ("/v1/products".to_owned(), json!({"name": "n", "brand": "b"})),
        ("/v1/batches".to_owned(), mint),
        (format!("{batch}/revoke"), json!({"reason": "r"})),
        (format!("/v1/tags/{tag}/revoke"), json!({"reason": "r"})),
        ("/v1/audit/verify".to_owned(), json!({})),
    ] {
        factory.post(&path, &body).await.expect_problem(503, "state-lost");
    }
    let unready = factory.get("/v1/ready").await;
    let document = unready.json();
    unready.expect_problem(503, "not-ready");
    assert_eq!(check(&document, "deployment")["ok"], false);
    assert!(text(&check(&document, "deployment")["detail"]).contains("state lost"));
    assert!(stored_keys(&redis).await.is_empty(), "no new deployment was created");
    assert_eq!(factory.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn a_deployment_that_vanishes_is_detected_by_the_very_next_request() {
    let (redis, factory) = start().await;
    let product = format!("/v1/products/{}", factory.product().await);
    let keys = stored_keys(&redis).await;
    let _: () = redis.connection().await.del(keys).await.unwrap();
    factory.get(&product).await.expect_problem(503, "state-lost");
    factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await.expect_problem(503, "state-lost");
    assert!(stored_keys(&redis).await.is_empty());
}

#[tokio::test]
async fn an_audit_head_that_vanishes_is_state_lost() {
    let (redis, factory) = start().await;
    factory.product().await;
    let _: () = redis.connection().await.del(audit_chain::keys::HEAD).await.unwrap();
    factory.get("/v1/audit/head").await.expect_problem(503, "state-lost");
    factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await.expect_problem(503, "state-lost");
    let unready = || async { factory.get("/v1/ready").await.status == 503 };
    eventually("readiness fails", SOON, unready).await;
    assert_eq!(check(&factory.get("/v1/ready").await.json(), "audit")["ok"], false);
}

#[tokio::test]
async fn deployment_init_never_creates_no_deployment_in_an_empty_redis() {
    let redis = RedisServer::start().await;
    let factory = Factory::begin(&redis.url(), &[("DEPLOYMENT_INIT", "never")]).await;
    let rejected = || async {
        let answered = factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
        answered.status == 503 && answered.json()["error"] == "state_lost"
    };
    eventually("the connection is up and the answer state-lost", SOON, rejected).await;
    assert_eq!(factory.get("/v1/ready").await.status, 503);
    assert!(stored_keys(&redis).await.is_empty());

    let maker = Factory::start(&redis.url(), &[]).await;
    maker.product().await;
    factory.until_ready().await;
    assert_eq!(factory.history().await.len(), 1);
}

#[tokio::test]
async fn a_factory_with_another_secret_or_origin_is_never_ready() {
    let (redis, factory) = start().await;
    factory.product().await;
    let other_secret = "ff".repeat(32);
    for wrong in [("TAG_MASTER_SECRET", other_secret.as_str()), ("AUDIT_ORIGIN", "elsewhere/audit")] {
        let other = Factory::begin(&redis.url(), &[wrong]).await;
        let rejected = || async {
            let answered = other.get("/v1/products").await;
            answered.status == 503 && answered.json()["error"] == "state_lost"
        };
        eventually("the other factory reports state-lost", SOON, rejected).await;
        assert_eq!(other.get("/v1/ready").await.status, 503);
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn a_restart_of_either_side_keeps_everything() {
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::start_with(&args).await;
    let factory = Factory::start(&redis.url(), &[]).await;
    let ready = factory.get("/v1/ready").await.expect(200);
    assert!(check(&ready, "storage").get("warn").is_none(), "{ready}");
    let batch = factory.batch(2).await;
    let rows = factory.tags(&batch, "").await;
    drop(factory);
    redis.restart().await;

    let factory = Factory::start(&redis.url(), &[("DEPLOYMENT_INIT", "never")]).await;
    let path = format!("/v1/batches/{}", text(&batch["id"]));
    assert_eq!(factory.get(&path).await.expect(200), batch);
    assert_eq!(factory.tags(&batch, "").await, rows);
    assert_ne!(factory.batch(1).await["batch_no"], batch["batch_no"]);
    factory.assert_chain_of(6).await;
}

#[tokio::test]
async fn a_weak_storage_policy_is_a_warning_and_the_service_stays_ready() {
    let args = ["--maxmemory-policy", "allkeys-lru"];
    let redis = RedisServer::start_with(&args).await;
    let factory = Factory::start(&redis.url(), &[]).await;
    let warned = || async {
        let ready = factory.get("/v1/ready").await.expect(200);
        check(&ready, "storage")["warn"] == true
    };
    eventually("the settings were read", SOON, warned).await;
    let storage = check(&factory.get("/v1/ready").await.expect(200), "storage");
    assert!(text(&storage["detail"]).contains("allkeys-lru"), "{storage}");
    let metrics = answer(factory.client.get(format!("{}/metrics", factory.base))).await.text;
    assert!(metrics.contains("voketag_redis_storage_warnings{pool=\"durable\",concern=\"eviction\"} 1"));
    assert!(metrics.contains("voketag_redis_storage_warnings{pool=\"durable\",concern=\"fsync\"} 1"));
}

#[tokio::test]
async fn the_documented_redis_rights_are_sufficient() {
    let redis = RedisServer::start().await;
    let url = redis.with_documented_rights().await;
    let keys = [("AUDIT_SIGNING_KEY", SECRET), ("TAG_MASTER_SECRET_2", SECRET)];
    let factory = Factory::start(&url, &keys).await;
    let batch = factory.batch(2).await;
    let batch_path = format!("/v1/batches/{}", text(&batch["id"]));
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let product = format!("/v1/products/{}", text(&batch["product_id"]));
    factory.patch(&product, &json!({"name": "Rain jacket, red"})).await.expect(200);
    let why = json!({"reason": "test"});
    factory.post(&format!("/v1/tags/{tag}/revoke"), &why).await.expect(200);
    factory.post(&format!("{batch_path}/recall"), &why).await.expect(200);
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    let key = json!({"tenant": "acme", "scopes": ["audit:read"]});
    let made = factory.post("/v1/admin/keys", &key).await.expect(201);
    let whole = text(&made["key"]);
    let key_path = format!("/v1/admin/keys/{}", text(&made["id"]));
    factory.post(&format!("{key_path}/rotate"), &json!({})).await.expect(201);
    let once = factory.request(Method::POST, &format!("{key_path}/revoke")).json(&why);
    answer(once.header("Idempotency-Key", "once")).await.expect(200);
    answer(factory.client.get(format!("{}/v1/audit/head", factory.base)).bearer_auth(whole))
        .await
        .expect_problem(401, "unauthenticated");
    factory.post("/v1/admin/tenants/acme/suspend", &why).await.expect(200);
    factory.post("/v1/admin/keyring/tag", &json!({"number": 2})).await.expect(200);
    factory.post("/v1/admin/keyring/tag/2/activate", &json!({})).await.expect(200);
    for path in [
        "/v1/products",
        "/v1/batches",
        "/v1/admin/tenants",
        "/v1/admin/keys?tenant=acme",
        "/v1/admin/keyring",
        "/v1/audit/events",
    ] {
        factory.get(path).await.expect(200);
    }
    assert_eq!(factory.get("/v1/admin/audit/export").await.status, 200);
    assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    assert_eq!(factory.post("/v1/audit/verify", &json!({})).await.expect(200)["state"], "valid");
    assert_eq!(redis.refused_for_want_of_rights().await, []);
}

//! The audit trail: its events, pages and verification.

use std::collections::BTreeSet;

use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::RedisServer;

use crate::support::{Factory, SLOWLY, answer, start, start_behind_proxy, text};

#[tokio::test]
async fn an_event_records_actor_action_time_and_address() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let request = factory
        .request(Method::POST, "/v1/products")
        .header("X-Request-Id", "order-4711")
        .header("X-Forwarded-For", "198.51.100.1, 203.0.113.7")
        .json(&json!({"name": "n", "brand": "b"}));
    let product = answer(request).await;
    assert_eq!(product.header("x-request-id"), "order-4711");
    let product = product.expect(201);
    let page = factory.get("/v1/audit/events").await.expect(200);
    let entry = &page["events"][0];
    let event = &entry["event"];
    let members: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted =
        ["id", "ts", "tenant", "actor", "action", "resource", "request_id", "ip", "details", "nonce"];
    assert_eq!(members, BTreeSet::from(wanted));
    assert_eq!((&event["tenant"], &event["actor"]), (&json!("default"), &json!("key/bootstrap")));
    assert_eq!((&event["request_id"], &event["ip"]), (&json!("order-4711"), &json!("203.0.113.7")));
    assert_eq!(event["resource"], format!("product/{}", text(&product["id"])));
    assert_eq!(text(&event["nonce"]).len(), 32);
    let entry_members: BTreeSet<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(entry_members, BTreeSet::from(["seq", "prev", "payload_hash", "hash", "event"]));
    assert_eq!(entry["seq"], 0);
}

#[tokio::test]
async fn a_forwarded_header_from_an_untrusted_peer_does_not_change_the_address() {
    let (_redis, factory) = start().await;
    let request = factory.request(Method::POST, "/v1/products").header("X-Forwarded-For", "203.0.113.7");
    answer(request.json(&json!({"name": "n", "brand": "b"}))).await.expect(201);
    assert_eq!(factory.events().await[0]["ip"], "127.0.0.1");
}

#[tokio::test]
async fn pages_of_events_are_contiguous_up_to_the_head() {
    let (_redis, factory) = start().await;
    let empty = factory.get("/v1/audit/head").await.expect(200);
    assert_eq!((&empty["size"], text(&empty["head"]).len()), (&json!(0), 64));
    assert_eq!(factory.get("/v1/audit/events").await.expect(200), json!({"events": []}));
    for _ in 0..5 {
        factory.product().await;
    }
    let (mut entries, mut query) = (Vec::<Value>::new(), "?limit=2".to_owned());
    loop {
        let page = factory.get(&format!("/v1/audit/events{query}")).await.expect(200);
        entries.extend(page["events"].as_array().unwrap().iter().cloned());
        match page.get("next") {
            Some(next) => query = format!("?limit=2&after_seq={next}"),
            None => break,
        }
    }
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[0]["prev"], empty["head"]);
    for (seq, pair) in entries.windows(2).enumerate() {
        assert_eq!((&pair[0]["seq"], &pair[1]["prev"]), (&json!(seq), &pair[0]["hash"]));
    }
    let head = factory.get("/v1/audit/head").await.expect(200);
    assert_eq!(head, json!({"size": 5, "head": entries[4]["hash"]}));
    for query in ["?after_seq=4", "?after_seq=18446744073709551615"] {
        let past = factory.get(&format!("/v1/audit/events{query}")).await.expect(200);
        assert_eq!(past, json!({"events": []}));
    }
    for wrong in ["limit=0", "limit=1001", "after_seq=-1", "after_seq=x", "seq=1"] {
        factory.get(&format!("/v1/audit/events?{wrong}")).await.expect_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_range_is_verified_and_a_tampered_entry_is_named() {
    let (redis, factory) = start().await;
    for _ in 0..4 {
        factory.product().await;
    }
    let verify = async |body: Value| factory.post("/v1/audit/verify", &body).await.expect(200);
    let part = verify(json!({"from": 1, "to": 3})).await;
    assert_eq!((&part["state"], &part["checked"], &part["size"]), (&json!("unsigned"), &json!(2), &json!(4)));
    assert_eq!(part["ok"], false, "a part is verified without signatures");
    assert_eq!(verify(json!({"from": 9})).await["checked"], 0);
    assert_eq!(verify(json!({})).await["head"], factory.get("/v1/audit/head").await.expect(200)["head"]);
    factory
        .post("/v1/audit/verify", &json!({"from": 3, "to": 1}))
        .await
        .expect_problem(400, "invalid-request");

    let mut connection = redis.connection().await;
    let segment = audit_chain::keys::segment(0);
    let mut element: Vec<u8> = connection.lindex(&segment, 2).await.unwrap();
    let name = element.windows(4).position(|bytes| bytes == b"Rain").unwrap();
    element[name] = b'M';
    let _: () = connection.lset(&segment, 2, element).await.unwrap();
    let report = verify(json!({})).await;
    assert_eq!((&report["ok"], &report["checked"]), (&json!(false), &json!(2)));
    assert_eq!(report["first_error"]["seq"], 2);
    assert!(report["first_error"]["why"].is_string());
}

#[tokio::test]
async fn a_tenant_runs_one_verification_at_a_time() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    factory.product().await;
    proxy.delay(SLOWLY);
    let everything = json!({});
    let (a, b) = tokio::join!(
        factory.post("/v1/audit/verify", &everything),
        factory.post("/v1/audit/verify", &everything),
    );
    let (done, rejected) = if a.status == 200 { (a, b) } else { (b, a) };
    assert_eq!(done.expect(200)["ok"], true);
    rejected.expect_problem(409, "conflict");
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn a_tenant_that_verifies_all_the_time_does_not_block_others() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let admin = async |path: &str, body: &Value| factory.post(path, body).await.expect(201);
    let mut keys = Vec::new();
    for tenant in ["acme", "brand"] {
        admin("/v1/admin/tenants", &json!({"id": tenant})).await;
        let made = admin("/v1/admin/keys", &json!({"tenant": tenant, "scopes": ["audit:read"]})).await;
        keys.push(text(&made["key"]));
    }
    let verify = async |key: &str| {
        let request = factory.client.post(format!("{}/v1/audit/verify", factory.base)).bearer_auth(key);
        answer(request).await.status
    };
    proxy.delay(std::time::Duration::from_millis(20));
    let greedy = async {
        loop {
            verify(&keys[0]).await;
        }
    };
    let modest = async {
        for _ in 0..5 {
            assert_eq!(verify(&keys[1]).await, 200);
        }
    };
    tokio::select! {
        () = modest => {}
        () = greedy => unreachable!("the loop never ends"),
    }
}

#[tokio::test]
async fn two_concurrent_factories_share_one_chain_and_draw_distinct_batch_numbers() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let (a, b) = tokio::join!(Factory::start(&url, &[]), Factory::start(&url, &[]));
    let mint = async |factory: &Factory| {
        let mut numbers = Vec::new();
        for _ in 0..20 {
            numbers.push(factory.batch(1).await["batch_no"].as_u64().unwrap());
        }
        numbers
    };
    let (a_numbers, b_numbers, c_numbers) = tokio::join!(mint(&a), mint(&b), mint(&a));
    let numbers: BTreeSet<u64> = [a_numbers, b_numbers, c_numbers].concat().into_iter().collect();
    assert_eq!(numbers.len(), 60, "the batch numbers are distinct");
    a.assert_chain_of(120).await;
    b.assert_chain_of(120).await;
    let ids: BTreeSet<String> = a.events().await.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(ids.len(), 120);
}

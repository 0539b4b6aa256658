//! A request with an `Idempotency-Key` is carried out once, however often it is sent.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::support::{Answer, Factory, SOON, answer, rounds, start, start_behind_proxy, text};

async fn post(factory: &Factory, path: &str, key: &str, body: &Value) -> Answer {
    answer(factory.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

/// Returns the parts of an answer that a repeat must have too.
fn comparable(answer: &Answer) -> (u16, String, String, String) {
    let header = |name| answer.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (answer.status, answer.text.clone(), header("content-type"), header("location"))
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_is_marked() {
    let (_redis, factory) = start().await;
    let body = json!({"name": "Rain jacket", "brand": "Northern"});
    let first = post(&factory, "/v1/products", "\"once\"", &body).await;
    assert!(first.status == 201 && !is_replayed(&first), "{first:?}");
    assert_eq!(first.header("idempotency-ttl"), "86400");
    // The same key as a bare token.
    let second = post(&factory, "/v1/products", "once", &body).await;
    assert!(is_replayed(&second), "{second:?}");
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(comparable(&first), comparable(&second));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    factory.assert_chain_of(1).await;
    assert_eq!(factory.get("/v1/products").await.expect(200)["items"].as_array().unwrap().len(), 1);
    // Without a key it is another request.
    factory.post("/v1/products", &body).await.expect(201);
    factory.assert_chain_of(2).await;
    let metrics = answer(factory.client.get(format!("{}/metrics", factory.base))).await.text;
    for (outcome, requests) in [("executed", 1), ("replayed", 1), ("key_reused", 0), ("in_flight", 0)] {
        let line = format!("voketag_idempotency_outcomes_total{{outcome=\"{outcome}\"}} {requests}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn every_post_accepts_a_key() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let made =
        post(&factory, "/v1/batches", "k", &json!({"product_id": product, "size": 5})).await.expect(201);
    let batch = text(&made["id"]);
    let tag = text(&factory.tags(&made, "").await[0]["tag_id"]);
    let reason = json!({"reason": "lost"});
    for path in [
        format!("/v1/tags/{tag}/revoke"),
        format!("/v1/batches/{batch}/recall"),
        format!("/v1/batches/{batch}/revoke"),
    ] {
        let first = post(&factory, &path, "k", &reason).await;
        let again = post(&factory, &path, "k", &reason).await;
        assert!(first.status == 200 && is_replayed(&again), "{path}: {first:?} {again:?}");
        assert_eq!(comparable(&first), comparable(&again), "{path}");
        // The answer of a request that changed nothing is stored too.
        let other = post(&factory, &path, "other", &reason).await;
        assert!(other.status == 200 && !is_replayed(&other));
        assert!(is_replayed(&post(&factory, &path, "other", &reason).await));
    }
    let first = post(&factory, "/v1/audit/verify", "k", &json!({})).await;
    let size = first.json()["size"].clone();
    factory.product().await;
    let again = post(&factory, "/v1/audit/verify", "k", &json!({})).await;
    assert!(is_replayed(&again) && again.json()["size"] == size, "{again:?}");
}

#[tokio::test]
async fn the_same_key_on_two_routes_or_resources_is_two_requests() {
    let (_redis, factory) = start().await;
    let (one, two) = (factory.batch(1).await, factory.batch(1).await);
    let reason = json!({"reason": "r"});
    let path = |batch: &Value, what: &str| format!("/v1/batches/{}/{what}", text(&batch["id"]));
    for path in [path(&one, "recall"), path(&two, "recall"), path(&one, "revoke"), path(&two, "revoke")] {
        let first = post(&factory, &path, "same", &reason).await;
        assert!(first.status == 200 && !is_replayed(&first), "{path}");
    }
    factory.assert_chain_of(8).await;
}

#[tokio::test]
async fn the_same_key_with_another_request_is_rejected() {
    let (_redis, factory) = start().await;
    let body = json!({"name": "n", "brand": "b"});
    post(&factory, "/v1/products", "k", &body).await.expect(201);
    let other = json!({"name": "n", "brand": "c"});
    post(&factory, "/v1/products", "k", &other).await.expect_problem(422, "idempotency-key-reused");
    // The query and the content type are part of the request.
    post(&factory, "/v1/products?", "k", &body).await.expect_problem(422, "idempotency-key-reused");
    let typed = factory
        .request(Method::POST, "/v1/products")
        .header("Idempotency-Key", "k")
        .header("content-type", "application/vnd.a+json")
        .body(body.to_string());
    answer(typed).await.expect_problem(422, "idempotency-key-reused");
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn an_invalid_key_is_rejected_and_nothing_is_done() {
    let (_redis, factory) = start().await;
    let body = json!({"name": "n", "brand": "b"});
    let long = "k".repeat(256);
    for wrong in ["", "\"\"", "\"open", "a b", "\"a\";p=1", "a,b", "\"a\", \"b\"", &long, "\"\\x\""] {
        let detail =
            post(&factory, "/v1/products", wrong, &body).await.expect_problem(400, "invalid-request");
        assert!(detail.contains("Idempotency-Key"), "{wrong}: {detail}");
    }
    let twice = factory
        .request(Method::POST, "/v1/products")
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b")
        .json(&body);
    answer(twice).await.expect_problem(400, "invalid-request");
    factory.assert_chain_of(0).await;
    post(&factory, "/v1/products", &"k".repeat(255), &body).await.expect(201);
}

#[tokio::test]
async fn a_rejection_is_not_stored() {
    let (_redis, factory) = start().await;
    let wrong = json!({"name": "n", "brand": "b", "gtin": "4006381333932"});
    post(&factory, "/v1/products", "k", &wrong).await.expect_problem(422, "unprocessable");
    post(&factory, "/v1/products", "k", &json!({"name": ""})).await.expect_problem(400, "invalid-request");
    let unknown = answer(
        factory
            .client
            .post(format!("{}/v1/products", factory.base))
            .bearer_auth("x".repeat(40))
            .header("Idempotency-Key", "k")
            .json(&wrong),
    )
    .await;
    unknown.expect_problem(401, "unauthenticated");
    let right = json!({"name": "n", "brand": "b"});
    let made = post(&factory, "/v1/products", "k", &right).await;
    assert!(made.status == 201 && !is_replayed(&made), "{made:?}");
    assert!(is_replayed(&post(&factory, "/v1/products", "k", &right).await));
}

#[tokio::test]
async fn a_body_of_a_megabyte_is_too_large_and_leaves_no_claim() {
    let (_redis, factory) = start().await;
    let large = json!({"name": "n".repeat(1 << 20), "brand": "b"});
    post(&factory, "/v1/products", "k", &large).await.expect_problem(413, "content-too-large");
    post(&factory, "/v1/products", "k", &json!({"name": "n", "brand": "b"})).await.expect(201);
}

/// Each round sends a hundred copies of one request at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_copies_at_once_make_one_batch_and_one_event() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let body = json!({"product_id": product, "size": 10});
    let rounds = rounds(5);
    let mut in_flight = 0;
    for round in 0..rounds {
        let key = format!("round-{round}");
        let copies = (0..100).map(|_| post(&factory, "/v1/batches", &key, &body));
        let answers = futures_util::future::join_all(copies).await;
        let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert!(!made.is_empty());
        assert!(made.iter().all(|answer| answer.text == made[0].text));
        assert_eq!(made.iter().filter(|answer| !is_replayed(answer)).count(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (409, Some("idempotency_in_flight"))
            );
            assert!(answer.headers.contains_key("retry-after"));
            in_flight += 1;
        }
        factory.assert_chain_of(2 + round).await;
    }
    println!(
        "{rounds} rounds of 100 copies: one batch and one event each, {in_flight} answers 409, no other error"
    );
}

#[tokio::test]
async fn the_work_continues_if_the_client_disconnects() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let product = factory.product().await;
    let body = json!({"product_id": product, "size": 3});
    proxy.delay(Duration::from_millis(300));
    let disconnected = factory
        .request(Method::POST, "/v1/batches")
        .header("Idempotency-Key", "left")
        .timeout(Duration::from_millis(900))
        .json(&body)
        .send()
        .await;
    assert!(disconnected.is_err_and(|error| error.is_timeout()), "the client disconnects before its answer");
    proxy.heal();
    eventually("the batch exists", SOON, || async {
        factory.get("/v1/batches").await.expect(200)["items"].as_array().unwrap().len() == 1
    })
    .await;
    let again = post(&factory, "/v1/batches", "left", &body).await;
    assert!(again.status == 201 && is_replayed(&again), "{again:?}");
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn without_redis_nothing_is_executed() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    proxy.cut();
    let rejected = post(&factory, "/v1/products", "k", &json!({"name": "n", "brand": "b"})).await;
    rejected.expect_problem(503, "redis-unavailable");
    proxy.heal();
    factory.until_ready().await;
    eventually("the request is executed", SOON, || async {
        post(&factory, "/v1/products", "k", &json!({"name": "n", "brand": "b"})).await.status == 201
    })
    .await;
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn a_rotated_key_can_still_retry_and_a_revoked_one_cannot() {
    let (_redis, factory) = start().await;
    let made = factory
        .post("/v1/admin/keys", &json!({"tenant": "default", "scopes": ["factory:write"]}))
        .await
        .expect(201);
    let (id, old) = (text(&made["id"]), text(&made["key"]));
    let rotated = factory.post(&format!("/v1/admin/keys/{id}/rotate"), &json!({})).await.expect(201);
    let new = text(&rotated["key"]);
    let body = json!({"name": "n", "brand": "b"});
    let send = async |key: &str| {
        answer(
            factory
                .client
                .post(format!("{}/v1/products", factory.base))
                .bearer_auth(key)
                .header("Idempotency-Key", "k")
                .json(&body),
        )
        .await
    };
    let first = send(&old).await;
    assert_eq!(first.status, 201, "{first:?}");
    let retried = send(&new).await;
    assert!(is_replayed(&retried) && comparable(&retried) == comparable(&first), "{retried:?}");
    factory.post(&format!("/v1/admin/keys/{id}/revoke"), &json!({"reason": "leaked"})).await.expect(200);
    send(&old).await.expect_problem(401, "unauthenticated");
    assert!(is_replayed(&send(&new).await));
}

#[tokio::test]
async fn a_new_api_key_is_not_stored_for_a_repeat() {
    let (redis, factory) = start().await;
    let body = json!({"tenant": "default", "scopes": ["factory:read"]});
    let first = post(&factory, "/v1/admin/keys", "k", &body).await.expect(201);
    let again = post(&factory, "/v1/admin/keys", "k", &body).await;
    assert!(again.status == 201 && is_replayed(&again));
    assert_eq!(again.json()["id"], first["id"]);
    assert!(again.json()["key"].is_null(), "{again:?}");
    assert_nowhere_stored(&redis, &text(&first["key"])).await;
    factory.assert_chain_of(1).await;
}

/// Checks that no key in Redis holds the secret or its last 20 characters.
async fn assert_nowhere_stored(redis: &RedisServer, secret: &str) {
    let mut connection = redis.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    for key in keys {
        let dumped: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
        let tail = &secret.as_bytes()[secret.len() - 20..];
        assert!(!dumped.windows(tail.len()).any(|part| part == tail), "{key} holds the secret");
    }
}

#[tokio::test]
async fn a_key_costs_at_most_two_more_round_trips() {
    let (redis, factory) = start().await;
    let product = factory.product().await;
    let calls = async || -> u64 {
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut redis.connection().await).await.unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    };
    let body = json!({"product_id": product, "size": 1});
    // Redis knows every script after the first round.
    post(&factory, "/v1/batches", "warm", &body).await.expect(201);
    // Background work only adds calls to a round, so the minimum of many rounds is the request alone.
    let (mut without, mut with) = (u64::MAX, u64::MAX);
    for round in 0..20 {
        let before = calls().await;
        factory.post("/v1/batches", &body).await.expect(201);
        let between = calls().await;
        post(&factory, "/v1/batches", &format!("k{round}"), &body).await.expect(201);
        let after = calls().await;
        (without, with) = (without.min(between - before), with.min(after - between));
    }
    println!("POST /v1/batches: {without} scripts without an Idempotency-Key, {with} with one");
    assert!(with <= without + 2);
}

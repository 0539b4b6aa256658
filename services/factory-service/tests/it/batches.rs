//! Batches: mint, show, list and withdraw.

use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{SLOWLY, start, start_behind_proxy, text};

#[tokio::test]
async fn a_batch_is_minted_shown_and_listed() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let wanted = json!({
        "product_id": product, "size": 16_777_216, "label": "Spring run",
        "manufactured_at": "2026-03-01T12:00:00+02:00", "expires_at": "2999-03-01T00:00:00Z",
    });
    let made = factory.post("/v1/batches", &wanted).await;
    let location = made.header("location").to_owned();
    let batch = made.expect(201);
    assert_eq!(location, format!("/v1/batches/{}", text(&batch["id"])));
    assert_eq!(batch["size"], 16_777_216);
    assert_eq!(batch["epoch"], 1);
    assert_eq!(batch["state"], "active");
    assert_eq!(batch["manufactured_at"], "2026-03-01T12:00:00.000+02:00", "the offset is kept");
    assert!(batch["batch_no"].as_u64().unwrap() < 1 << 24);
    assert_eq!(factory.get(&location).await.expect(200), batch);
    assert_eq!(factory.get("/v1/batches").await.expect(200), json!({"items": [batch]}));

    let events = factory.events().await;
    assert_eq!(events[1]["action"], "batch.created");
    assert_eq!(events[1]["resource"], format!("batch/{}", text(&batch["id"])));
    assert_eq!(
        events[1]["details"],
        json!({
            "product_id": product, "size": 16_777_216, "epoch": 1,
            "batch_no": batch["batch_no"], "label": "Spring run"
        })
    );
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn batch_numbers_are_random_and_recorded_besides_the_batch() {
    let (redis, factory) = start().await;
    let (first, second) = (factory.batch(1).await, factory.batch(70_000).await);
    let number = |batch: &Value| batch["batch_no"].as_u64().unwrap();
    assert_ne!(number(&second), (number(&first) + 1) % (1 << 24), "consecutive only once in 16 million runs");
    let mut link = redis.connection().await;
    let recorded: Vec<u8> = link.hget("vt1:bn", number(&second)).await.unwrap();
    assert_eq!(recorded, [0, 1, 0x11, 0x70, 0, 1], "size and epoch");
    assert!(!link.exists::<_, bool>("vt1:next-batch").await.unwrap());
}

#[tokio::test]
async fn a_batch_with_contradictory_dates_or_an_unknown_product_is_unprocessable() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let unknown_product = json!({"product_id": "019c6652-5e00-7000-8000-0000000000aa", "size": 1});
    let unknown = factory.post("/v1/batches", &unknown_product).await.expect_problem(422, "unprocessable");
    assert!(unknown.starts_with("product_id "), "{unknown}");
    for expiry in ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2025-12-31T00:00:00Z"] {
        let batch = json!({
            "product_id": product, "size": 1, "manufactured_at": "2026-01-01T00:00:00Z", "expires_at": expiry,
        });
        let detail = factory.post("/v1/batches", &batch).await.expect_problem(422, "unprocessable");
        assert!(detail.starts_with("expires_at "), "{detail}");
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn sizes_and_dates_out_of_range_are_malformed() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    for (member, value) in [
        ("size", json!(0)),
        ("size", json!(16_777_217)),
        ("size", json!(-1)),
        ("size", json!(1.5)),
        ("size", json!("1")),
        ("label", json!("")),
        ("label", json!("x".repeat(201))),
        ("manufactured_at", json!("yesterday")),
        ("expires_at", json!("9999-12-31T23:59:59-01:00")),
        ("expires_at", json!(1_700_000_000)),
    ] {
        let mut batch = json!({"product_id": product, "size": 1});
        batch[member] = value.clone();
        let detail = factory.post("/v1/batches", &batch).await.expect_problem(400, "invalid-request");
        assert!(detail.contains(member), "{member} {value}: {detail}");
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn a_second_withdrawal_keeps_the_first_reason_and_appends_no_event() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(3).await;
    let path = format!("/v1/batches/{}", text(&batch["id"]));
    let withdraw = async |how: &str, reason: &str| -> Value {
        factory.post(&format!("{path}/{how}"), &json!({"reason": reason})).await.expect(200)
    };
    let recalled = withdraw("recall", "a seam opens").await;
    assert_eq!(
        (&recalled["state"], &recalled["recalled"]["reason"]),
        (&json!("recalled"), &json!("a seam opens"))
    );
    assert!(recalled.get("revoked").is_none());
    assert_eq!(withdraw("recall", "another reason").await, recalled);

    let revoked = withdraw("revoke", "burnt").await;
    assert_eq!((&revoked["state"], &revoked["revoked"]["reason"]), (&json!("revoked"), &json!("burnt")));
    assert_eq!(revoked["recalled"], recalled["recalled"]);
    assert_eq!(withdraw("revoke", "again").await, revoked);
    assert_eq!(withdraw("recall", "again").await, revoked);
    assert_eq!(factory.get(&path).await.expect(200), revoked);

    let history = factory.history().await;
    let actions: Vec<&str> = history.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["product.created", "batch.created", "batch.recalled", "batch.revoked"]);
    assert_eq!(factory.events().await[2]["details"], json!({"reason": "a seam opens"}));
    factory.assert_chain_of(4).await;
}

#[tokio::test]
async fn concurrent_withdrawals_append_one_event_each() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let path = format!("/v1/batches/{}", text(&factory.batch(1).await["id"]));
    let (revoke, recall) = (format!("{path}/revoke"), format!("{path}/recall"));
    let reason = json!({"reason": "r"});
    proxy.delay(SLOWLY);
    let (a, b, c, d) = tokio::join!(
        factory.post(&revoke, &reason),
        factory.post(&recall, &reason),
        factory.post(&revoke, &reason),
        factory.post(&recall, &reason),
    );
    assert_eq!([a.status, b.status, c.status, d.status], [200; 4]);
    factory.assert_chain_of(4).await;
}

#[tokio::test]
async fn a_batch_with_a_past_expiry_needs_allow_expired() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let mut wanted = json!({"product_id": product, "size": 1, "expires_at": "2020-01-01T00:00:00Z"});
    for allow in [None, Some(false)] {
        if let Some(allow) = allow {
            wanted["allow_expired"] = json!(allow);
        }
        let detail = factory.post("/v1/batches", &wanted).await.expect_problem(422, "unprocessable");
        assert!(detail.starts_with("expires_at is 2020-01-01T00:00:00.000Z, which is past"), "{detail}");
        assert!(detail.contains("\"allow_expired\": true") && detail.contains("e.g. 20"), "{detail}");
    }
    wanted["allow_expired"] = json!(true);
    let batch = factory.post("/v1/batches", &wanted).await.expect(201);
    assert_eq!(batch["state"], "expired");
    assert_eq!(factory.tags(&batch, "").await.len(), 1);
}

#[tokio::test]
async fn a_reason_is_required_and_bounded() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/batches/{}/revoke", text(&factory.batch(1).await["id"]));
    for wrong in [json!({}), json!({"reason": ""}), json!({"reason": "x".repeat(501)}), json!({"reason": 1})]
    {
        factory.post(&path, &wrong).await.expect_problem(400, "invalid-request");
    }
    let unknown_batch = "/v1/batches/019c6652-5e00-7000-8000-0000000000aa/revoke";
    factory.post(unknown_batch, &json!({"reason": "r"})).await.expect_problem(404, "not-found");
    factory.assert_chain_of(2).await;
    factory.post(&path, &json!({"reason": "é".repeat(500)})).await.expect(200);
}

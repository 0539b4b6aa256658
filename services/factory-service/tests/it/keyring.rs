//! Key rotation and revocation through the factory's routes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::support::{Factory, SECRET, SOON, UNSET, start, text};

const SECOND: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TWO: (&str, &str) = ("TAG_MASTER_SECRET_2", SECOND);

async fn state_of(factory: &Factory, family: &str, number: u16) -> Value {
    let keyring = factory.get("/v1/admin/keyring").await.expect(200);
    let keys = keyring[family].as_array().unwrap();
    keys.iter().find(|key| key["number"] == number).map_or(Value::Null, |key| key["state"].clone())
}

fn path(number: u16, what: &str) -> String {
    format!("/v1/admin/keyring/tag/{number}/{what}")
}

async fn epoch_of_new_batch(factory: &Factory) -> u64 {
    factory.batch(1).await["epoch"].as_u64().unwrap()
}

#[tokio::test]
async fn an_epoch_moves_forward_through_its_states_only() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[TWO]).await;
    assert_eq!(state_of(&factory, "tag", 1).await, "active");
    assert_eq!(epoch_of_new_batch(&factory).await, 1);
    let none = json!({});
    factory.post(&path(2, "activate"), &none).await.expect_problem(404, "not-found");
    factory.post("/v1/admin/keyring/tag", &json!({"number": 2})).await.expect(200);
    assert_eq!(state_of(&factory, "tag", 2).await, "pending");
    assert_eq!(epoch_of_new_batch(&factory).await, 1, "a pending key mints nothing");

    factory.post(&path(2, "activate"), &none).await.expect(200);
    assert_eq!(state_of(&factory, "tag", 1).await, "verify_only");
    assert_eq!(state_of(&factory, "tag", 2).await, "active");
    assert_eq!(epoch_of_new_batch(&factory).await, 2);
    factory.post(&path(1, "activate"), &none).await.expect_problem(409, "conflict");

    let revoked = |at: &str| json!({"reason": "leaked", "compromised_since": at, "confirm_batches": 2});
    let revoke = revoked("2026-02-01T00:00:00Z");
    factory.post(&path(2, "revoke"), &revoke).await.expect_problem(409, "conflict");
    factory.post(&path(1, "revoke"), &revoke).await.expect(200);
    assert_eq!(state_of(&factory, "tag", 1).await, "revoked");
    // Another date needs another action.
    for other in ["2026-03-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
        let rejected =
            factory.post(&path(1, "revoke"), &revoked(other)).await.expect_problem(409, "conflict");
        assert!(rejected.contains("correct-date"), "{rejected}");
    }
    factory.post(&path(1, "correct-date"), &revoked("2026-01-01T00:00:00Z")).await.expect(200);
    for what in ["revoke", "correct-date"] {
        factory
            .post(&path(1, what), &revoked("2999-01-01T00:00:00Z"))
            .await
            .expect_problem(422, "unprocessable");
    }
    factory.post(&path(1, "destroy"), &none).await.expect(200);
    assert_eq!(state_of(&factory, "tag", 1).await, "destroyed");
    factory.post(&path(1, "revoke"), &revoke).await.expect_problem(409, "conflict");
    for (family, number) in [("tag", "0"), ("tag", "4096"), ("tag", "x"), ("door", "1")] {
        let path = format!("/v1/admin/keyring/{family}/{number}/activate");
        factory.post(&path, &none).await.expect_problem(404, "not-found");
    }
    let moves: Vec<String> = factory
        .history()
        .await
        .into_iter()
        .filter(|(action, _)| action.starts_with("keyring.") && action != "keyring.listed")
        .map(|(action, resource)| format!("{action} {resource}"))
        .collect();
    assert_eq!(
        moves,
        [
            "keyring.key_added keyring/tag/2",
            "keyring.key_activated keyring/tag/2",
            "keyring.key_revoked keyring/tag/1",
            "keyring.date_corrected keyring/tag/1",
            "keyring.key_destroyed keyring/tag/1",
        ]
    );
}

#[tokio::test]
async fn a_batch_of_a_destroyed_key_stays_key_revoked_and_cannot_be_exported() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[TWO]).await;
    let batch = factory.batch(3).await;
    let (of_batch, tags) =
        (format!("/v1/batches/{}", text(&batch["id"])), format!("/v1/batches/{}/tags", text(&batch["id"])));
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    factory.post("/v1/admin/keyring/tag", &json!({"number": 2})).await.expect(200);
    factory.post(&path(2, "activate"), &json!({})).await.expect(200);
    let revoke =
        json!({"reason": "leaked", "compromised_since": "2026-01-01T00:00:00Z", "confirm_batches": 1});
    factory.post(&path(1, "revoke"), &revoke).await.expect(200);
    assert_eq!(factory.get(&of_batch).await.expect(200)["state"], "key_revoked");
    assert_eq!(factory.get(&tags).await.status, 200, "the operator may still need the list");
    factory.post(&path(1, "destroy"), &json!({})).await.expect(200);
    assert_eq!(factory.get(&of_batch).await.expect(200)["state"], "key_revoked");
    assert_eq!(factory.get("/v1/batches").await.expect(200)["items"][0]["state"], "key_revoked");
    factory.get(&format!("/v1/tags/{tag}")).await.expect_problem(404, "tag-not-found");
    let before = factory.events().await.len();
    factory.get(&tags).await.expect_problem(409, "conflict");
    assert_eq!(factory.events().await.len(), before, "nothing was exported");
    // A printed tag of a destroyed key is no sign of a leak.
    assert_eq!(factory.metric("voketag_key_leak_alarms_total").await, "0");
}

#[tokio::test]
async fn a_key_whose_secret_this_process_lacks_cannot_be_added() {
    let redis = RedisServer::start().await;
    let only_one =
        Factory::start(&redis.url(), &[("TAG_MASTER_SECRET", UNSET), ("TAG_MASTER_SECRET_1", SECRET)]).await;
    let rejected = only_one.post("/v1/admin/keyring/tag", &json!({"number": 2})).await;
    assert!(rejected.expect_problem(409, "conflict").contains("secret"));
}

#[tokio::test]
async fn activating_waits_for_every_live_instance_to_hold_the_secret() {
    let redis = RedisServer::start().await;
    let first = Factory::start(&redis.url(), &[TWO]).await;
    let lacking = Factory::start(&redis.url(), &[]).await;
    first.post("/v1/admin/keyring/tag", &json!({"number": 2})).await.expect(200);
    let rejected = first.post(&path(2, "activate"), &json!({})).await.expect_problem(409, "conflict");
    assert!(rejected.contains("factory-service"), "{rejected}");
    assert_eq!(epoch_of_new_batch(&first).await, 1);
    drop(lacking);
    // A stopped instance expires after a while.
    eventually("the other instance has expired", SOON, || async {
        first.post(&path(2, "activate"), &json!({})).await.status == 200
    })
    .await;
    assert_eq!(epoch_of_new_batch(&first).await, 2);
}

#[tokio::test]
async fn tag_key_epoch_only_seeds_an_empty_keyring() {
    let redis = RedisServer::start().await;
    let first = Factory::start(&redis.url(), &[TWO, ("TAG_KEY_EPOCH", "2")]).await;
    assert_eq!(epoch_of_new_batch(&first).await, 2);
    let second = Factory::start(&redis.url(), &[TWO, ("TAG_KEY_EPOCH", "1")]).await;
    assert_eq!(epoch_of_new_batch(&second).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_loses_no_request_and_mints_no_tag_that_cannot_be_opened() {
    let redis = RedisServer::start().await;
    let settings = [TWO, ("TAG_MASTER_SECRET_3", SECRET), ("TAG_MASTER_SECRET_4", SECOND)];
    let (one, two) =
        (Factory::start(&redis.url(), &settings).await, Factory::start(&redis.url(), &settings).await);
    let product = one.product().await;
    let (stop, minted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mint = async |factory: &Factory| {
        let mut made = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let batch = factory.post("/v1/batches", &json!({"product_id": product, "size": 1})).await;
            made.push(batch.expect(201));
            minted.fetch_add(1, Ordering::Relaxed);
        }
        made
    };
    // Each of the three clients has one request in flight, so one of four batches began after this call.
    let four_more = async || {
        let before = minted.load(Ordering::Relaxed);
        eventually("four more batches are minted", SOON, || async {
            minted.load(Ordering::Relaxed) >= before + 4
        })
        .await;
    };
    let rotate = async {
        four_more().await;
        for epoch in [2, 3, 4] {
            one.post("/v1/admin/keyring/tag", &json!({"number": epoch})).await.expect(200);
            two.post(&path(epoch, "activate"), &json!({})).await.expect(200);
            four_more().await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (a, b, c, ()) = tokio::join!(mint(&one), mint(&two), mint(&one), rotate);
    let made: Vec<Value> = a.into_iter().chain(b).chain(c).collect();
    let mut by_epoch = [0; 5];
    for batch in &made {
        by_epoch[usize::try_from(batch["epoch"].as_u64().unwrap()).unwrap()] += 1;
        let tag = &two.tags(batch, "").await[0];
        two.get(&format!("/v1/tags/{}", text(&tag["tag_id"]))).await.expect(200);
    }
    println!("{} batches minted during three rotations, by epoch: {by_epoch:?}", made.len());
    assert!(by_epoch[1..].iter().all(|&batches| batches > 0), "{by_epoch:?}");
    let history = one.events().await;
    // No batch has another epoch than the active one.
    let mut active = 1;
    for event in &history {
        match event["action"].as_str().unwrap() {
            "keyring.key_activated" => {
                active = text(&event["resource"]).rsplit('/').next().unwrap().parse().unwrap();
            }
            "batch.created" => assert_eq!(event["details"]["epoch"], json!(active), "{event}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_pending_or_revoked_signing_key_signs_nothing() {
    let redis = RedisServer::start().await;
    let keys = [("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_2", SECOND)];
    let factory = Factory::start(&redis.url(), &keys).await;
    factory.product().await;
    let note = async || factory.get("/v1/audit/checkpoint").await;
    let signed_by_one = note().await;
    assert_eq!(signed_by_one.status, 200, "{signed_by_one:?}");
    assert!(signed_by_one.header("content-type").starts_with("text/plain"));
    let lines: Vec<&str> = signed_by_one.text.lines().collect();
    assert_eq!(lines[0], "voketag.local/audit");
    assert_eq!(lines[1], "1");
    assert_eq!((lines[3], lines.len()), ("", 5));
    assert!(lines[4].starts_with("\u{2014} voketag.local/audit "), "{lines:?}");

    factory.post("/v1/admin/keyring/audit", &json!({"number": 2})).await.expect(200);
    factory.post("/v1/admin/keyring/audit/2/activate", &json!({})).await.expect(200);
    let key_hash = |text: &str| text.lines().nth(4).unwrap().split(' ').nth(2).unwrap()[..5].to_owned();
    let signed_by_two = note().await;
    assert_ne!(key_hash(&signed_by_one.text), key_hash(&signed_by_two.text));
    let revoke = json!({"reason": "leaked", "compromised_since": "2026-01-01T00:00:00Z"});
    factory.post("/v1/admin/keyring/audit/1/revoke", &revoke).await.expect(200);
    assert_eq!(key_hash(&note().await.text), key_hash(&signed_by_two.text));
    // The new entry is not signed yet: the chain is judged, signed, and judged again.
    factory.product().await;
    let report = factory.post("/v1/audit/verify", &json!({})).await.expect(200);
    assert_eq!((&report["ok"], &report["state"]), (&json!(true), &json!("valid")), "{report}");
    let states: Vec<&str> = report["checkpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| note["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["signed_by_revoked_key", "valid"], "{report}");
    assert_eq!(report["checkpoints"][0]["compromised_since"], "2026-01-01T00:00:00.000Z");
    assert_eq!(factory.metric("voketag_audit_revoked_key_usage_total").await, "1", "counted once");
}

#[tokio::test]
async fn without_a_signing_key_there_is_no_checkpoint_and_the_error_says_so() {
    let (_redis, factory) = start().await;
    factory.product().await;
    let rejected = factory.get("/v1/audit/checkpoint").await.expect_problem(409, "conflict");
    assert!(rejected.contains("AUDIT_SIGNING_KEY"), "{rejected}");
    let report = factory.post("/v1/audit/verify", &json!({})).await.expect(200);
    assert_eq!((&report["ok"], &report["state"]), (&json!(true), &json!("never_signed")));
}

#[tokio::test]
async fn no_instance_needs_a_key_that_was_revoked_before_it_was_active() {
    let redis = RedisServer::start().await;
    let first = Factory::start(&redis.url(), &[TWO]).await;
    let lacking =
        Factory::start(&redis.url(), &[("TAG_MASTER_SECRET", UNSET), ("TAG_MASTER_SECRET_1", SECRET)]).await;
    first.post("/v1/admin/keyring/tag", &json!({"number": 2})).await.expect(200);
    let revoke =
        json!({"reason": "never mind", "compromised_since": "2026-01-01T00:00:00Z", "confirm_batches": 0});
    let revision = first.post(&path(2, "revoke"), &revoke).await.expect(200)["state"].clone();
    assert_eq!(revision, "revoked");
    eventually("the other instance sees the revocation", SOON, || async {
        state_of(&lacking, "tag", 2).await == "revoked"
    })
    .await;
    lacking.batch(1).await;
    assert_eq!(lacking.get("/v1/ready").await.status, 200);
}

/// The answer of a move is stored for a repeat, so it must stay small in a large keyring.
#[tokio::test]
async fn a_move_in_a_large_keyring_succeeds_and_is_replayed() {
    let (_redis, factory) = start().await;
    let reason = "\u{4e2d}".repeat(200);
    let revoke = json!({"reason": reason, "compromised_since": "2026-01-01T00:00:00Z", "confirm_batches": 0});
    for number in 2..=99 {
        factory.post("/v1/admin/keyring/tag", &json!({"number": number})).await.expect(200);
        factory.post(&path(number, "revoke"), &revoke).await.expect(200);
    }
    assert!(
        factory.get("/v1/admin/keyring").await.text.len() > 64 * 1024,
        "more than a stored answer may have"
    );
    let mut answers = Vec::new();
    for _ in 0..2 {
        let add =
            factory.request(reqwest::Method::POST, "/v1/admin/keyring/tag").json(&json!({"number": 100}));
        answers.push(crate::support::answer(add.header("Idempotency-Key", "add-100")).await);
    }
    assert_eq!(answers[1].header("idempotent-replayed"), "true");
    let [first, again] = <[_; 2]>::try_from(answers).unwrap().map(|answer| answer.expect(200));
    assert_eq!((&first["number"], &first["state"]), (&json!(100), &json!("pending")));
    assert_eq!(first, again);
}

//! The date from which a tag epoch is untrusted: its consequences are shown first, confirmed by a number, and
//! the date can be corrected in both directions.

use ambient::{Clock, SystemClock};
use catalog::{Batch, Record, keys as stored_at};
use reqwest::Method;
use serde_json::{Value, json};
use tag_id::{BatchNo, Epoch};
use test_support::{RedisServer, eventually};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Answer, Factory, SECRET, SLOWLY, SOON, answer, start_behind_proxy, text};

const LONG_AGO: &str = "2016-11-01T00:00:00.000Z";

/// Starts a factory whose epoch 1 has two batches of tenant `default` and one of another tenant and is no
/// longer active.
async fn rotated() -> (RedisServer, Factory, Vec<Value>) {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET)]).await;
    let other = crate::isolation::brand(&factory, "other").await;
    let mut batches = vec![factory.batch(10).await, factory.batch(20).await];
    let send = async |path: &str, body: Value| {
        crate::isolation::send(&factory, &other, Method::POST, path, Some(&body)).await.expect(201)
    };
    let product = send("/v1/products", json!({"name": "n", "brand": "Theirs"})).await;
    batches.push(send("/v1/batches", json!({"product_id": product["id"], "size": 300})).await);
    activate(&factory, 2).await;
    factory.batch(7).await;
    (redis, factory, batches)
}

async fn activate(factory: &Factory, epoch: u16) {
    factory.post("/v1/admin/keyring/tag", &json!({"number": epoch})).await.expect(200);
    factory.post(&format!("/v1/admin/keyring/tag/{epoch}/activate"), &json!({})).await.expect(200);
}

async fn dated(factory: &Factory, what: &str, since: &str, confirm: Option<u64>) -> Answer {
    let mut body = json!({"reason": "laptop stolen", "compromised_since": since});
    if let Some(confirm) = confirm {
        body["confirm_batches"] = json!(confirm);
    }
    factory.post(&format!("/v1/admin/keyring/tag/1/{what}"), &body).await
}

/// Checks a `confirmation-required` problem and returns batches and tags of its four counts.
#[track_caller]
fn preview(rejected: Answer) -> [(u64, u64); 4] {
    let problem = rejected.json();
    let detail = rejected.expect_problem(409, "confirmation-required");
    let preview = &problem["preview"];
    let count = |name: &str| {
        let number = |of: &str| preview[name][of].as_u64().unwrap_or_else(|| panic!("{problem}"));
        (number("batches"), number("tags"))
    };
    let counts = ["invalid", "superseded", "becomes_invalid", "becomes_valid"].map(count);
    assert!(detail.contains(&format!("\"confirm_batches\": {}", counts[0].0)), "{detail}");
    assert!(detail.contains(&format!("{} tags", counts[0].1)) && !detail.ends_with('…'), "{detail}");
    assert_eq!((&preview["epoch"], &preview["unreadable_batches"]), (&json!(1), &json!(0)));
    counts
}

async fn states(factory: &Factory) -> Vec<String> {
    let list = factory.get("/v1/batches").await.expect(200);
    list["items"].as_array().unwrap().iter().map(|batch| text(&batch["state"])).collect()
}

async fn dates(factory: &Factory) -> Vec<Value> {
    let events = factory.events().await;
    let dated = |event: &&Value| {
        ["keyring.key_revoked", "keyring.date_corrected"].contains(&text(&event["action"]).as_str())
    };
    events.iter().filter(dated).cloned().collect()
}

#[tokio::test]
async fn a_revocation_shows_its_consequences_and_needs_their_number() {
    let (_redis, factory, batches) = rotated().await;
    let second = text(&batches[1]["created_at"]);
    assert_eq!(preview(dated(&factory, "revoke", LONG_AGO, None).await)[..2], [(3, 330), (0, 0)]);
    for wrong in [None, Some(0), Some(1), Some(3), Some(u64::MAX)] {
        let [invalid, superseded, new, back] = preview(dated(&factory, "revoke", &second, wrong).await);
        assert_eq!((invalid, superseded, new, back), ((2, 320), (1, 10), (2, 320), (0, 0)), "{wrong:?}");
    }
    assert_eq!(states(&factory).await, ["active"; 3], "nothing was changed");
    assert_eq!(dates(&factory).await, Vec::<Value>::new());
    let revoked = dated(&factory, "revoke", &second, Some(2)).await.expect(200);
    assert_eq!(
        (&revoked["state"], &revoked["revoked"]["compromised_since"]),
        (&json!("revoked"), &json!(second))
    );
    assert_eq!(states(&factory).await, ["active", "key_revoked", "active"]);
    // A repeat changes nothing, so it needs no confirmation.
    dated(&factory, "revoke", &second, None).await.expect(200);
    let events = dates(&factory).await;
    assert_eq!(events.len(), 1);
    let details = &events[0]["details"];
    assert_eq!((&details["invalid_batches"], &details["invalid_tags"]), (&json!(2), &json!(320)));
}

#[tokio::test]
async fn a_mistyped_year_is_corrected_and_genuine_batches_are_valid_again() {
    let (_redis, factory, batches) = rotated().await;
    dated(&factory, "correct-date", LONG_AGO, Some(3)).await.expect_problem(409, "conflict");
    dated(&factory, "revoke", LONG_AGO, Some(3)).await.expect(200);
    assert_eq!(states(&factory).await, ["key_revoked", "key_revoked", "active"]);
    let last = text(&batches[2]["created_at"]);
    let [invalid, superseded, new, back] = preview(dated(&factory, "correct-date", &last, None).await);
    assert_eq!((invalid, superseded, new, back), ((1, 300), (2, 30), (0, 0), (2, 30)));
    dated(&factory, "correct-date", &last, Some(2)).await.expect_problem(409, "confirmation-required");
    let corrected = dated(&factory, "correct-date", &last, Some(1)).await.expect(200);
    assert_eq!(corrected["revoked"]["compromised_since"], json!(last));
    assert_eq!(states(&factory).await, ["active"; 3]);
    let second = text(&batches[1]["created_at"]);
    let [invalid, _, new, back] = preview(dated(&factory, "correct-date", &second, None).await);
    assert_eq!((invalid, new, back), ((2, 320), (1, 20), (0, 0)), "the correction is reversible");
    dated(&factory, "correct-date", &second, Some(2)).await.expect(200);
    dated(&factory, "correct-date", &second, None).await.expect(200);
    assert_eq!(states(&factory).await, ["active", "key_revoked", "active"]);
    let without = json!({"compromised_since": last, "confirm_batches": 1});
    let rejected = factory.post("/v1/admin/keyring/tag/1/correct-date", &without).await;
    assert!(rejected.expect_problem(400, "invalid-request").contains("reason"));
    let events = dates(&factory).await;
    let actions: Vec<String> = events.iter().map(|event| text(&event["action"])).collect();
    assert_eq!(actions, ["keyring.key_revoked", "keyring.date_corrected", "keyring.date_corrected"]);
    let of = |name: &str| events[1]["details"][name].clone();
    assert_eq!((of("moved_from"), of("reason")), (json!(LONG_AGO), json!("laptop stolen")));
    assert_eq!((of("invalid_batches"), of("invalid_tags")), (json!(1), json!(300)));
}

#[tokio::test]
async fn a_signing_key_is_revoked_without_a_number_and_its_date_corrected() {
    let (_redis, factory, _) = rotated().await;
    let path = |what: &str| format!("/v1/admin/keyring/audit/1/{what}");
    let body = json!({"reason": "leaked", "compromised_since": LONG_AGO});
    // The only key is active, and no other can replace it.
    factory.post(&path("revoke"), &body).await.expect_problem(409, "conflict");
    let numbered = json!({"reason": "leaked", "compromised_since": LONG_AGO, "confirm_batches": 3});
    let rejected = factory.post(&path("revoke"), &numbered).await.expect_problem(400, "invalid-request");
    assert!(rejected.contains("confirm_batches is 3"), "{rejected}");
    let keys = [("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_2", &"ab".repeat(32))];
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &keys).await;
    factory.post("/v1/admin/keyring/audit", &json!({"number": 2})).await.expect(200);
    factory.post("/v1/admin/keyring/audit/2/activate", &json!({})).await.expect(200);
    factory.post(&path("revoke"), &body).await.expect(200);
    let later = json!({"reason": "a mistyped year", "compromised_since": "2026-11-01T00:00:00.000Z"});
    let corrected = factory.post(&path("correct-date"), &later).await.expect(200);
    assert_eq!(corrected["revoked"]["compromised_since"], "2026-11-01T00:00:00.000Z");
    assert_eq!(corrected["revoked"]["reason"], "leaked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_minted_during_a_rotation_are_counted() {
    let redis = RedisServer::start().await;
    let (one, two) = (Factory::start(&redis.url(), &[]).await, Factory::start(&redis.url(), &[]).await);
    let product = one.product().await;
    let body = json!({"product_id": product, "size": 1});
    let mint = async |factory: &Factory| {
        let mut of_first = 0_u64;
        loop {
            let made = factory.post("/v1/batches", &body).await.expect(201);
            if made["epoch"] == 2 {
                return of_first;
            }
            of_first += 1;
        }
    };
    let replace = async {
        eventually("some are minted", SOON, || async { states(&one).await.len() > 20 }).await;
        activate(&one, 2).await;
        let problem = dated(&one, "revoke", LONG_AGO, None).await.json();
        let number = problem["preview"]["invalid"]["batches"].as_u64().unwrap();
        dated(&one, "revoke", LONG_AGO, Some(number)).await.expect(200);
        number
    };
    let (a, b, c, confirmed) = tokio::join!(mint(&one), mint(&two), mint(&two), replace);
    println!("{confirmed} batches were confirmed while three clients minted");
    assert!(confirmed > 20);
    assert_eq!(a + b + c, confirmed);
}

#[tokio::test]
async fn a_keyring_change_between_count_and_write_causes_a_new_count() {
    let (redis, proxy, slow) = start_behind_proxy().await;
    let quick = Factory::start(&redis.url(), &[]).await;
    slow.batch(5).await;
    activate(&quick, 2).await;
    eventually("the slow factory has the new keyring", SOON, || async { slow.batch(1).await["epoch"] == 2 })
        .await;
    proxy.delay(SLOWLY);
    let revoke = async { dated(&slow, "revoke", LONG_AGO, Some(1)).await.expect(200) };
    let add = async {
        quick.post("/v1/admin/keyring/tag", &json!({"number": 3})).await.expect(200);
        quick.post("/v1/admin/keyring/tag", &json!({"number": 4})).await.expect(200)
    };
    let (revoked, _) = tokio::join!(revoke, add);
    assert_eq!(revoked["state"], "revoked");
    let keyring = quick.get("/v1/admin/keyring").await.expect(200);
    let states: Vec<&str> =
        keyring["tag"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["revoked", "active", "pending", "pending"]);
    assert_eq!(dates(&quick).await.len(), 1);
}

/// Stores batches of epoch 1 as a factory does, minted one minute apart from 2020 on.
async fn fill(redis: &RedisServer, batches: u32) {
    let mut link = redis.connection().await;
    let began = OffsetDateTime::from_unix_timestamp(1_577_836_800).unwrap();
    for chunk in (0..batches).collect::<Vec<_>>().chunks(5_000) {
        let mut pipe = redis::pipe();
        for at in chunk {
            let created_at = began + time::Duration::minutes(i64::from(*at));
            let id = Uuid::from_u128((0x0190_u128 << 112) | u128::from(*at));
            let batch = Batch {
                id,
                tenant: "default".to_owned(),
                batch_no: BatchNo::new(*at).unwrap(),
                epoch: Epoch::MIN,
                size: 100,
                product_id: id,
                label: Some("one of many".to_owned()),
                manufactured_at: None,
                expires_at: None,
                created_at,
                revoked: None,
                recalled: None,
            };
            pipe.set(stored_at::batch(batch.batch_no), batch.encode(1)).ignore();
            pipe.set(stored_at::batch_no(&id), *at).ignore();
            pipe.zadd(stored_at::batches_of("default"), id.to_string(), 0).ignore();
        }
        let () = pipe.query_async(&mut link).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_batches_are_counted_despite_damaged_records() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[]).await;
    fill(&redis, 100_000).await;
    let mut link = redis.connection().await;
    let () = redis::cmd("DEL").arg("vt1:b:10").query_async(&mut link).await.unwrap();
    let () = redis::cmd("SET").arg("vt1:b:11").arg("x").query_async(&mut link).await.unwrap();
    let () = redis::cmd("DEL").arg("vt1:b:12").query_async(&mut link).await.unwrap();
    let () = redis::cmd("LPUSH").arg("vt1:b:12").arg("x").query_async(&mut link).await.unwrap();
    activate(&factory, 2).await;
    let clock = SystemClock::new();
    let began = clock.monotonic();
    // 50,000 minutes after the first batch.
    let problem = dated(&factory, "revoke", "2020-02-04T17:20:00Z", None).await.json();
    println!("100,000 batches counted in {:?}", clock.monotonic().saturating_sub(began));
    let preview = &problem["preview"];
    assert_eq!(preview["invalid"], json!({"batches": 50_000, "tags": 5_000_000}), "{problem}");
    assert_eq!(preview["superseded"], json!({"batches": 49_997, "tags": 4_999_700}));
    assert_eq!(preview["unreadable_batches"], 3);
    dated(&factory, "revoke", "2020-02-04T17:20:00Z", Some(50_000)).await.expect(200);
}

#[tokio::test]
async fn a_confirmation_works_with_an_idempotency_key() {
    let (_redis, factory, _) = rotated().await;
    let ask = async |confirm: Option<u64>| {
        let mut body = json!({"reason": "leaked", "compromised_since": LONG_AGO});
        if let Some(confirm) = confirm {
            body["confirm_batches"] = json!(confirm);
        }
        let request = factory.request(Method::POST, "/v1/admin/keyring/tag/1/revoke").json(&body);
        answer(request.header("Idempotency-Key", "k")).await
    };
    ask(None).await.expect_problem(409, "confirmation-required");
    ask(Some(3)).await.expect(200);
    assert_eq!(ask(Some(3)).await.header("idempotent-replayed"), "true");
    assert_eq!(dates(&factory).await.len(), 1);
}

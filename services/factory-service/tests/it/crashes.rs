//! `kill -9` at every step between claim and answer, then a retry: one batch, one event, the same answer.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::support::{Answer, Factory, KEY, SECRET, SOON, answer, rounds, text};

/// Where a request can be killed: each is a `crash_point` in the program.
const STEPS: [&str; 4] = ["after-claim", "before-effect", "after-effect", "before-answer"];
/// How long a claim outlives the process that made it.
const LEASE_MS: &str = "300";

/// The program, told to die at a place; ended with the test.
struct Doomed {
    child: Child,
    base: String,
}

impl Drop for Doomed {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Doomed {
    async fn start(redis: &RedisServer, dies_at: &str) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_factory-service"))
            .env_clear()
            .env("FACTORY_API_KEY", KEY)
            .env("PUBLIC_BASE_URL", "https://v.example")
            .env("TAG_MASTER_SECRET", SECRET)
            .env("AUDIT_SIGNING_KEY", SECRET)
            .env("REDIS_URL", redis.url())
            .env("REDIS_COMMAND_TIMEOUT_MS", "5000")
            .env("BIND_ADDR", address.to_string())
            .env("IDEMPOTENCY_LEASE_MS", LEASE_MS)
            .env("VOKETAG_CRASH_AT", dies_at)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let doomed = Self { child, base: format!("http://{address}") };
        let ready = format!("{}/v1/ready", doomed.base);
        eventually("it is ready", SOON, || async {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        doomed
    }

    /// Sends a request that it dies of.
    async fn die_of(self, path: &str, key: &str, body: &Value) {
        let request = Client::new().post(format!("{}{path}", self.base)).header("Idempotency-Key", key);
        self.die(request.json(body)).await;
    }

    /// Sends a request without an `Idempotency-Key` that kills the process. An instance that was killed
    /// earlier counts as live for a while. Until it expires, keyring moves that need every instance are
    /// rejected.
    async fn die_of_plain(self, path: &str, body: &Value) {
        let request = Client::new().post(format!("{}{path}", self.base)).bearer_auth(KEY).json(body);
        eventually("nothing keeps it from being killed", SOON, || async {
            let sent = request.try_clone().unwrap().send().await;
            sent.map_or(true, |refused| {
                assert_eq!(refused.status(), 409);
                false
            })
        })
        .await;
        self.has_died().await;
    }

    async fn die(self, request: RequestBuilder) {
        let sent = request.bearer_auth(KEY).send().await;
        assert!(sent.is_err(), "it answered instead of dying: {sent:?}");
        self.has_died().await;
    }

    async fn has_died(mut self) {
        let status = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().unwrap();
            drop(self);
            status
        });
        assert!(!status.await.unwrap().success());
    }
}

async fn post(factory: &Factory, path: &str, key: &str, body: &Value) -> Answer {
    let request = factory.client.post(format!("{}{path}", factory.base)).bearer_auth(KEY);
    answer(request.header("Idempotency-Key", key).json(body)).await
}

/// The retry, as a client makes it: again while the same request counts as under way.
async fn retry(factory: &Factory, path: &str, key: &str, body: &Value) -> Answer {
    let last = RefCell::new(None);
    eventually("the claim of the one that was killed has ended", SOON, || async {
        let answered = post(factory, path, key, body).await;
        let under_way = answered.status == 409 && answered.json()["error"] == "idempotency_in_flight";
        *last.borrow_mut() = Some(answered);
        !under_way
    })
    .await;
    last.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_step_leaves_one_batch_one_event_and_one_answer() {
    let redis = RedisServer::start().await;
    let survivor = Factory::start(&redis.url(), &[("IDEMPOTENCY_LEASE_MS", LEASE_MS)]).await;
    let product = survivor.product().await;
    let body = json!({"product_id": product, "size": 7});
    let rounds = rounds(1);
    let mut batches = 0;
    for round in 0..rounds {
        for step in STEPS {
            let key = format!("{step}-{round}");
            Doomed::start(&redis, step).await.die_of("/v1/batches", &key, &body).await;
            let answered = retry(&survivor, "/v1/batches", &key, &body).await;
            assert_eq!(answered.status, 201, "{step}: {answered:?}");
            batches += 1;
            let again = post(&survivor, "/v1/batches", &key, &body).await;
            assert_eq!(again.text, answered.text, "{step}");
            assert_eq!(again.header("location"), answered.header("location"), "{step}");
            // Killed after the effect, the answer was there already.
            let replayed = answered.headers.contains_key("idempotent-replayed");
            assert_eq!(replayed, matches!(step, "after-effect" | "before-answer"), "{step}");
            survivor.assert_chain_of(1 + batches).await;
        }
    }
    let mut made = 0;
    let mut cursor = String::new();
    loop {
        let page = survivor.get(&format!("/v1/batches?limit=100{cursor}")).await.expect(200);
        made += page["items"].as_array().unwrap().len() as u64;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(made, batches);
    println!("{batches} kills, {rounds} at each of {STEPS:?}: {made} batches, each with one event");
}

#[tokio::test]
async fn a_withdrawal_that_was_killed_is_told_as_the_first_try_would_have() {
    let redis = RedisServer::start().await;
    let survivor = Factory::start(&redis.url(), &[("IDEMPOTENCY_LEASE_MS", LEASE_MS)]).await;
    let batch = survivor.batch(1).await;
    let path = format!("/v1/batches/{}/revoke", text(&batch["id"]));
    let body = json!({"reason": "lost"});
    Doomed::start(&redis, "after-effect").await.die_of(&path, "k", &body).await;
    let answered = retry(&survivor, &path, "k", &body).await;
    assert!(answered.status == 200 && answered.headers.contains_key("idempotent-replayed"), "{answered:?}");
    assert_eq!(answered.json()["revoked"]["reason"], "lost");
    survivor.assert_chain_of(3).await;
}

/// Every move of the keyring, killed just before and just after its one write: the old state or the new one,
/// and both services' instances go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_killed_between_any_two_steps_leaves_the_old_state_or_the_new_one() {
    let redis = RedisServer::start().await;
    let keys = [("AUDIT_SIGNING_KEY", SECRET)];
    let survivor = Factory::start(&redis.url(), &keys).await;
    let state = async |number: u64| {
        let keyring = survivor.get("/v1/admin/keyring").await.expect(200);
        let keys = keyring["tag"].as_array().unwrap();
        keys.iter().find(|key| key["number"] == number).map(|key| text(&key["state"]))
    };
    let revoke =
        json!({"reason": "leaked", "compromised_since": "2026-01-01T00:00:00Z", "confirm_batches": 3});
    // Each move with the key that it moves, the states of that key before and after.
    let moves = [
        ("/v1/admin/keyring/tag", json!({"number": 2}), 2, None, "pending"),
        ("/v1/admin/keyring/tag/2/activate", json!({}), 2, Some("pending"), "active"),
        ("/v1/admin/keyring/tag/1/revoke", revoke, 1, Some("verify_only"), "revoked"),
        ("/v1/admin/keyring/tag/1/destroy", json!({}), 1, Some("revoked"), "destroyed"),
    ];
    for (path, body, number, before, after) in moves {
        Doomed::start(&redis, "before-write").await.die_of_plain(path, &body).await;
        assert_eq!(state(number).await.as_deref(), before, "{path}");
        survivor.batch(1).await;
        Doomed::start(&redis, "after-write").await.die_of_plain(path, &body).await;
        assert_eq!(state(number).await.as_deref(), Some(after), "{path}");
        // Whoever got no answer may ask again.
        survivor.post(path, &body).await.expect(200);
        survivor.batch(1).await;
    }
    let events = survivor.events().await;
    let moved = events.iter().filter(|event| text(&event["action"]).starts_with("keyring.key_")).count();
    assert_eq!(moved, 4, "each move is one event, however often it was tried");
}

#[tokio::test]
async fn whoever_finishes_what_another_key_began_is_named_too() {
    let redis = RedisServer::start().await;
    let survivor = Factory::start(&redis.url(), &[("IDEMPOTENCY_LEASE_MS", LEASE_MS)]).await;
    let made = json!({"tenant": "default", "scopes": ["factory:write"]});
    let other = text(&survivor.post("/v1/admin/keys", &made).await.expect(201)["key"]);
    let body = json!({"name": "n", "brand": "b"});
    Doomed::start(&redis, "before-effect").await.die_of("/v1/products", "k", &body).await;
    eventually("the claim can be taken over", SOON, || async {
        let request = survivor.client.post(format!("{}/v1/products", survivor.base)).bearer_auth(&other);
        answer(request.header("Idempotency-Key", "k").json(&body)).await.status == 201
    })
    .await;
    let events = survivor.events().await;
    let event = events.iter().find(|event| event["action"] == "product.created").unwrap();
    assert_eq!(event["actor"], "key/bootstrap");
    assert_eq!(event["details"]["completed_by"], json!(format!("key/{}", &other[3..11])));
}

//! `kill -9` at every step between claim and answer, then a retry: one batch, one event, the same answer.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::support::{Answer, Factory, KEY, SECRET, SOON, answer, rounds, text};

/// The crash points of the program at which a request is killed.
const STEPS: [&str; 4] = ["after-claim", "before-effect", "after-effect", "before-answer"];
/// The lease, after which the claim of a killed process expires.
const LEASE_MS: &str = "300";

/// The program with a crash point. Dropping it kills the process.
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
    async fn start(redis: &RedisServer, crash_point: &str) -> Self {
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
            .env("VOKETAG_CRASH_AT", crash_point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let doomed = Self { child, base: format!("http://{address}") };
        let ready = format!("{}/v1/ready", doomed.base);
        eventually("the program is ready", SOON, || async {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        doomed
    }

    /// Sends a request that kills the process.
    async fn crash_on(self, path: &str, key: &str, body: &Value) {
        let request = Client::new().post(format!("{}{path}", self.base)).header("Idempotency-Key", key);
        self.send_fatal(request.json(body)).await;
    }

    /// Sends a request without an `Idempotency-Key` that kills the process. An instance that was killed
    /// earlier counts as live for a while. Until it expires, keyring moves that need every instance are
    /// rejected.
    async fn crash_on_plain(self, path: &str, body: &Value) {
        let request = Client::new().post(format!("{}{path}", self.base)).bearer_auth(KEY).json(body);
        eventually("the request kills the process", SOON, || async {
            let sent = request.try_clone().unwrap().send().await;
            sent.map_or(true, |rejected| {
                assert_eq!(rejected.status(), 409);
                false
            })
        })
        .await;
        self.assert_crashed().await;
    }

    async fn send_fatal(self, request: RequestBuilder) {
        let sent = request.bearer_auth(KEY).send().await;
        assert!(sent.is_err(), "it answered instead of crashing: {sent:?}");
        self.assert_crashed().await;
    }

    async fn assert_crashed(mut self) {
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

/// Retries like a client, until the request is no longer in flight.
async fn retry(factory: &Factory, path: &str, key: &str, body: &Value) -> Answer {
    let last = RefCell::new(None);
    eventually("the claim of the killed process has expired", SOON, || async {
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
            Doomed::start(&redis, step).await.crash_on("/v1/batches", &key, &body).await;
            let answered = retry(&survivor, "/v1/batches", &key, &body).await;
            assert_eq!(answered.status, 201, "{step}: {answered:?}");
            batches += 1;
            let again = post(&survivor, "/v1/batches", &key, &body).await;
            assert_eq!(again.text, answered.text, "{step}");
            assert_eq!(again.header("location"), answered.header("location"), "{step}");
            // After the effect, the answer is stored already.
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
async fn a_killed_withdrawal_is_replayed_with_its_first_answer() {
    let redis = RedisServer::start().await;
    let survivor = Factory::start(&redis.url(), &[("IDEMPOTENCY_LEASE_MS", LEASE_MS)]).await;
    let batch = survivor.batch(1).await;
    let path = format!("/v1/batches/{}/revoke", text(&batch["id"]));
    let body = json!({"reason": "lost"});
    Doomed::start(&redis, "after-effect").await.crash_on(&path, "k", &body).await;
    let answered = retry(&survivor, &path, "k", &body).await;
    assert!(answered.status == 200 && answered.headers.contains_key("idempotent-replayed"), "{answered:?}");
    assert_eq!(answered.json()["revoked"]["reason"], "lost");
    survivor.assert_chain_of(3).await;
}

/// Kills each keyring move just before and just after its only write. The state is the old one or the new
/// one, and the other instance keeps working.
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
    // Each move, the number of its key, and the key's state before and after.
    let moves = [
        ("/v1/admin/keyring/tag", json!({"number": 2}), 2, None, "pending"),
        ("/v1/admin/keyring/tag/2/activate", json!({}), 2, Some("pending"), "active"),
        ("/v1/admin/keyring/tag/1/revoke", revoke, 1, Some("verify_only"), "revoked"),
        ("/v1/admin/keyring/tag/1/destroy", json!({}), 1, Some("revoked"), "destroyed"),
    ];
    for (path, body, number, before, after) in moves {
        Doomed::start(&redis, "before-write").await.crash_on_plain(path, &body).await;
        assert_eq!(state(number).await.as_deref(), before, "{path}");
        survivor.batch(1).await;
        Doomed::start(&redis, "after-write").await.crash_on_plain(path, &body).await;
        assert_eq!(state(number).await.as_deref(), Some(after), "{path}");
        // A client without an answer may repeat the request.
        survivor.post(path, &body).await.expect(200);
        survivor.batch(1).await;
    }
    let events = survivor.events().await;
    let moved = events.iter().filter(|event| text(&event["action"]).starts_with("keyring.key_")).count();
    assert_eq!(moved, 4, "each move appends one event, however often it is repeated");
}

#[tokio::test]
async fn an_event_names_the_key_that_completed_another_keys_request() {
    let redis = RedisServer::start().await;
    let survivor = Factory::start(&redis.url(), &[("IDEMPOTENCY_LEASE_MS", LEASE_MS)]).await;
    let made = json!({"tenant": "default", "scopes": ["factory:write"]});
    let other = text(&survivor.post("/v1/admin/keys", &made).await.expect(201)["key"]);
    let body = json!({"name": "n", "brand": "b"});
    Doomed::start(&redis, "before-effect").await.crash_on("/v1/products", "k", &body).await;
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

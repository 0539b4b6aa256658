//! A handler that is so slow that another try of the same request takes over its claim: both clients get the
//! same answer, and the request is carried out once. One factory's Redis is slower than a lease; the other
//! factory repeats the requests meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{FaultProxy, RedisServer, eventually};

use crate::support::{Answer, Factory, SOON, answer, text};

const LEASE: (&str, &str) = ("IDEMPOTENCY_LEASE_MS", "100");
/// The delay of each direction. It is longer than the lease, so the claim expires before its first renewal.
const DELAY: Duration = Duration::from_millis(150);

/// Returns one valid request of each kind that changes something.
async fn requests(factory: &Factory) -> Vec<(String, Value)> {
    let (product, recalled, revoked) =
        (factory.product().await, factory.batch(2).await, factory.batch(2).await);
    let tag = text(&factory.tags(&recalled, "?limit=1").await[0]["tag_id"]);
    let new_key = json!({"tenant": "default", "scopes": ["factory:read"]});
    let (rotated, ended) = (
        factory.post("/v1/admin/keys", &new_key).await.expect(201),
        factory.post("/v1/admin/keys", &new_key).await.expect(201),
    );
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    let (batch, key) = (|batch: &Value| text(&batch["id"]), |key: &Value| text(&key["id"]));
    let reason = json!({"reason": "r"});
    vec![
        ("/v1/products".to_owned(), json!({"name": "n", "brand": "b"})),
        ("/v1/batches".to_owned(), json!({"product_id": product, "size": 3})),
        (format!("/v1/tags/{tag}/revoke"), reason.clone()),
        (format!("/v1/batches/{}/recall", batch(&recalled)), reason.clone()),
        (format!("/v1/batches/{}/revoke", batch(&revoked)), reason.clone()),
        ("/v1/admin/keys".to_owned(), new_key),
        (format!("/v1/admin/keys/{}/rotate", key(&rotated)), json!({})),
        (format!("/v1/admin/keys/{}/revoke", key(&ended)), reason.clone()),
        ("/v1/admin/tenants".to_owned(), json!({"id": "brand"})),
        ("/v1/admin/tenants/acme/suspend".to_owned(), reason),
        ("/v1/admin/keyring/tag".to_owned(), json!({"number": 2})),
    ]
}

async fn send(factory: &Factory, requests: &[(String, Value)]) -> Vec<Answer> {
    let send = |(path, body): &(String, Value)| {
        answer(factory.request(Method::POST, path).header("Idempotency-Key", "k").json(body))
    };
    join_all(requests.iter().map(send)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_lost_its_claim_gives_the_answer_of_the_other_try() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let slow = Factory::start(&proxy.url(), &[LEASE]).await;
    let quick = Factory::start(&redis.url(), &[LEASE]).await;
    let requests = requests(&quick).await;
    let before = quick.events().await.len();
    proxy.delay(DELAY);
    let repeated = async {
        eventually("all requests are claimed", SOON, || async {
            let mut link = redis.connection().await;
            let claims: Vec<String> = redis::cmd("KEYS").arg("vt1:i:*").query_async(&mut link).await.unwrap();
            claims.len() == requests.len()
        })
        .await;
        send(&quick, &requests).await
    };
    let (overtaken, repeated) = tokio::join!(send(&slow, &requests), repeated);
    for (((path, _), overtaken), repeated) in requests.iter().zip(&overtaken).zip(&repeated) {
        assert!(matches!(repeated.status, 200 | 201), "{path}: {repeated:?}");
        assert!(!repeated.headers.contains_key("idempotent-replayed"), "{path} was taken over");
        assert!(overtaken.headers.contains_key("idempotent-replayed"), "{path}: {overtaken:?}");
        let mut expected = repeated.json();
        // Only the try that created the key shows it.
        expected.as_object_mut().unwrap().remove("key");
        assert_eq!((overtaken.status, overtaken.json()), (repeated.status, expected), "{path}");
    }
    let after = quick.events().await.len();
    assert_eq!(after - before, requests.len(), "one event per request");
    quick.assert_chain_of(after as u64).await;
}

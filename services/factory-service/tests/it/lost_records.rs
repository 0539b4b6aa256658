//! A record that was written and cannot be read is 503 `state-lost` on every route that needs it, never 404.
//! Other routes are not affected.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::RedisServer;

use crate::support::{Factory, SECRET, answer, start, text};

/// A kind of damage to a stored key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Deleted,
    OtherType,
    Empty,
    OneByte,
    Large,
}

const CLASSES: [Damage; 5] =
    [Damage::Deleted, Damage::OtherType, Damage::Empty, Damage::OneByte, Damage::Large];

impl Damage {
    /// Damages a key, which may be of any type.
    async fn apply(self, link: &mut MultiplexedConnection, key: &str) {
        let () = link.del(key).await.unwrap();
        let () = match self {
            Self::Deleted => return,
            Self::OtherType => link.rpush(key, "of another type").await.unwrap(),
            Self::Empty => link.set(key, "").await.unwrap(),
            Self::OneByte => link.set(key, "x").await.unwrap(),
            Self::Large => link.set(key, vec![b'x'; 8 << 20]).await.unwrap(),
        };
    }
}

/// Saves a key, see [`restore`].
async fn dump(link: &mut MultiplexedConnection, key: &str) -> Vec<u8> {
    redis::cmd("DUMP").arg(key).query_async(link).await.unwrap()
}

async fn restore(link: &mut MultiplexedConnection, key: &str, dump: &[u8]) {
    let mut restore = redis::cmd("RESTORE");
    let () = restore.arg(key).arg(0).arg(dump).arg("REPLACE").query_async(link).await.unwrap();
}

/// A request that needs the damaged key.
type Route = (Method, String, Option<Value>);

async fn send(factory: &Factory, (method, path, body): &Route) -> crate::support::Answer {
    let request = factory.request(method.clone(), path);
    answer(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// Checks that each of `classes` of damage to `key` makes each of `routes` answer `state-lost`, and that they
/// succeed after the key is restored.
async fn assert_lost(
    redis: &RedisServer,
    factory: &Factory,
    key: &str,
    classes: &[Damage],
    routes: &[Route],
) {
    let mut link = redis.connection().await;
    let dump = dump(&mut link, key).await;
    let leaks = factory.metric("voketag_key_leak_alarms_total").await;
    for class in classes {
        class.apply(&mut link, key).await;
        for route in routes {
            let answered = send(factory, route).await;
            assert_eq!(answered.status, 503, "{class:?} of {key}, {route:?}: {answered:?}");
            answered.expect_problem(503, "state-lost");
        }
        restore(&mut link, key, &dump).await;
        assert_eq!(factory.get("/v1/ready").await.status, 200, "one lost record is not a lost deployment");
    }
    for route in routes {
        let answered = send(factory, route).await;
        assert!(answered.status < 300, "restored: {route:?}: {answered:?}");
    }
    assert_eq!(factory.metric("voketag_key_leak_alarms_total").await, leaks, "no alarm for a leaked key");
}

#[tokio::test]
async fn a_lost_batch_is_state_lost_on_every_route_that_needs_it() {
    let (redis, factory) = start().await;
    let (batch, other) = (factory.batch(3).await, factory.batch(1).await);
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let path = format!("/v1/batches/{}", text(&batch["id"]));
    let reason = || Some(json!({"reason": "r"}));
    let routes = [
        (Method::GET, path.clone(), None),
        (Method::GET, format!("{path}/tags"), None),
        (Method::GET, "/v1/batches".to_owned(), None),
        (Method::POST, format!("{path}/revoke"), reason()),
        (Method::POST, format!("{path}/recall"), reason()),
    ];
    let of_tags = [
        (Method::GET, format!("/v1/tags/{tag}"), None),
        (Method::GET, format!("/v1/tags/{tag}/qr.svg"), None),
        (Method::POST, format!("/v1/tags/{tag}/revoke"), reason()),
    ];
    let record = format!("vt1:b:{}", batch["batch_no"]);
    assert_lost(&redis, &factory, &record, &CLASSES, &[&routes[..], &of_tags].concat()).await;
    assert_lost(&redis, &factory, &format!("vt1:bi:{}", text(&batch["id"])), &CLASSES, &routes).await;

    let mut link = redis.connection().await;
    Damage::Deleted.apply(&mut link, &record).await;
    factory.get(&format!("/v1/batches/{}", text(&other["id"]))).await.expect(200);
    factory.batch(1).await;
    let other = text(&factory.tags(&other, "").await[0]["tag_id"]);
    factory.get(&format!("/v1/tags/{other}")).await.expect(200);
    factory.get("/v1/batches/019c6652-5e00-7000-8000-0000000000aa").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_tag_beyond_the_size_of_a_lost_batch_raises_the_leak_alarm() {
    let (redis, factory) = start().await;
    let (short, long) = (factory.batch(1).await, factory.batch(2).await);
    let mut link = redis.connection().await;
    // The record of minted batches now gives the longer batch one tag, so its second tag was never minted.
    let beyond = text(&factory.tags(&long, "").await[1]["tag_id"]);
    let notes = "vt1:bn";
    let one: Vec<u8> = link.hget(notes, short["batch_no"].as_u64().unwrap()).await.unwrap();
    assert_eq!(one, [0, 0, 0, 1, 0, 1], "size and epoch");
    let () = link.hset(notes, long["batch_no"].as_u64().unwrap(), one).await.unwrap();
    Damage::Deleted.apply(&mut link, &format!("vt1:b:{}", long["batch_no"])).await;
    factory.get(&format!("/v1/tags/{beyond}")).await.expect_problem(404, "tag-not-found");
    assert_eq!(factory.metric("voketag_key_leak_alarms_total").await, "1");
}

#[tokio::test]
async fn a_lost_product_is_state_lost_on_every_route_that_needs_it() {
    let (redis, factory) = start().await;
    let product = factory.product().await;
    let path = format!("/v1/products/{product}");
    let routes = [
        (Method::GET, path.clone(), None),
        (Method::GET, "/v1/products".to_owned(), None),
        (Method::PATCH, path.clone(), Some(json!({"name": "Other"}))),
        (Method::POST, "/v1/batches".to_owned(), Some(json!({"product_id": product, "size": 1}))),
    ];
    assert_lost(&redis, &factory, &format!("vt1:p:{product}"), &CLASSES, &routes).await;
    factory.get("/v1/products/019c6652-5e00-7000-8000-0000000000aa").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_unreadable_list_is_state_lost_and_not_an_exhausted_quota() {
    let (redis, factory) = start().await;
    let product = factory.product().await;
    let mint = json!({"product_id": product, "size": 1});
    factory.post("/v1/batches", &mint).await.expect(201);
    let unreadable = [Damage::OtherType, Damage::Empty, Damage::OneByte, Damage::Large];
    let routes =
        [(Method::GET, "/v1/batches".to_owned(), None), (Method::POST, "/v1/batches".to_owned(), Some(mint))];
    assert_lost(&redis, &factory, "vt1:bx:default", &unreadable, &routes).await;
    let routes = [
        (Method::GET, "/v1/products".to_owned(), None),
        (Method::POST, "/v1/products".to_owned(), Some(json!({"name": "n", "brand": "b"}))),
    ];
    assert_lost(&redis, &factory, "vt1:px:default", &unreadable, &routes).await;
}

#[tokio::test]
async fn an_unreadable_revocation_of_a_tag_is_state_lost_on_its_routes() {
    let (redis, factory) = start().await;
    let tag = text(&factory.tags(&factory.batch(1).await, "").await[0]["tag_id"]);
    factory.post(&format!("/v1/tags/{tag}/revoke"), &json!({"reason": "r"})).await.expect(200);
    let mut link = redis.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("vt1:tr:*").query_async(&mut link).await.unwrap();
    let routes = [(Method::GET, format!("/v1/tags/{tag}"), None)];
    let unreadable = [Damage::Empty, Damage::OneByte, Damage::Large];
    assert_lost(&redis, &factory, &keys[0], &unreadable, &routes).await;
}

#[tokio::test]
async fn a_lost_tenant_is_state_lost_for_operators_and_for_its_own_keys() {
    let (redis, factory) = start().await;
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    let key = json!({"tenant": "acme", "scopes": ["factory:read"]});
    let key = text(&factory.post("/v1/admin/keys", &key).await.expect(201)["key"]);
    let routes = [
        (Method::GET, "/v1/admin/tenants/acme".to_owned(), None),
        (Method::GET, "/v1/admin/tenants".to_owned(), None),
        (Method::POST, "/v1/admin/tenants/acme/suspend".to_owned(), Some(json!({"reason": "r"}))),
        (Method::POST, "/v1/admin/tenants/acme/resume".to_owned(), None),
    ];
    assert_lost(&redis, &factory, "vt1:tn:acme", &CLASSES, &routes).await;
    let mut link = redis.connection().await;
    let dump = dump(&mut link, "vt1:tn:acme").await;
    for class in CLASSES {
        class.apply(&mut link, "vt1:tn:acme").await;
        let request = factory.client.get(format!("{}/v1/products", factory.base)).bearer_auth(&key);
        answer(request).await.expect_problem(503, "state-lost");
    }
    restore(&mut link, "vt1:tn:acme", &dump).await;
    answer(factory.client.get(format!("{}/v1/products", factory.base)).bearer_auth(&key)).await.expect(200);
}

#[tokio::test]
async fn a_starting_factory_records_the_batches_of_earlier_versions() {
    let (redis, factory) = start().await;
    let batch = factory.batch(2).await;
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    drop(factory);
    let mut link = redis.connection().await;
    let record: String = link.get("vt1:deployment").await.unwrap();
    assert!(record.contains(",\"minted_noted\":true"), "{record}");
    let () = link.set("vt1:deployment", record.replace(",\"minted_noted\":true", "")).await.unwrap();
    let () = link.del("vt1:bn").await.unwrap();

    let factory = Factory::start(&redis.url(), &[("TAG_MASTER_SECRET", SECRET)]).await;
    test_support::eventually("the batches are recorded", crate::support::SOON, || async {
        let record: String = redis.connection().await.get("vt1:deployment").await.unwrap();
        record.contains("\"minted_noted\":true")
    })
    .await;
    Damage::Deleted.apply(&mut link, &format!("vt1:b:{}", batch["batch_no"])).await;
    factory.get(&format!("/v1/tags/{tag}")).await.expect_problem(503, "state-lost");
}

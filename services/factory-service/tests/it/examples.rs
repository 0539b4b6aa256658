//! The OpenAPI document: its examples succeed unchanged, and its values and patterns match the code.
//!
//! The examples use fixed ids. [`seed`] stores exactly these resources: a product and a batch of tenant
//! `default`, whose tags include the example, and tenant `acme` with its API key. [`BEFORE`] lists the
//! examples that must be sent before another one.

use access::{KeyDigest, KeyRecord, Scope, Scopes, Tenant};
use catalog::{Batch, Product, Record, keys as stored_at};
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::Value;
use tag_id::{MasterSecret, TagId, TagKeys};
use test_support::{ApiOperation, RedisServer, operations};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Answer, Factory, SECRET, answer, start};

/// Operations whose examples need resources of other examples, and these examples.
const BEFORE: [(&str, &[&str]); 6] = [
    ("activate_keyring_key", &["add_keyring_key"]),
    ("retire_keyring_key", &["add_keyring_key"]),
    ("revoke_keyring_key", &["add_keyring_key", "activate_keyring_key"]),
    ("correct_keyring_date", &["add_keyring_key", "activate_keyring_key", "revoke_keyring_key"]),
    ("destroy_keyring_key", &["add_keyring_key"]),
    ("resume_tenant", &["suspend_tenant"]),
];

/// The creation time of all seeded resources. It is earlier than each instant in the examples.
fn made_at() -> OffsetDateTime {
    OffsetDateTime::parse("2026-02-16T12:00:00Z", &Rfc3339).unwrap()
}

fn example_of<'a>(document: &'a Value, operation: &str, parameter: &str) -> &'a str {
    let all = operations(document);
    let found = all.iter().find(|one| one.document["operationId"] == operation).unwrap();
    let mut parameters = found.document["parameters"].as_array().unwrap().iter();
    let found = parameters.find(|one| one["name"] == parameter).unwrap();
    found["example"].as_str().unwrap_or_else(|| panic!("{operation} has no example of {parameter}"))
}

/// Stores the resources that the examples name.
async fn seed(redis: &RedisServer, document: &Value) {
    let id = |operation, name| example_of(document, operation, name);
    let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(SECRET).unwrap()), []);
    let tag: TagId = id("show_tag", "tag_id").parse().unwrap();
    let opened = tag_keys.open(&tag).expect("the example is a tag under the tests' secret");
    let product = Product {
        id: id("show_product", "id").parse().unwrap(),
        tenant: "default".to_owned(),
        name: "Rain jacket".to_owned(),
        brand: "Northern".to_owned(),
        gtin: None,
        created_at: made_at(),
        updated_at: made_at(),
    };
    let batch = Batch {
        id: id("show_batch", "id").parse().unwrap(),
        tenant: "default".to_owned(),
        batch_no: opened.batch,
        epoch: opened.epoch,
        size: opened.index.get() + 1,
        product_id: product.id,
        label: None,
        manufactured_at: None,
        expires_at: None,
        created_at: made_at(),
        revoked: None,
        recalled: None,
    };
    let mut link = redis.connection().await;
    let () = link.set(stored_at::product(&product.id), product.encode(1)).await.unwrap();
    let () = link.set(stored_at::batch(batch.batch_no), batch.encode(1)).await.unwrap();
    let minted = [&batch.size.to_be_bytes()[..], &batch.epoch.get().to_be_bytes()].concat();
    let () = link.hset(stored_at::MINTED, batch.batch_no.get(), minted).await.unwrap();
    let () = link.set(stored_at::batch_no(&batch.id), batch.batch_no.get()).await.unwrap();
    for (list, id) in [
        (stored_at::products_of("default"), product.id.to_string()),
        (stored_at::batches_of("default"), batch.id.to_string()),
    ] {
        let () = link.zadd(list, id, 0).await.unwrap();
    }
    let tenant = Tenant::new(id("show_tenant", "id").parse().unwrap(), None, made_at());
    let () = link.set(access::keys::tenant(&tenant.id), tenant.encode(1)).await.unwrap();
    let () = link.zadd(access::keys::TENANTS, tenant.id.as_str(), 0).await.unwrap();
    let key = KeyRecord {
        id: id("show_key", "id").parse().unwrap(),
        tenant: tenant.id.clone(),
        digest: KeyDigest::from_bytes([7; 32]),
        scopes: [Scope::FactoryRead].into_iter().collect::<Scopes>(),
        label: None,
        created_at: made_at(),
        created_by: "cli".to_owned(),
        expires_at: None,
        revoked: None,
        rotated: None,
        replaces: None,
    };
    let () = link.set(access::keys::key(&key.id), key.encode(1)).await.unwrap();
    let () = link.zadd(access::keys::keys_of(&tenant.id), key.id.as_str(), 1).await.unwrap();
}

/// Starts a factory with the resources that the examples name.
async fn stack() -> (RedisServer, Factory, Value) {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET)]).await;
    let document = factory.get("/openapi.json").await.expect(200);
    seed(&redis, &document).await;
    (redis, factory, document)
}

/// Sends the example of an operation, with each parameter and the body in the document.
async fn send(factory: &Factory, operation: &ApiOperation<'_>) -> Answer {
    let (mut path, mut query, mut headers) = (operation.path.to_owned(), Vec::new(), Vec::new());
    for parameter in operation.document["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let example = match (&parameter["example"], &parameter["schema"]["example"]) {
            (Value::Null, Value::Null) => panic!("{} {path}: {name} has no example", operation.method),
            (Value::Null, example) | (example, _) => example,
        };
        let example = example.as_str().map_or_else(|| example.to_string(), ToOwned::to_owned);
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" => query.push(format!("{name}={example}")),
            "header" => headers.push((name, example)),
            other => panic!("{name} is in {other}"),
        }
    }
    let method = Method::from_bytes(operation.method.as_bytes()).unwrap();
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let mut request = factory.request(method, &path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(content) = operation.document["requestBody"]["content"].as_object() {
        let example = content["application/json"].get("example");
        request = request.json(example.unwrap_or_else(|| panic!("{path} has no example")));
    }
    answer(request).await
}

fn assert_succeeded(operation: &ApiOperation<'_>, answered: &Answer) {
    let status = answered.status.to_string();
    assert!(status.starts_with('2'), "{} {}: {answered:?}", operation.method, operation.path);
    assert!(operation.document["responses"].get(&status).is_some(), "{}: {status}", operation.path);
}

#[tokio::test]
async fn every_request_example_in_the_document_succeeds_unchanged() {
    let (_redis, factory, document) = stack().await;
    let all = operations(&document);
    let (reads, writes): (Vec<_>, Vec<_>) = all.iter().partition(|operation| operation.method == "GET");
    for operation in &reads {
        assert_succeeded(operation, &send(&factory, operation).await);
    }
    for operation in &writes {
        let (_redis, factory, _) = stack().await;
        let before = BEFORE.iter().filter(|(after, _)| operation.document["operationId"] == *after);
        for before in before.flat_map(|(_, before)| *before) {
            let before = all.iter().find(|one| one.document["operationId"] == **before).unwrap();
            assert_succeeded(before, &send(&factory, before).await);
        }
        let answered = send(&factory, operation).await;
        assert_succeeded(operation, &answered);
        assert!(answered.headers.get("idempotent-replayed").is_none(), "{}", operation.path);
    }
    println!("the examples of {} reads and {} writes were sent", reads.len(), writes.len());
}

#[tokio::test]
async fn the_document_lists_its_servers_and_the_allowed_values_of_strings() {
    let (_redis, factory) = start().await;
    let document = factory.get("/openapi.json").await.expect(200);
    test_support::assert_values_described(&document);
    assert_eq!(document["servers"][0]["url"], "/");
    let schema =
        |name: &str, property: &str| document["components"]["schemas"][name]["properties"][property].clone();
    let scopes = serde_json::json!(["factory:write", "factory:read", "audit:read", "scan:partner", "admin"]);
    assert_eq!(schema("KeyRequest", "scopes")["items"]["enum"], scopes);
    let lifecycle = serde_json::json!(["active", "revoked", "recalled", "key_revoked", "expired"]);
    assert_eq!(schema("BatchAnswer", "state")["enum"], lifecycle);
    assert_eq!(schema("TagAnswer", "lifecycle")["enum"], lifecycle);
    assert_eq!(schema("ProductRequest", "gtin")["pattern"], "^([0-9]{8}|[0-9]{12,14})$");
}

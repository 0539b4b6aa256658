//! Two tenants in one deployment: no route shows or changes a resource of the other tenant.

use reqwest::Method;
use serde_json::{Value, json};

use test_support::RedisServer;

use crate::support::{Answer, Factory, SECRET, answer, start, text};

const ALL: [&str; 3] = ["factory:write", "factory:read", "audit:read"];

/// Creates a tenant and returns a key with all scopes of a brand.
pub(crate) async fn brand(factory: &Factory, id: &str) -> String {
    factory.post("/v1/admin/tenants", &json!({"id": id})).await.expect(201);
    key(factory, id, &ALL).await
}

/// Creates a key of a tenant.
pub(crate) async fn key(factory: &Factory, tenant: &str, scopes: &[&str]) -> String {
    let made = factory.post("/v1/admin/keys", &json!({"tenant": tenant, "scopes": scopes})).await.expect(201);
    text(&made["key"])
}

pub(crate) async fn send(
    factory: &Factory,
    key: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let mut request = factory.client.request(method, format!("{}{path}", factory.base)).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(body);
    }
    answer(request).await
}

/// Returns a valid body for the operation, if it takes one. `product` is the product of a batch.
fn body_of(path: &str, method: &str, product: &str) -> Option<Value> {
    match (method, path) {
        ("get", _) => None,
        ("patch", "/v1/products/{id}") => Some(json!({"name": "foreign"})),
        ("post", "/v1/products") => Some(json!({"name": "n", "brand": "b"})),
        ("post", "/v1/batches") => Some(json!({"product_id": product, "size": 1})),
        ("post", "/v1/audit/verify") => Some(json!({})),
        ("post", _) => Some(json!({"reason": "r"})),
        other => panic!("{other:?} has no body here"),
    }
}

/// The ids of the first tenant's resources.
struct ForeignIds {
    product: String,
    batch: String,
    tag: String,
    key: String,
}

impl ForeignIds {
    /// Returns the path of an operation with these ids.
    fn in_path(&self, path: &str) -> String {
        let id = if path.starts_with("/v1/products") {
            &self.product
        } else if path.starts_with("/v1/batches") {
            &self.batch
        } else if path.starts_with("/v1/admin/keys") {
            &self.key
        } else if path.starts_with("/v1/admin/tenants") {
            "one"
        } else {
            "none"
        };
        let path = path.replace("{id}", id).replace("{tag_id}", &self.tag);
        path.replace("{family}", "tag").replace("{number}", "1")
    }
}

#[tokio::test]
async fn no_route_shows_or_changes_another_tenants_resources() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET)]).await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let made = async |path: &str, body: Value| {
        send(&factory, &one, Method::POST, path, Some(&body)).await.expect(201)
    };
    let product = text(&made("/v1/products", json!({"name": "n", "brand": "b"})).await["id"]);
    let batch = text(&made("/v1/batches", json!({"product_id": product, "size": 3})).await["id"]);
    let tags = send(&factory, &one, Method::GET, &format!("/v1/batches/{batch}/tags"), None).await;
    let first: Value = serde_json::from_str(tags.text.lines().next().unwrap()).unwrap();
    let foreign = ForeignIds { product, batch, tag: text(&first["tag_id"]), key: one[3..11].to_owned() };

    let document = answer(factory.client.get(format!("{}/openapi.json", factory.base))).await.expect(200);
    let mut tested = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (name, operation) in operations.as_object().unwrap() {
            if operation["security"] == json!([{}]) {
                continue;
            }
            tested += 1;
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let body =
                (!path.starts_with("/v1/admin")).then(|| body_of(path, name, &foreign.product)).flatten();
            let answered = send(&factory, &two, method, &foreign.in_path(path), body.as_ref()).await;
            let expected = expected(path, name);
            assert_eq!(answered.status, expected, "{name} {path}: {answered:?}");
            for secret in [&foreign.product, &foreign.batch, &foreign.tag] {
                let sent = body.as_ref().is_some_and(|body| body.to_string().contains(secret.as_str()));
                let was_sent = sent || foreign.in_path(path).contains(secret.as_str());
                assert!(
                    was_sent || !answered.text.contains(secret.as_str()),
                    "{name} {path} reveals {secret}"
                );
            }
        }
    }
    assert!(tested >= 30, "only {tested} operations were tested");
    println!("{tested} operations tested with another tenant's key and ids");

    // The resources are unchanged.
    let read = async |path: String| send(&factory, &one, Method::GET, &path, None).await.expect(200);
    assert_eq!(read(format!("/v1/products/{}", foreign.product)).await["name"], "n");
    assert_eq!(read(format!("/v1/batches/{}", foreign.batch)).await["state"], "active");
    assert_eq!(read(format!("/v1/tags/{}", foreign.tag)).await["valid"], true);
}

/// Returns the status that a key of another tenant gets.
fn expected(path: &str, method: &str) -> u16 {
    match (method, path) {
        (_, path) if path.starts_with("/v1/admin") => 403,
        (_, path) if path.contains("{id}") || path.contains("{tag_id}") => 404,
        // A product of another tenant counts as missing.
        ("post", "/v1/batches") => 422,
        ("post", "/v1/products") => 201,
        _ => 200,
    }
}

#[tokio::test]
async fn lists_hold_only_the_tenants_own_resources() {
    let (_redis, factory) = start().await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let body = json!({"name": "n", "brand": "b"});
    let product = send(&factory, &one, Method::POST, "/v1/products", Some(&body)).await.expect(201);
    let mint = json!({"product_id": product["id"], "size": 3});
    send(&factory, &one, Method::POST, "/v1/batches", Some(&mint)).await.expect(201);
    for list in ["/v1/products", "/v1/batches"] {
        let items = async |key: &str| {
            send(&factory, key, Method::GET, list, None).await.expect(200)["items"].as_array().unwrap().len()
        };
        assert_eq!((items(&one).await, items(&two).await), (1, 0), "{list}");
        assert_eq!(factory.get(list).await.expect(200)["items"], json!([]), "the operator is a tenant too");
    }
}

#[tokio::test]
async fn a_tenant_reads_every_hash_but_only_its_own_events() {
    let (_redis, factory) = start().await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let body = json!({"name": "n", "brand": "b"});
    send(&factory, &one, Method::POST, "/v1/products", Some(&body)).await.expect(201);
    send(&factory, &two, Method::POST, "/v1/products", Some(&body)).await.expect(201);
    let page = async |key: &str| {
        let page = send(&factory, key, Method::GET, "/v1/audit/events?limit=1000", None).await.expect(200);
        page["events"].as_array().unwrap().clone()
    };
    let all =
        factory.get("/v1/audit/events?limit=1000").await.expect(200)["events"].as_array().unwrap().clone();
    assert!(all.iter().all(|entry| entry["event"].is_object()), "the operator sees all events");
    for (key, tenant) in [(&one, "one"), (&two, "two")] {
        let seen = page(key).await;
        assert_eq!(seen.len(), all.len());
        let mut own = 0;
        for (seen, whole) in seen.iter().zip(&all) {
            for member in ["seq", "prev", "payload_hash", "hash"] {
                assert_eq!(seen[member], whole[member]);
            }
            if whole["event"]["tenant"] == tenant {
                assert_eq!(seen["event"], whole["event"]);
                own += 1;
            } else {
                assert!(seen["event"].is_null(), "{tenant} reads {seen}");
            }
        }
        // The events of the tenant, its key and its product.
        assert_eq!(own, 3, "{tenant}");
        let report = send(&factory, key, Method::POST, "/v1/audit/verify", None).await.expect(200);
        assert_eq!((&report["ok"], &report["checked"]), (&json!(true), &json!(all.len())));
    }
}

/// The same `Idempotency-Key` in two tenants is two requests.
#[tokio::test]
async fn tenants_share_no_idempotency_keys() {
    let (_redis, factory) = start().await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let body = json!({"name": "n", "brand": "b"});
    let mut ids = Vec::new();
    for key in [&one, &two] {
        let request = factory.client.post(format!("{}/v1/products", factory.base)).bearer_auth(key);
        let made = answer(request.header("Idempotency-Key", "same").json(&body)).await;
        assert!(!made.headers.contains_key("idempotent-replayed"));
        ids.push(text(&made.expect(201)["id"]));
    }
    assert_ne!(ids[0], ids[1]);
}

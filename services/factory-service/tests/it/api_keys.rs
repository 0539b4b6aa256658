//! API keys and tenants: creation, scopes, rotation, revocation and suspension.

use reqwest::Method;
use serde_json::{Value, json};

use crate::isolation::{brand, key, send};
use crate::support::{Factory, answer, start, stored_keys, text};

const PRODUCT: &str = "/v1/products";

fn product() -> Value {
    json!({"name": "n", "brand": "b"})
}

#[tokio::test]
async fn a_key_is_shown_once_and_limited_to_its_scopes() {
    let (_redis, factory) = start().await;
    factory.post("/v1/admin/tenants", &json!({"id": "acme", "name": "Acme Ltd"})).await.expect(201);
    let made = factory
        .post("/v1/admin/keys", &json!({"tenant": "acme", "scopes": ["factory:read"], "label": "reader"}))
        .await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    let shown = text(&made["key"]);
    assert_eq!(location, format!("/v1/admin/keys/{}", text(&made["id"])));
    assert!(shown.starts_with(&format!("vk_{}_", text(&made["id"]))) && shown.len() == 70, "{shown}");
    let listed = factory.get(&location).await.expect(200);
    assert!(listed.get("key").is_none_or(Value::is_null), "{listed}");
    assert_eq!((&listed["tenant"], &listed["label"]), (&json!("acme"), &json!("reader")));
    let events = factory.events().await;
    let event = events.iter().find(|event| event["action"] == "key.created").unwrap();
    assert_eq!(
        (&event["tenant"], &event["resource"]),
        (&json!("acme"), &json!(format!("key/{}", text(&made["id"]))))
    );
    assert_eq!(
        event["details"],
        json!({"scopes": "factory:read", "label": "reader"}),
        "the secret is not in the event"
    );

    send(&factory, &shown, Method::GET, PRODUCT, None).await.expect(200);
    let rejected = send(&factory, &shown, Method::POST, PRODUCT, Some(&product())).await;
    assert!(rejected.expect_problem(403, "forbidden").contains("factory:write"));
    send(&factory, &shown, Method::GET, "/v1/audit/head", None).await.expect_problem(403, "forbidden");
    send(&factory, &shown, Method::GET, "/v1/admin/tenants", None).await.expect_problem(403, "forbidden");
    let header = factory.client.get(format!("{}{PRODUCT}", factory.base)).header("x-api-key", &shown);
    answer(header).await.expect(200);
}

#[tokio::test]
async fn only_the_whole_key_authenticates() {
    let (_redis, factory) = start().await;
    let shown = brand(&factory, "acme").await;
    let other = key(&factory, "acme", &["factory:read"]).await;
    let id_of_one_secret_of_other = format!("{}{}", &shown[..12], &other[12..]);
    let flipped = format!("{}{}", &shown[..69], if shown.ends_with('0') { '1' } else { '0' });
    for wrong in
        [&shown[..69], &id_of_one_secret_of_other, &flipped, &shown.to_uppercase(), &format!("{shown}0")]
    {
        send(&factory, wrong, Method::GET, PRODUCT, None).await.expect_problem(401, "unauthenticated");
    }
}

/// In each of 100 rounds, the next request on another instance must be rejected.
#[tokio::test]
async fn every_instance_rejects_the_next_request_with_a_revoked_key() {
    let (redis, factory) = start().await;
    let other = Factory::start(&redis.url(), &[]).await;
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    for _ in 0..100 {
        let shown = key(&factory, "acme", &["factory:read"]).await;
        send(&other, &shown, Method::GET, PRODUCT, None).await.expect(200);
        let path = format!("/v1/admin/keys/{}/revoke", &shown[3..11]);
        factory.post(&path, &json!({"reason": "leaked"})).await.expect(200);
        send(&other, &shown, Method::GET, PRODUCT, None).await.expect_problem(401, "unauthenticated");
    }
    println!("100 of 100 revocations were seen by the next request on another instance");
}

#[tokio::test]
async fn the_keys_of_a_suspended_tenant_are_rejected_until_it_is_resumed() {
    let (redis, factory) = start().await;
    let other = Factory::start(&redis.url(), &[]).await;
    let (acme, apex) = (brand(&factory, "acme").await, brand(&factory, "apex").await);
    for _ in 0..20 {
        let suspended = factory.post("/v1/admin/tenants/acme/suspend", &json!({"reason": "unpaid"})).await;
        assert_eq!(suspended.expect(200)["state"], "suspended");
        let rejected =
            send(&other, &acme, Method::GET, PRODUCT, None).await.expect_problem(401, "unauthenticated");
        assert!(rejected.contains("suspended"));
        send(&other, &apex, Method::GET, PRODUCT, None).await.expect(200);
        factory.post("/v1/admin/tenants/acme/resume", &json!({})).await.expect(200);
        send(&other, &acme, Method::GET, PRODUCT, None).await.expect(200);
    }
    // No key can be created for a suspended tenant, and the error says why.
    factory.post("/v1/admin/tenants/acme/suspend", &json!({"reason": "unpaid"})).await.expect(200);
    let body = json!({"tenant": "acme", "scopes": ["factory:read"]});
    let rotate = format!("/v1/admin/keys/{}/rotate", &acme[3..11]);
    for (path, body) in [("/v1/admin/keys", &body), (rotate.as_str(), &json!({}))] {
        let rejected = factory.post(path, body).await.expect_problem(422, "unprocessable");
        assert!(rejected.contains("suspended"), "{path}: {rejected}");
    }
    let rejected = factory.post("/v1/admin/tenants/default/suspend", &json!({"reason": "r"})).await;
    rejected.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_rotated_key_stays_valid_for_its_overlap() {
    let (_redis, factory) = start().await;
    let old = brand(&factory, "acme").await;
    let path = format!("/v1/admin/keys/{}/rotate", &old[3..11]);
    let admin = key(&factory, "default", &["admin"]).await;
    let rotated =
        send(&factory, &admin, Method::POST, &path, Some(&json!({"overlap_s": 3600}))).await.expect(201);
    let new = text(&rotated["key"]);
    assert_eq!(rotated["created_by"], json!(format!("key/{}", &admin[3..11])), "the actor of the rotation");
    assert_eq!(rotated["replaces"], json!(&old[3..11]));
    for valid in [&old, &new] {
        send(&factory, valid, Method::GET, PRODUCT, None).await.expect(200);
    }
    let was = factory.get(&format!("/v1/admin/keys/{}", &old[3..11])).await.expect(200);
    assert_eq!((&was["rotated"]["to"], &was["created_by"]), (&rotated["id"], &json!("key/bootstrap")));
    // A key can be rotated only once, but its successor can be rotated.
    factory.post(&path, &json!({})).await.expect_problem(409, "conflict");
    let path = format!("/v1/admin/keys/{}/rotate", text(&rotated["id"]));
    let third = text(&factory.post(&path, &json!({"overlap_s": 0})).await.expect(201)["key"]);
    send(&factory, &new, Method::GET, PRODUCT, None).await.expect_problem(401, "unauthenticated");
    send(&factory, &third, Method::GET, PRODUCT, None).await.expect(200);
}

#[tokio::test]
async fn an_expiry_must_be_in_the_future() {
    let (_redis, factory) = start().await;
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    let body = |at: &str| json!({"tenant": "acme", "scopes": ["factory:read"], "expires_at": at});
    let rejected = factory.post("/v1/admin/keys", &body("2020-01-01T00:00:00Z")).await;
    assert!(rejected.expect_problem(422, "unprocessable").contains("expires_at"));
    let made = factory.post("/v1/admin/keys", &body("2999-01-01T00:00:00Z")).await.expect(201);
    send(&factory, &text(&made["key"]), Method::GET, PRODUCT, None).await.expect(200);
}

#[tokio::test]
async fn an_invalid_tenant_or_key_is_rejected_and_appends_no_event() {
    let (_redis, factory) = start().await;
    for (body, status, slug) in [
        (json!({"id": "Acme"}), 400, "invalid-request"),
        (json!({"id": ""}), 400, "invalid-request"),
        (json!({"id": "-a"}), 400, "invalid-request"),
        (json!({"id": "a".repeat(33)}), 400, "invalid-request"),
        (json!({"name": "no id"}), 400, "invalid-request"),
        (json!({"id": "default"}), 409, "conflict"),
    ] {
        factory.post("/v1/admin/tenants", &body).await.expect_problem(status, slug);
    }
    for (body, status, slug) in [
        (json!({"tenant": "nobody", "scopes": ["factory:read"]}), 422, "unprocessable"),
        (json!({"tenant": "default", "scopes": []}), 400, "invalid-request"),
        (json!({"tenant": "default", "scopes": ["root"]}), 400, "invalid-request"),
        (json!({"tenant": "default"}), 400, "invalid-request"),
    ] {
        factory.post("/v1/admin/keys", &body).await.expect_problem(status, slug);
    }
    factory
        .post("/v1/admin/keys/00000000/revoke", &json!({"reason": "r"}))
        .await
        .expect_problem(404, "not-found");
    factory.post("/v1/admin/keys/x/revoke", &json!({"reason": "r"})).await.expect_problem(404, "not-found");
    factory
        .post("/v1/admin/tenants/nobody/suspend", &json!({"reason": "r"}))
        .await
        .expect_problem(404, "not-found");
    factory.assert_chain_of(0).await;
}

#[tokio::test]
async fn every_action_of_an_operator_is_an_event_of_the_affected_tenant() {
    let (redis, factory) = start().await;
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    let made = factory
        .post("/v1/admin/keys", &json!({"tenant": "acme", "scopes": ["factory:read"]}))
        .await
        .expect(201);
    let id = text(&made["id"]);
    let rotated = factory.post(&format!("/v1/admin/keys/{id}/rotate"), &json!({})).await.expect(201);
    let reason = json!({"reason": "r"});
    for _ in 0..2 {
        // A repeat returns 200 and appends no event.
        factory.post(&format!("/v1/admin/keys/{id}/revoke"), &reason).await.expect(200);
        factory.post("/v1/admin/tenants/acme/suspend", &reason).await.expect(200);
    }
    factory.get("/v1/admin/tenants").await.expect(200);
    factory.get("/v1/admin/keys?tenant=acme").await.expect(200);
    let events = factory.events().await;
    let recorded: Vec<(String, String, String)> = events
        .iter()
        .map(|event| (text(&event["tenant"]), text(&event["action"]), text(&event["resource"])))
        .collect();
    let event = |tenant: &str, action: &str, resource: &str| {
        (tenant.to_owned(), action.to_owned(), resource.to_owned())
    };
    assert_eq!(
        recorded,
        [
            event("acme", "tenant.created", "tenant/acme"),
            event("acme", "key.created", &format!("key/{id}")),
            event("acme", "key.rotated", &format!("key/{id}")),
            event("acme", "key.revoked", &format!("key/{id}")),
            event("acme", "tenant.suspended", "tenant/acme"),
            event("default", "tenant.listed", "tenant/*"),
            event("acme", "key.listed", "key/*"),
        ]
    );
    assert_eq!(events[2]["details"]["successor"], rotated["id"]);
    assert!(events.iter().all(|event| event["actor"] == "key/bootstrap"));
    assert!(stored_keys(&redis).await.contains(&format!("vt1:k:{id}")));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let (_redis, factory) = start().await;
    for id in ["a", "b", "c"] {
        factory.post("/v1/admin/tenants", &json!({"id": id})).await.expect(201);
        key(&factory, "a", &["factory:read"]).await;
    }
    for (list, all) in [("/v1/admin/tenants?limit=2", 4), ("/v1/admin/keys?tenant=a&limit=2", 3)] {
        let first = factory.get(list).await.expect(200);
        let cursor = text(&first["next_cursor"]);
        let second = factory.get(&format!("{list}&cursor={cursor}")).await.expect(200);
        let count = |page: &Value| page["items"].as_array().unwrap().len();
        assert_eq!((count(&first), count(&second)), (2, all - 2), "{list}");
        assert!(second.get("next_cursor").is_none());
        assert_ne!(first["items"][0], second["items"][0]);
    }
}

#[tokio::test]
async fn head_is_not_allowed_on_audited_reads_and_appends_no_event() {
    let (_redis, factory) = start().await;
    for (path, allow) in [
        ("/v1/admin/tenants", "GET, POST"),
        ("/v1/admin/keys?tenant=default", "GET, POST"),
        ("/v1/admin/keyring", "GET"),
        ("/v1/admin/audit/export", "GET"),
    ] {
        let rejected = answer(factory.request(Method::HEAD, path)).await;
        assert_eq!((rejected.status, rejected.header("allow")), (405, allow), "{path}");
    }
    factory.get("/v1/admin/keys?tenant=nobody").await.expect_problem(404, "not-found");
    factory.assert_chain_of(0).await;
}

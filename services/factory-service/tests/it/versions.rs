//! Conditional requests: no update is lost, because a change applies only to the version that the client
//! names.

use reqwest::Method;
use serde_json::{Value, json};

use crate::isolation::brand;
use crate::support::{Answer, Factory, SLOWLY, answer, start, start_behind_proxy, text};

async fn patch_if(factory: &Factory, path: &str, header: (&str, &str), body: &Value) -> Answer {
    answer(factory.request(Method::PATCH, path).header(header.0, header.1).json(body)).await
}

async fn get_if_none(factory: &Factory, path: &str, etag: &str) -> Answer {
    answer(factory.request(Method::GET, path).header("If-None-Match", etag)).await
}

#[tokio::test]
async fn a_product_is_changed_only_in_the_named_version() {
    let (_redis, factory) = start().await;
    let made = factory.post("/v1/products", &json!({"name": "Rain jacket", "brand": "Northern"})).await;
    let (path, first) = (made.header("location").to_owned(), made.header("etag").to_owned());
    assert!(first.starts_with('"') && first.ends_with('"'), "{first} is strong");
    assert_eq!(factory.get(&path).await.header("etag"), first, "POST and GET name the same version");

    let changed = patch_if(&factory, &path, ("If-Match", &first), &json!({"name": "Coat"})).await;
    let second = changed.header("etag").to_owned();
    assert_ne!(second, first);
    assert_eq!(changed.expect(200)["name"], "Coat");
    for stale in [&first, &format!("W/{second}"), "\"nothing\"", "nonsense", &format!("{first}, W/{second}")]
    {
        let why = patch_if(&factory, &path, ("If-Match", stale), &json!({"name": "Lost"})).await;
        let why = why.expect_problem(412, "precondition-failed");
        assert!(why.contains("ETag"), "{why}");
    }
    for unless in ["*", &second] {
        let rejected = patch_if(&factory, &path, ("If-None-Match", unless), &json!({"name": "Lost"})).await;
        rejected.expect_problem(412, "precondition-failed");
    }
    // A stale condition fails even if the patch would change nothing.
    patch_if(&factory, &path, ("If-Match", &first), &json!({"name": "Coat"}))
        .await
        .expect_problem(412, "precondition-failed");
    let listed = format!("\"x\", {second}");
    assert_eq!(patch_if(&factory, &path, ("If-Match", &listed), &json!({"name": "Cap"})).await.status, 200);
    assert_eq!(patch_if(&factory, &path, ("If-Match", "*"), &json!({"name": "Hat"})).await.status, 200);
    assert_eq!(
        factory.patch(&path, &json!({"name": "Hood"})).await.status,
        200,
        "a patch without a condition succeeds"
    );
    let unknown = "/v1/products/019c6652-5e00-7000-8000-0000000000aa";
    patch_if(&factory, unknown, ("If-Match", "*"), &json!({"name": "x"}))
        .await
        .expect_problem(404, "not-found");
    factory.assert_chain_of(5).await;
}

#[tokio::test]
async fn of_concurrent_patches_of_one_version_exactly_one_succeeds() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let path = format!("/v1/products/{}", factory.product().await);
    let etag = factory.get(&path).await.header("etag").to_owned();
    let bodies: Vec<Value> = (0..6).map(|i| json!({"name": format!("name {i}")})).collect();
    proxy.delay(SLOWLY);
    let patches = bodies.iter().map(|body| patch_if(&factory, &path, ("If-Match", &etag), body));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(patches).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn a_version_that_the_client_holds_is_not_sent_again() {
    let (_redis, factory) = start().await;
    brand(&factory, "acme").await;
    let batch = factory.batch(3).await;
    let paths = [
        format!("/v1/products/{}", text(&batch["product_id"])),
        format!("/v1/batches/{}", text(&batch["id"])),
        "/v1/admin/tenants/acme".to_owned(),
        "/v1/admin/tenants/default".to_owned(),
    ];
    for path in &paths {
        let etag = factory.get(path).await.header("etag").to_owned();
        for held in [&etag, &format!("W/{etag}"), "*"] {
            let bare = get_if_none(&factory, path, held).await;
            assert_eq!((bare.status, bare.text.as_str(), bare.header("etag")), (304, "", &*etag), "{path}");
        }
        assert_eq!(get_if_none(&factory, path, "\"x\"").await.status, 200);
    }
    let held = factory.get(&paths[1]).await.header("etag").to_owned();
    let revoked = factory.post(&format!("{}/revoke", paths[1]), &json!({"reason": "r"})).await;
    assert_ne!(revoked.header("etag"), held);
    let shown = get_if_none(&factory, &paths[1], &held).await;
    assert_eq!((shown.status, shown.header("etag")), (200, revoked.header("etag")));
}

#[tokio::test]
async fn a_replayed_post_has_the_etag_of_its_first_answer() {
    let (_redis, factory) = start().await;
    let post = || {
        let request = factory.request(Method::POST, "/v1/products").header("Idempotency-Key", "once");
        answer(request.json(&json!({"name": "n", "brand": "b"})))
    };
    let (first, second) = (post().await, post().await);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(first.header("etag"), second.header("etag"));
}

#[tokio::test]
async fn a_tenant_is_changed_only_in_the_named_version() {
    let (_redis, factory) = start().await;
    brand(&factory, "acme").await;
    let path = "/v1/admin/tenants/acme";
    let etag = factory.get(path).await.header("etag").to_owned();
    let (one, two) = (json!({"name": "Acme Ltd"}), json!({"max_batches": 5}));
    assert_eq!(patch_if(&factory, path, ("If-Match", &etag), &one).await.status, 200);
    patch_if(&factory, path, ("If-Match", &etag), &two).await.expect_problem(412, "precondition-failed");
    let suspended = factory.post(&format!("{path}/suspend"), &json!({"reason": "unpaid"})).await;
    let etag = suspended.header("etag").to_owned();
    assert_eq!(patch_if(&factory, path, ("If-Match", &etag), &two).await.status, 200);
}

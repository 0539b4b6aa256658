//! The quota of batches of a tenant.

use reqwest::Method;
use serde_json::json;

use crate::isolation::{brand, send};
use crate::support::{SLOWLY, start, start_behind_proxy};

#[tokio::test]
async fn a_tenant_cannot_exceed_its_quota_of_batches() {
    let (_redis, factory) = start().await;
    let key = brand(&factory, "acme").await;
    let tenant = "/v1/admin/tenants/acme";
    factory.patch(tenant, &json!({"max_batches": 2})).await.expect(200);
    let made =
        send(&factory, &key, Method::POST, "/v1/products", Some(&json!({"name": "n", "brand": "b"}))).await;
    let mint = json!({"product_id": made.expect(201)["id"], "size": 1});
    let mint = async || send(&factory, &key, Method::POST, "/v1/batches", Some(&mint)).await;
    for _ in 0..2 {
        mint().await.expect(201);
    }
    let before = factory.events().await.len();
    let why = mint().await.expect_problem(409, "quota-exceeded");
    assert!(why.contains("2 batches") && why.contains("max_batches"), "{why}");
    assert_eq!(factory.events().await.len(), before, "nothing was written");
    factory.batch(1).await;
    factory.patch(tenant, &json!({"max_batches": 3})).await.expect(200);
    mint().await.expect(201);
    mint().await.expect_problem(409, "quota-exceeded");
}

/// All requests read before any of them writes, so that one call writes many batches.
#[tokio::test]
async fn batches_minted_in_one_call_are_counted_one_by_one() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    factory.patch("/v1/admin/tenants/default", &json!({"max_batches": 7})).await.expect(200);
    let mint = json!({"product_id": factory.product().await, "size": 1});
    proxy.delay(SLOWLY);
    let mints = (0..20).map(|_| factory.post("/v1/batches", &mint));
    let statuses: Vec<u16> =
        futures_util::future::join_all(mints).await.iter().map(|answer| answer.status).collect();
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(201), of(409)), (7, 13), "{statuses:?}");
    let listed = factory.get("/v1/batches").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 7);
}

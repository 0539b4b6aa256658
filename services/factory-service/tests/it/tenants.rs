//! Resources of another tenant count as missing.

use catalog::{Batch, Product, Record, keys};
use redis::AsyncCommands;
use serde_json::json;
use tag_id::{BatchNo, Epoch, MasterSecret, TagIndex, TagKeys};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{SECRET, start};

#[tokio::test]
async fn another_tenants_resources_cannot_be_seen_changed_or_used() {
    let (redis, factory) = start().await;
    let mut connection = redis.connection().await;
    let (product_id, batch_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (now, tenant) = (OffsetDateTime::UNIX_EPOCH, "other".to_owned());
    let product = Product {
        id: product_id,
        tenant: tenant.clone(),
        name: "n".to_owned(),
        brand: "b".to_owned(),
        gtin: None,
        created_at: now,
        updated_at: now,
    };
    let number = BatchNo::new(77).unwrap();
    let batch = Batch {
        id: batch_id,
        tenant,
        batch_no: number,
        epoch: Epoch::MIN,
        size: 5,
        product_id,
        label: None,
        manufactured_at: None,
        expires_at: None,
        created_at: now,
        revoked: None,
        recalled: None,
    };
    let _: () = connection.set(keys::product(&product_id), product.encode(1)).await.unwrap();
    let _: () = connection.set(keys::batch(number), batch.encode(1)).await.unwrap();
    let _: () = connection.set(keys::batch_no(&batch_id), 77).await.unwrap();
    let _: () = connection.zadd(keys::products_of("other"), product_id.to_string(), 0).await.unwrap();
    let _: () = connection.zadd(keys::batches_of("other"), batch_id.to_string(), 0).await.unwrap();

    let reason = json!({"reason": "r"});
    let (product, batch) = (format!("/v1/products/{product_id}"), format!("/v1/batches/{batch_id}"));
    factory.get(&product).await.expect_problem(404, "not-found");
    factory.patch(&product, &json!({"name": "mine"})).await.expect_problem(404, "not-found");
    factory.get(&batch).await.expect_problem(404, "not-found");
    factory.get(&format!("{batch}/tags")).await.expect_problem(404, "not-found");
    factory.post(&format!("{batch}/revoke"), &reason).await.expect_problem(404, "not-found");
    factory.post(&format!("{batch}/recall"), &reason).await.expect_problem(404, "not-found");
    let mint = json!({"product_id": product_id, "size": 1});
    factory.post("/v1/batches", &mint).await.expect_problem(422, "unprocessable");

    let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(SECRET).unwrap()), []);
    let tag = tag_keys.mint(Epoch::MIN, number, TagIndex::new(0).unwrap()).unwrap();
    factory.get(&format!("/v1/tags/{tag}")).await.expect_problem(404, "tag-not-found");
    factory.get(&format!("/v1/tags/{tag}/qr.svg")).await.expect_problem(404, "tag-not-found");
    factory.post(&format!("/v1/tags/{tag}/revoke"), &reason).await.expect_problem(404, "tag-not-found");
    for list in ["/v1/products", "/v1/batches"] {
        assert_eq!(factory.get(list).await.expect(200), json!({"items": []}));
    }
    factory.assert_chain_of(0).await;
}

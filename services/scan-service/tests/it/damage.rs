//! Stored records that cannot be read: an opaque 500, never a verdict made of guesses.

use catalog::keys;
use redis::AsyncCommands;

use crate::app::{App, open};
use crate::shop::Shop;

async fn assert_opaque(app: &App, shop: &Shop) {
    let failed = app.scan(shop.tag(0)).await;
    failed.assert_problem(500, "internal");
    for told in ["record", "batch", "product", "redis", "vt1:", "JSON"] {
        assert!(!failed.json()["detail"].as_str().unwrap().contains(told), "{}", failed.text);
    }
    app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(500);
}

#[tokio::test]
async fn a_damaged_batch_or_product_is_a_fault_of_ours_and_mending_it_is_seen_at_once() {
    let mut shop = Shop::open().await;
    let (batch, product) = (keys::batch(shop.batch.batch_no), keys::product(&shop.product.id));
    for (key, bytes) in [
        (&batch, &b"\0\0\0\x63\0\0\0\x0a\0\x01{"[..]),
        (&product, &b"\0\0\0\x63{}"[..]),
        (&product, &b"\0\0\0\x63\xff"[..]),
    ] {
        let app = open(&shop, &[]).await;
        let mut link = shop.redis.connection().await;
        let () = link.set(key, bytes).await.unwrap();
        assert_opaque(&app, &shop).await;
        assert_eq!(app.scans("error").await, 2);
        shop.save().await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
}

#[tokio::test]
async fn a_product_that_is_gone_is_a_fault_of_ours() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let () = shop.redis.connection().await.del(keys::product(&shop.product.id)).await.unwrap();
    assert_opaque(&app, &shop).await;
}

#[tokio::test]
async fn a_batch_too_short_for_its_header_is_a_fault_of_ours() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let () = shop.redis.connection().await.set(keys::batch(shop.batch.batch_no), "short").await.unwrap();
    assert_opaque(&app, &shop).await;
}

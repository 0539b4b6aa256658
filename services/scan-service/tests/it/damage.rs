//! Stored records that cannot be read: 503 `state-lost`, never a guessed verdict. Only the log has the
//! details.

use catalog::keys;
use futures_util::future::join_all;
use redis::AsyncCommands;
use test_support::RedisServer;

use crate::app::{App, open};
use crate::partners::{Partner, both};
use crate::shop::{SIZE, Shop};

async fn assert_opaque(app: &App, shop: &Shop) {
    let failed = app.scan(shop.tag(0)).await;
    failed.assert_problem(503, "state-lost");
    for word in ["record", "batch", "product", "redis", "vt1:", "JSON"] {
        assert!(!failed.json()["detail"].as_str().unwrap().contains(word), "{}", failed.text);
    }
    app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(503);
}

#[tokio::test]
async fn a_damaged_batch_or_product_is_lost_until_it_is_repaired() {
    let mut shop = Shop::open().await;
    let (batch, product) = (keys::batch(shop.batch.batch_no), keys::product(&shop.product.id));
    for (key, bytes) in [
        (&batch, &b"\0\0\0\x63\0\0\0\x0a\0\x01{"[..]),
        (&product, &b"\0\0\0\x63{}"[..]),
        (&product, &b"\0\0\0\x63\xff"[..]),
    ] {
        let app = open(&shop, &[]).await;
        let mut connection = shop.redis.connection().await;
        let () = connection.set(key, bytes).await.unwrap();
        assert_opaque(&app, &shop).await;
        assert_eq!(app.scans("state_lost").await, 2);
        shop.save().await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
}

#[tokio::test]
async fn a_missing_product_is_lost_state() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let () = shop.redis.connection().await.del(keys::product(&shop.product.id)).await.unwrap();
    assert_opaque(&app, &shop).await;
}

#[tokio::test]
async fn a_batch_too_short_for_its_header_is_lost() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let () = shop.redis.connection().await.set(keys::batch(shop.batch.batch_no), "short").await.unwrap();
    assert_opaque(&app, &shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_batch_fails_no_scan_of_another() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "1000000")]).await;
    let damaged = shop.tag_of(shop.batch.epoch, tag_id::BatchNo::new(99).unwrap(), 0).to_string();
    let () =
        shop.redis.connection().await.set(keys::batch(tag_id::BatchNo::new(99).unwrap()), "x").await.unwrap();
    // Sends many at once, so that one call to Redis has both kinds.
    for _ in 0..10 {
        let scans = (0..60).map(|number| {
            app.scan(if number % 3 == 0 { damaged.clone() } else { shop.tag(number % SIZE).to_string() })
        });
        for (number, answer) in join_all(scans).await.into_iter().enumerate() {
            let expected = if number % 3 == 0 { 503 } else { 200 };
            assert_eq!(answer.status, expected, "{}", answer.text);
            assert!(answer.has_rate(), "both were limited");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_tenant_record_fails_no_scan_of_another_tenant() {
    let shop = Shop::open().await;
    let settings = [("RATE_LIMIT_IP_PER_MINUTE", "1000000"), ("RATE_LIMIT_KEY_PER_MINUTE", "1000000")];
    let (combined, separate, _limiter) = both(&shop, &settings).await;
    let partner = Partner::of(&shop).await;
    let tenant = access::keys::tenant(&partner.record.tenant);
    let mut connection = shop.redis.connection().await;
    let () = connection.del(&tenant).await.unwrap();
    let () = connection.lpush(&tenant, "of another type").await.unwrap();
    for app in [&combined, &separate] {
        // Sends many at once, so that one call to Redis has both kinds.
        for _ in 0..10 {
            let scans = (0..60).map(async |number| {
                let tag = shop.tag(number % SIZE);
                if number % 3 == 0 { partner.scan(app, tag).await } else { app.scan(tag).await }
            });
            for (number, answer) in join_all(scans).await.into_iter().enumerate() {
                assert_eq!(answer.status, if number % 3 == 0 { 503 } else { 200 }, "{}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_tag_state_is_reported_and_not_changed() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let mut connection = shop.redis.connection().await;
    let own = limiter.url();
    for settings in [&[][..], &[("RATE_LIMIT_REDIS_URL", own.as_str())]] {
        let app = open(&shop, settings).await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
        let state = keys::tag(shop.tag_keys.open(&shop.tag(0)).unwrap().serial());
        let () = connection.append(&state, "x").await.unwrap();
        let before: Vec<u8> = connection.get(&state).await.unwrap();
        assert_opaque(&app, &shop).await;
        assert_eq!(connection.get::<_, Vec<u8>>(&state).await.unwrap(), before);
        let () = connection.del(&state).await.unwrap();
    }
}

#[tokio::test]
async fn a_scan_that_failed_for_a_damaged_product_was_not_counted() {
    let (mut shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let mut connection = shop.redis.connection().await;
    let own = limiter.url();
    let product = keys::product(&shop.product.id);
    for settings in [&[][..], &[("RATE_LIMIT_REDIS_URL", own.as_str())]] {
        let app = open(&shop, settings).await;
        let before = app.scan(shop.tag(1)).await.verdict()["scan_count"].as_u64().unwrap();
        let () = connection.set(&product, "xx").await.unwrap();
        app.scan(shop.tag(1)).await.assert_problem(503, "state-lost");
        shop.save().await;
        assert_eq!(app.scan(shop.tag(1)).await.verdict()["scan_count"], before + 1);
    }
}

//! The issuer of a tag, and whether its brand is verified, in scans.

use access::Tenant;
use redis::AsyncCommands;
use serde_json::{Value, json};
use test_support::eventually;

use crate::app::{App, WAIT_LIMIT, open};
use crate::shop::{Shop, TENANT, now};

const MANY: (&str, &str) = ("RATE_LIMIT_IP_PER_MINUTE", "1000000");

async fn issuer(app: &App, shop: &Shop) -> Value {
    app.scan(shop.tag(0)).await.verdict()["issuer"].clone()
}

#[tokio::test]
async fn a_scan_names_the_tenant_and_says_whether_brand_and_gtin_are_its_own() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    assert_eq!(issuer(&app, &shop).await, json!({"name": "Acme Ltd", "verified": true}));
    for (brand, gtin, verified) in [
        ("ACME", None, true),
        ("Acme", Some("14006381333938"), true),
        ("Acme", Some("96385074"), false),
        ("Αcme", None, false),
        ("Other", None, false),
    ] {
        (shop.product.brand, shop.product.gtin) = (brand.to_owned(), gtin.map(str::to_owned));
        shop.save().await;
        let shown = issuer(&app, &shop).await;
        assert_eq!(shown, json!({"name": "Acme Ltd", "verified": verified}), "{brand} {gtin:?}");
    }
}

#[tokio::test]
async fn the_page_says_that_a_brand_is_not_verified() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let path = format!("/t/{}", shop.tag(0));
    let page = app.get(&path).await;
    page.assert_page(200);
    assert!(page.text.contains("<h1>Genuine</h1>") && page.text.contains("Acme Ltd"), "{}", page.text);
    assert!(!page.text.contains("not verified"));
    shop.product.brand = "Famous".to_owned();
    shop.save().await;
    let page = app.get(&path).await;
    page.assert_page(200);
    assert!(page.text.contains("not verified") && page.text.contains("Acme Ltd"), "{}", page.text);
    for untrue in ["<h1>Genuine</h1>", "made by the brand", "The brand made", "class=\"verdict good\""] {
        assert!(!page.text.contains(untrue), "{untrue} in {}", page.text);
    }
}

#[tokio::test]
async fn a_change_by_an_operator_shows_within_seconds_and_delays_no_scan() {
    let shop = Shop::open().await;
    let app = open(&shop, &[MANY]).await;
    issuer(&app, &shop).await;
    let renamed = Tenant { name: Some("Acme Holding".to_owned()), ..shop.tenant().with_brands(Vec::new()) };
    shop.save_tenant(&renamed).await;
    let wanted = json!({"name": "Acme Holding", "verified": false});
    eventually("the change shows", WAIT_LIMIT, async || issuer(&app, &shop).await == wanted).await;
    let suspended = shop.tenant().suspended(now(), "unpaid");
    shop.save_tenant(&suspended).await;
    let wanted = json!({"name": "Acme Ltd", "verified": true});
    eventually("a suspended tenant is shown like any other", WAIT_LIMIT, async || {
        issuer(&app, &shop).await == wanted
    })
    .await;
}

#[tokio::test]
async fn a_missing_or_damaged_tenant_record_fails_no_scan() {
    for damage in ["gone", "nonsense", "another type"] {
        let shop = Shop::open().await;
        let mut connection = shop.redis.connection().await;
        let key = access::keys::tenant(&TENANT.parse().unwrap());
        let _: u32 = connection.del(&key).await.unwrap();
        if damage == "nonsense" {
            let () = connection.set(&key, "\u{1}nonsense").await.unwrap();
        } else if damage == "another type" {
            let _: u32 = connection.lpush(&key, "x").await.unwrap();
        }
        let app = open(&shop, &[]).await;
        assert_eq!(issuer(&app, &shop).await, json!({"name": "acme", "verified": false}), "{damage}");
    }
}

#[tokio::test]
async fn the_brands_of_the_operators_own_tenant_are_verified() {
    let mut shop = Shop::open().await;
    shop.product.tenant = "default".to_owned();
    shop.batch.tenant = "default".to_owned();
    shop.save().await;
    let app = open(&shop, &[]).await;
    assert_eq!(issuer(&app, &shop).await, json!({"name": "default", "verified": true}));
}

/// A tenant is read from Redis once, not for each scan.
#[tokio::test]
async fn a_scan_with_an_issuer_needs_no_further_redis_call() {
    let shop = Shop::open().await;
    let app = open(&shop, &[MANY]).await;
    issuer(&app, &shop).await;
    let calls = async || -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut shop.redis.connection().await)
            .await
            .unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    let (before, scans) = (calls().await, 200);
    for _ in 0..scans {
        issuer(&app, &shop).await;
    }
    let reads = calls().await - before;
    println!("{reads} GET for {scans} scans");
    assert!(reads < scans / 4, "{reads} GET for {scans} scans");
}

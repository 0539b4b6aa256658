//! A change by the factory holds for the next scan on every instance, although instances cache batches.

use catalog::Withdrawal;
use serde_json::{Value, json};
use time::Duration;

use crate::app::{App, open};
use crate::shop::{Shop, now};

fn withdrawal() -> Option<Withdrawal> {
    Some(Withdrawal { at: now(), reason: "a reason".to_owned() })
}

/// Two instances that have cached the batch. One checks limits in the scan's Redis call, the other before it.
async fn two_with_cached_batch(shop: &Shop) -> [App; 2] {
    let separate = format!("{}/1", shop.redis.url());
    let apps = [open(shop, &[]).await, open(shop, &[("RATE_LIMIT_REDIS_URL", separate.as_str())]).await];
    for app in &apps {
        for _ in 0..2 {
            assert_eq!(app.scan(shop.tag(9)).await.verdict()["lifecycle"], "active");
        }
    }
    apps
}

#[track_caller]
fn assert_lifecycle(verdict: &Value, lifecycle: &str) {
    let valid = lifecycle == "active";
    assert_eq!((&verdict["lifecycle"], &verdict["valid"]), (&json!(lifecycle), &json!(valid)), "{verdict}");
}

#[tokio::test]
async fn revoked_takes_precedence_over_recalled_over_expired() {
    let mut shop = Shop::open().await;
    let apps = two_with_cached_batch(&shop).await;
    shop.batch.expires_at = Some(now() - Duration::seconds(1));
    shop.save().await;
    for app in &apps {
        assert_lifecycle(&app.scan(shop.tag(0)).await.verdict(), "expired");
    }
    shop.batch.recalled = withdrawal();
    shop.save().await;
    for app in &apps {
        assert_lifecycle(&app.scan(shop.tag(0)).await.verdict(), "recalled");
    }
    shop.batch.revoked = withdrawal();
    shop.save().await;
    for app in &apps {
        assert_lifecycle(&app.scan(shop.tag(0)).await.verdict(), "revoked");
    }
    assert_eq!(apps[0].scans("expired").await, 1);
    assert_eq!(apps[0].scans("recalled").await, 1);
    assert_eq!(apps[0].scans("revoked").await, 1);
}

#[tokio::test]
async fn one_revoked_tag_is_revoked_in_a_recalled_batch_and_its_neighbours_are_not() {
    let mut shop = Shop::open().await;
    shop.batch.recalled = withdrawal();
    shop.save().await;
    let app = open(&shop, &[]).await;
    assert_lifecycle(&app.scan(shop.tag(0)).await.verdict(), "recalled");
    shop.revoke_tag(0).await;
    shop.revoke_tag(1).await;
    let seen_before = app.scan(shop.tag(0)).await.verdict();
    assert_lifecycle(&seen_before, "revoked");
    assert_eq!(seen_before["scan_count"], 2, "revoking a tag keeps its count");
    let never_seen = app.scan(shop.tag(1)).await.verdict();
    assert_lifecycle(&never_seen, "revoked");
    assert_eq!(never_seen["scan_count"], 1);
    assert_lifecycle(&app.scan(shop.tag(1)).await.verdict(), "revoked");
    assert_lifecycle(&app.scan(shop.tag(2)).await.verdict(), "recalled");
}

#[tokio::test]
async fn an_expiry_in_the_future_leaves_the_tag_active() {
    let mut shop = Shop::open().await;
    shop.batch.expires_at = Some(now() + Duration::hours(1));
    shop.save().await;
    let app = open(&shop, &[]).await;
    assert_lifecycle(&app.scan(shop.tag(0)).await.verdict(), "active");
}

#[tokio::test]
async fn a_renamed_product_is_seen_by_the_next_scan_of_every_instance() {
    let mut shop = Shop::open().await;
    let apps = two_with_cached_batch(&shop).await;
    for name in ["Serum 50 ml", "Serum 100 ml"] {
        shop.product.name = name.to_owned();
        shop.save().await;
        for app in &apps {
            let verdict = app.scan(shop.tag(9)).await.verdict();
            assert_eq!(verdict["product"]["name"], name);
        }
    }
}

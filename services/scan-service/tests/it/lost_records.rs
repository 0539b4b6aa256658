//! Minted tags whose records cannot be read: 503 `state-lost` on every route and in every configuration,
//! without an alarm or a count.

use catalog::keys;
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, App, open, send};
use crate::partners::{Partner, both};
use crate::shop::{SIZE, Shop};

/// The ways to damage a value.
const CLASSES: [&str; 5] = ["deleted", "of another type", "empty", "one byte", "large"];

async fn damage(shop: &Shop, key: &str, class: &str) {
    let mut connection = shop.redis.connection().await;
    let () = connection.del(key).await.unwrap();
    match class {
        "of another type" => {
            let _: i64 = connection.rpush(key, "x").await.unwrap();
        }
        "empty" => connection.set(key, "").await.unwrap(),
        "one byte" => connection.set(key, "x").await.unwrap(),
        "large" => connection.set(key, vec![b'x'; 8 << 20]).await.unwrap(),
        _ => {}
    }
}

/// Returns the response of every route that takes a tag: first those that scan, then those that report.
async fn on_every_route(app: &App, shop: &Shop, index: u32, partner: Option<&Partner>) -> [Vec<Answer>; 2] {
    let tag = shop.tag(index).to_string();
    let with = |method: Method, path: &str| {
        let request = app.request(method, path);
        match partner {
            Some(partner) => request.bearer_auth(partner.key.reveal()),
            None => request,
        }
    };
    let (id, report) = (json!({"tag_id": tag}), json!({"tag_id": tag, "reason": "other"}));
    [
        vec![
            send(with(Method::GET, &format!("/v1/scan/{tag}"))).await,
            send(with(Method::GET, &format!("/v1/scan?tag_id={tag}"))).await,
            send(with(Method::POST, "/v1/scan").json(&id)).await,
            send(with(Method::GET, &format!("/t/{tag}"))).await,
        ],
        vec![
            send(with(Method::POST, "/v1/report").json(&report)).await,
            send(with(Method::POST, &format!("/t/{tag}/report")).form(&[("reason", "other")])).await,
        ],
    ]
}

fn assert_lost(answers: &[Answer], case: &str) {
    for answer in answers {
        match answer.header("content-type") {
            Some("application/problem+json") => answer.assert_problem(503, "state-lost"),
            _ => answer.assert_page(503),
        }
        assert!(answer.retry_after() >= 1, "{case}");
        assert!(answer.has_rate(), "{case}: the caller's quota was charged");
    }
}

async fn alarms(app: &App) -> u64 {
    app.scans("not_minted").await
}

/// Checks that every route reports the damage of `key` as lost state, by processes that have not cached the
/// batch and by processes that have. `lost` selects the kinds of damage.
async fn assert_all_lost(
    what: &str,
    key: impl Fn(&Shop) -> String,
    lost: impl Fn(&str) -> bool,
    reports_too: bool,
) {
    for seen_before in [false, true] {
        let shop = Shop::open().await;
        let (combined, separate, _limiter) = both(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "10000")]).await;
        let partner = Partner::of(&shop).await;
        if seen_before {
            assert_eq!(combined.scan(shop.tag(1)).await.status, 200);
            assert_eq!(separate.scan(shop.tag(1)).await.status, 200);
        }
        let key = key(&shop);
        for class in CLASSES.into_iter().filter(|class| lost(class)) {
            damage(&shop, &key, class).await;
            let mut connection = shop.redis.connection().await;
            // The daily limit of reports per tag is below what all classes send.
            for counter in crate::shop::keys(&shop.redis, "vt1:trr:*").await {
                let () = connection.del(counter).await.unwrap();
            }
            let counted: Option<Vec<u8>> = connection.get(shop.state_key(1)).await.unwrap_or_default();
            for (app, partner) in [
                (&combined, None),
                (&separate, None),
                (&combined, Some(&partner)),
                (&separate, Some(&partner)),
            ] {
                let case = format!("{what}, {class}, seen before: {seen_before}");
                let [scans, reports] = on_every_route(app, &shop, 1, partner).await;
                assert_lost(&scans, &case);
                if reports_too {
                    assert_lost(&reports, &case);
                } else {
                    // 429: the daily limit of reports per tag.
                    assert!(reports.iter().all(|report| matches!(report.status, 202 | 429)), "{case}");
                }
                assert_eq!(alarms(app).await, 0, "{case}");
                assert!(app.is_ready().await, "{case}: one lost record does not make the service unready");
            }
            let after: Option<Vec<u8>> = connection.get(shop.state_key(1)).await.unwrap_or_default();
            assert_eq!(after, counted, "{what}, {class}: nothing is counted");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_batch_record_does_not_make_a_tag_forged() {
    assert_all_lost("batch", |shop| keys::batch(shop.batch.batch_no), |_| true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_product_record_fails_the_scan_but_no_report() {
    assert_all_lost("product", |shop| keys::product(&shop.product.id), |_| true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_tag_state_fails_the_scan_and_is_not_changed() {
    // A deleted state is that of a tag never minted. One byte is the state of a tag without scans.
    let lost = |class: &str| !matches!(class, "deleted" | "one byte");
    assert_all_lost("tag state", |shop| shop.state_key(1), lost, false).await;
}

#[tokio::test]
async fn an_id_never_minted_raises_an_alarm_whatever_is_damaged() {
    let shop = Shop::open().await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for class in CLASSES {
        damage(&shop, &keys::batch(shop.batch.batch_no), class).await;
        for app in [&combined, &separate] {
            let before = alarms(app).await;
            app.scan(shop.tag(SIZE)).await.assert_problem(404, "tag-not-found");
            assert_eq!(alarms(app).await, before + 1, "{class}");
        }
    }
}

#[tokio::test]
async fn a_record_with_a_valid_head_and_a_damaged_rest_is_not_counted() {
    let shop = Shop::open().await;
    let mut connection = shop.redis.connection().await;
    let (batch, product) = (keys::batch(shop.batch.batch_no), keys::product(&shop.product.id));
    for key in [&batch, &product] {
        let whole: Vec<u8> = connection.get(key).await.unwrap();
        for rest in [&whole[..12], &whole[..whole.len() - 1]] {
            // Processes without cached batches.
            let (combined, separate, _limiter) = both(&shop, &[]).await;
            let () = connection.set(key, rest).await.unwrap();
            for app in [&combined, &separate] {
                app.scan(shop.tag(2)).await.assert_problem(503, "state-lost");
            }
            let () = connection.set(key, &whole).await.unwrap();
        }
    }
    assert!(!connection.exists::<_, bool>(shop.state_key(2)).await.unwrap());
    let app = open(&shop, &[]).await;
    assert_eq!(app.scan(shop.tag(2)).await.verdict()["scan_count"], 1);
}

#[tokio::test]
async fn the_revocation_record_revokes_a_tag_whatever_its_state() {
    let shop = Shop::open().await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for class in CLASSES {
        shop.revoke_tag(3).await;
        damage(&shop, &shop.state_key(3), class).await;
        for app in [&combined, &separate] {
            let verdict = app.scan(shop.tag(3)).await.verdict();
            assert_eq!(
                (&verdict["valid"], &verdict["lifecycle"]),
                (&json!(false), &json!("revoked")),
                "{class}"
            );
            let page = app.get(&format!("/t/{}", shop.tag(3))).await;
            assert!(page.text.contains(">Not valid any more<"), "{class}: {}", page.text);
        }
        let () = shop.redis.connection().await.del(shop.state_key(3)).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_revocation_record_still_revokes() {
    let shop = Shop::open().await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for class in ["empty", "one byte", "large"] {
        damage(&shop, &shop.revocation_key(4), class).await;
        for app in [&combined, &separate] {
            assert_eq!(app.scan(shop.tag(4)).await.verdict()["lifecycle"], "revoked", "{class}");
        }
        let () = shop.redis.connection().await.del(shop.state_key(4)).await.unwrap();
    }
    // A record of another type, with no other sign of damage: the tag is not valid.
    damage(&shop, &shop.revocation_key(4), "of another type").await;
    for app in [&combined, &separate] {
        app.scan(shop.tag(4)).await.assert_problem(503, "state-lost");
    }
}

#[tokio::test]
async fn an_unreadable_report_count_rejects_reports_but_no_scan() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let report = json!({"tag_id": shop.tag(5).to_string(), "reason": "other"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    // Not an empty set: a value of another type, and texts.
    for class in ["of another type", "empty", "one byte"] {
        for counter in crate::shop::keys(&shop.redis, "vt1:trr:*").await {
            damage(&shop, &counter, class).await;
        }
        app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
    }
    assert_eq!(app.scan(shop.tag(5)).await.status, 200);
}

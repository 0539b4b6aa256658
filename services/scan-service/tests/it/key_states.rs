//! The effect of the state of a key on the tags that were minted under it.

use std::time::Duration;

use ambient::{Clock, SystemClock};
use catalog::Withdrawal;
use keyring::{Move, keys::KEYRING};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tag_id::Epoch;
use test_support::eventually;
use time::OffsetDateTime;

use crate::app::{App, WAIT_LIMIT, open, spawn};
use crate::shop::{SIZE, Shop, now};

/// A high limit for tests that scan until they see a change.
const NO_LIMIT: [(&str, &str); 1] = [("RATE_LIMIT_IP_PER_MINUTE", "1000000")];

const FORGED: &str = "85e49ec3-de12-8001-bccf-0ce2e6986016";

fn correct(compromised_since: OffsetDateTime) -> Move {
    Move::CorrectDate { reason: "it leaked at another time".to_owned(), compromised_since }
}

fn revoke(compromised_since: OffsetDateTime) -> Move {
    Move::Revoke { reason: "leaked".to_owned(), compromised_since }
}

fn factors(verdict: &Value) -> Vec<(&str, u64)> {
    let rows = verdict["risk"]["factors"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap(), row["weight"].as_u64().unwrap())).collect()
}

/// Returns a shop whose batch was minted a day ago under epoch 1, with epoch 2 active, and the service.
async fn rotated() -> (Shop, App) {
    let mut shop = Shop::open().await;
    shop.batch.created_at = now() - Duration::from_secs(86_400);
    shop.save().await;
    let app = open(&shop, &NO_LIMIT).await;
    app.until_keyring_revision(shop.rotate_to(2).await).await;
    (shop, app)
}

#[tokio::test]
async fn a_tag_of_a_verify_only_key_is_valid_without_risk() {
    let (shop, app) = rotated().await;
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!((&verdict["valid"], &verdict["lifecycle"]), (&json!(true), &json!("active")));
    assert_eq!(verdict["risk"], json!({"score": 0, "level": "low", "factors": []}));
}

#[tokio::test]
async fn after_a_stall_of_redis_a_key_change_arrives_within_seconds() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("REDIS_COMMAND_TIMEOUT_MS", "250")]).await;
    shop.redis.pause();
    let open = "voketag_circuit_breaker_state{pool=\"keyring\"}";
    eventually("the breaker is open", WAIT_LIMIT, async || app.metric(open).await == 2).await;
    shop.redis.resume();
    let revision = shop.rotate_to(2).await;
    let clock = SystemClock::new();
    app.until_keyring_revision(revision).await;
    let took = clock.monotonic();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn tags_minted_before_the_key_was_compromised_are_valid_and_carry_the_risk() {
    let (shop, app) = rotated().await;
    let since = shop.batch.created_at + Duration::from_millis(1);
    app.until_keyring_revision(shop.move_key(1, &revoke(since)).await).await;
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!((&verdict["valid"], &verdict["lifecycle"]), (&json!(true), &json!("active")));
    assert_eq!(factors(&verdict), [("superseded_key", 45)]);
    assert_eq!((&verdict["risk"]["score"], &verdict["risk"]["level"]), (&json!(45), &json!("medium")));
    let page = app.get(&format!("/t/{}", shop.tag(1))).await;
    page.assert_page(200);
    for shown in ["Genuine code, look closely", "others can copy such codes", "given up the key"] {
        assert!(page.text.contains(shown), "{shown} is not in {}", page.text);
    }
    assert!(
        !page.text.contains("key_revoked") && !page.text.contains("superseded_key"),
        "the page uses no identifiers"
    );
    assert_eq!(app.scans("active").await, 2);
}

#[tokio::test]
async fn tags_minted_when_others_may_have_had_the_key_are_not_valid() {
    let (shop, app) = rotated().await;
    app.until_keyring_revision(
        shop.move_key(1, &revoke(shop.batch.created_at + Duration::from_secs(1))).await,
    )
    .await;
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], true);
    // Later it turns out that the key leaked earlier, at the time of minting.
    app.until_keyring_revision(shop.move_key(1, &correct(shop.batch.created_at)).await).await;
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!((&verdict["valid"], &verdict["lifecycle"]), (&json!(false), &json!("key_revoked")));
    assert_eq!((factors(&verdict), &verdict["scan_count"]), (vec![], &json!(2)));
    assert_eq!((app.scans("key_revoked").await, app.scans("active").await), (1, 1));
    let page = app.get(&format!("/t/{}", shop.tag(0))).await;
    page.assert_page(200);
    assert!(page.text.contains("Cannot be trusted") && page.text.contains("Do not trust the item"));
    // Then it turns out that this was a mistake.
    app.until_keyring_revision(
        shop.move_key(1, &correct(shop.batch.created_at + Duration::from_secs(1))).await,
    )
    .await;
    assert_eq!(
        app.scan(shop.tag(0)).await.verdict()["valid"],
        true,
        "a date can be corrected in both directions"
    );
    app.scan(shop.tag(SIZE)).await.assert_problem(404, "tag-not-found");
    assert_eq!(app.scans("not_minted").await, 1, "an id that was never minted is still a leak");
}

#[tokio::test]
async fn a_revoked_key_ranks_after_revoked_and_recalled_and_before_expired() {
    let (mut shop, app) = rotated().await;
    app.until_keyring_revision(shop.move_key(1, &revoke(shop.batch.created_at)).await).await;
    let lifecycle = async |shop: &Shop| app.scan(shop.tag(0)).await.verdict()["lifecycle"].clone();
    shop.batch.expires_at = Some(now() - Duration::from_secs(1));
    shop.save().await;
    assert_eq!(lifecycle(&shop).await, "key_revoked");
    let withdrawal = Some(Withdrawal { at: now(), reason: "r".to_owned() });
    shop.batch.recalled.clone_from(&withdrawal);
    shop.save().await;
    assert_eq!(lifecycle(&shop).await, "recalled");
    shop.batch.revoked = withdrawal;
    shop.save().await;
    assert_eq!(lifecycle(&shop).await, "revoked");
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], false);
}

#[tokio::test]
async fn ids_of_pending_destroyed_or_unknown_keys_get_the_response_of_forged_ones() {
    let (mut shop, app) = rotated().await;
    for epoch in [3, 4, 5] {
        shop.move_key(epoch, &Move::Add).await;
    }
    for epoch in [1, 4, 5] {
        shop.move_key(epoch, &revoke(now())).await;
    }
    shop.move_key(5, &Move::Destroy).await;
    app.until_keyring_revision(shop.move_key(1, &Move::Destroy).await).await;
    let shop_link = shop.redis.connection().await;
    let body = async |tag: String| {
        let answer = app.scan(tag).await;
        answer.assert_problem(404, "tag-not-found");
        assert!(!answer.has_rate(), "the limiter was not called");
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    let forged = body(FORGED.to_owned()).await;
    let writes = async || -> u64 {
        let info: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut shop_link.clone()).await.unwrap();
        let calls = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
        };
        calls("mset")
    };
    // Ids of a key that was never active raise an alarm, because its secret has leaked. Ids of a destroyed
    // key raise none, because old labels still circulate.
    for (at, (epoch, leaks)) in
        [(1_u16, 0), (3, 3), (4, 6), (5, 9), (6, 12), (4_095, 15)].into_iter().enumerate()
    {
        // The batch has that epoch, which makes no difference.
        shop.batch.epoch = Epoch::new(epoch).unwrap();
        shop.save().await;
        let tag = shop.tag_of(shop.batch.epoch, shop.batch.batch_no, 0);
        assert_eq!(body(tag.to_string()).await, forged, "epoch {epoch}");
        app.get(&format!("/t/{tag}")).await.assert_page(404);
        let report = json!({"tag_id": tag.to_string(), "reason": "other"});
        app.post_json("/v1/report", &report).await.assert_problem(404, "tag-not-found");
        let scanned = 2 * (at as u64 + 1);
        let forged = app.scans("forged").await;
        assert_eq!(forged + app.scans("not_minted").await, 1 + scanned);
        assert_eq!((forged, app.metric("voketag_key_leak_alarms_total").await), (3, leaks), "epoch {epoch}");
    }
    assert_eq!(writes().await, 0, "no scan was counted");
}

#[tokio::test]
async fn a_report_of_a_tag_with_a_revoked_key_is_accepted() {
    let (shop, app) = rotated().await;
    app.until_keyring_revision(shop.move_key(1, &revoke(shop.batch.created_at)).await).await;
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "counterfeit"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
}

#[tokio::test]
async fn an_instance_without_the_newest_keyring_does_not_call_a_tag_of_a_new_key_forged() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &NO_LIMIT).await;
    for epoch in 2..12 {
        app.until_keyring_revision(shop.move_key(epoch, &Move::Add).await).await;
        shop.move_key(epoch, &Move::Activate).await;
        shop.batch.epoch = Epoch::new(epoch).unwrap();
        shop.save().await;
        let tag = shop.tag_of(shop.batch.epoch, shop.batch.batch_no, 0);
        assert_eq!(app.scan(tag).await.verdict()["valid"], true, "epoch {epoch}");
    }
}

#[tokio::test]
async fn a_change_is_seen_by_scans_within_two_seconds() {
    let (shop, app) = rotated().await;
    shop.move_key(1, &revoke(shop.batch.created_at)).await;
    let invalidated = async || app.scan(shop.tag(0)).await.verdict()["lifecycle"] == "key_revoked";
    eventually("the revocation is seen", Duration::from_secs(2), invalidated).await;
}

#[tokio::test]
async fn without_a_keyring_scans_are_503_until_the_factory_creates_it() {
    let shop = Shop::open().await;
    let mut connection = shop.redis.connection().await;
    let kept: Vec<u8> = connection.get(KEYRING).await.unwrap();
    let made: String = connection.get(catalog::keys::DEPLOYMENT).await.unwrap();
    let () = connection.del(KEYRING).await.unwrap();
    // The state before a factory has created a keyring.
    let before = made.replace(",\"keyring_made\":true", "");
    assert_ne!(before, made);
    let () = connection.set(catalog::keys::DEPLOYMENT, &before).await.unwrap();
    let app = spawn(&[("REDIS_URL", &shop.redis.url())]).await;
    let says = async |what: &str| app.get("/v1/ready").await.text.contains(what);
    eventually("readiness says what to do", WAIT_LIMIT, || says("start the factory-service")).await;
    app.scan(shop.tag(0)).await.assert_problem(503, "state-lost");
    app.scan(FORGED).await.assert_problem(404, "tag-not-found");
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
    let () = connection.set(KEYRING, &kept).await.unwrap();
    let () = connection.set(catalog::keys::DEPLOYMENT, &made).await.unwrap();
    app.until_ready().await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
}

#[tokio::test]
async fn a_missing_or_older_keyring_is_lost_state_until_it_is_restored() {
    let shop = Shop::open().await;
    let mut connection = shop.redis.connection().await;
    let older: Vec<u8> = connection.get(KEYRING).await.unwrap();
    let app = open(&shop, &NO_LIMIT).await;
    app.until_keyring_revision(shop.move_key(2, &Move::Add).await).await;
    let newest: Vec<u8> = connection.get(KEYRING).await.unwrap();
    for lost in [None, Some(older)] {
        match lost {
            None => connection.del::<_, ()>(KEYRING).await.unwrap(),
            Some(older) => connection.set::<_, _, ()>(KEYRING, older).await.unwrap(),
        }
        let rejected = async || app.scan(shop.tag(0)).await.status == 503;
        eventually("the loss is noticed", WAIT_LIMIT, rejected).await;
        app.scan(shop.tag(0)).await.assert_problem(503, "state-lost");
        assert!(!app.is_ready().await);
        let () = connection.set(KEYRING, &newest).await.unwrap();
        app.until_ready().await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
}

//! Ids without a tag: a forged id costs nothing, and an authentic id that was never minted raises an alarm.

use reqwest::Method;
use serde_json::{Value, json};
use tag_id::{BatchNo, Epoch};
use test_support::RedisServer;

use crate::app::{Answer, open, send, spawn};
use crate::shop::{SIZE, Shop, keys};

/// Well-formed UUIDs that are not authentic under the tests' secret.
const FORGED: [&str; 7] = [
    "85e49ec3-de12-8001-bccf-0ce2e6986016",
    "85e49ec3-de12-8001-9ccf-0ce2e6986017",
    "85e49ec3-de13-8001-bccf-0ce2e6986017",
    "85e49ec3-de12-8000-bccf-0ce2e6986017",
    "85e49ec3-de12-4001-bccf-0ce2e6986017",
    "85e49ec3-de12-8001-fccf-0ce2e6986017",
    "00000000-0000-0000-0000-000000000000",
];

/// Returns the body without what identifies the request.
fn anonymous(answer: &Answer) -> Value {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("request_id").unwrap();
    body
}

/// Makes Redis record every command from now on.
async fn record_commands(redis: &RedisServer) {
    let mut connection = redis.connection().await;
    for (setting, value) in [("slowlog-max-len", 100_000), ("slowlog-log-slower-than", 0)] {
        let mut set = redis::cmd("CONFIG");
        let () = set.arg("SET").arg(setting).arg(value).query_async(&mut connection).await.unwrap();
    }
}

/// Returns the recorded script calls without the heartbeats of the instance.
async fn script_calls(redis: &RedisServer) -> usize {
    let mut connection = redis.connection().await;
    let recorded: Vec<Vec<redis::Value>> =
        redis::cmd("SLOWLOG").arg("GET").arg(100_000).query_async(&mut connection).await.unwrap();
    let words =
        |row: &Vec<redis::Value>| -> Vec<Vec<u8>> { redis::from_redis_value(row[3].clone()).unwrap() };
    let is_script = |words: &Vec<Vec<u8>>| words[0].to_ascii_uppercase().starts_with(b"EVAL");
    let is_heartbeat =
        |words: &Vec<Vec<u8>>| words.iter().any(|word| word == keyring::keys::LIVE_SEQ.as_bytes());
    recorded.iter().map(words).filter(|words| is_script(words) && !is_heartbeat(words)).count()
}

#[tokio::test]
async fn a_forged_id_needs_no_redis_call_and_no_quota() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "2")]).await;
    record_commands(&shop.redis).await;
    assert_eq!(app.scan(shop.tag(0)).await.rate().remaining, 1);
    let (calls, stored) = (script_calls(&shop.redis).await, keys(&shop.redis, "*").await);
    for id in FORGED {
        for answer in [
            app.scan(id).await,
            app.get(&format!("/v1/scan?tag_id={id}")).await,
            app.post_json("/v1/scan", &json!({"tag_id": id})).await,
        ] {
            answer.assert_problem(404, "tag-not-found");
            assert!(!answer.has_rate(), "the limiter was not called");
        }
        app.get(&format!("/t/{id}")).await.assert_page(404);
        let report = json!({"tag_id": id, "reason": "other"});
        app.post_json("/v1/report", &report).await.assert_problem(404, "tag-not-found");
    }
    assert!(calls > 0, "the scan was recorded");
    assert_eq!(script_calls(&shop.redis).await, calls);
    assert_eq!(keys(&shop.redis, "*").await, stored);
    assert_eq!(app.scan(shop.tag(0)).await.rate().remaining, 0, "forged ids spent no quota");
    assert_eq!(app.scans("forged").await, 4 * FORGED.len() as u64);
}

#[tokio::test]
async fn a_forged_id_is_rejected_without_any_redis() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let app = spawn(&[("REDIS_URL", &redis.url())]).await;
    app.scan(FORGED[0]).await.assert_problem(404, "tag-not-found");
}

#[tokio::test]
async fn an_id_never_minted_gets_the_response_of_a_forged_one_and_counts_as_a_leak() {
    let limiter = RedisServer::start().await;
    let limiter_url = limiter.url();
    for settings in [&[][..], &[("RATE_LIMIT_REDIS_URL", limiter_url.as_str())]] {
        let shop = Shop::open().await;
        let settings = [&[("RATE_LIMIT_IP_PER_MINUTE", "4")][..], settings].concat();
        let app = open(&shop, &settings).await;
        app.until_keyring_revision(shop.rotate_to(2).await).await;
        let forged = anonymous(&app.scan(FORGED[0]).await);
        assert!(app.scan(shop.tag(0)).await.verdict().is_object());
        let stored = keys(&shop.redis, "*").await;
        let other_batch = shop.batch.batch_no.next();
        let other_epoch = Epoch::new(2).unwrap();
        for (left, tag) in [
            (2, shop.tag(SIZE)),
            (1, shop.tag_of(Epoch::MIN, other_batch, 0)),
            (0, shop.tag_of(other_epoch, shop.batch.batch_no, 0)),
        ] {
            let answer = app.scan(tag).await;
            answer.assert_problem(404, "tag-not-found");
            assert_eq!(anonymous(&answer), forged);
            assert_eq!(answer.rate().remaining, left, "it spends quota");
        }
        assert_eq!(keys(&shop.redis, "*").await, stored, "nothing is stored for an id that was never minted");
        assert_eq!((app.scans("not_minted").await, app.scans("forged").await), (3, 1));
        assert_eq!(app.scan(shop.tag(0)).await.status, 429);
    }
}

#[tokio::test]
async fn the_first_index_and_the_last_are_minted_and_the_next_is_not() {
    let mut shop = Shop::open().await;
    shop.batch.size = 1 << 24;
    shop.batch.batch_no = BatchNo::MAX;
    shop.save().await;
    let app = open(&shop, &[]).await;
    assert_eq!(app.scan(shop.tag((1 << 24) - 1)).await.status, 200);
    shop.batch.size = 1;
    shop.save().await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    app.scan(shop.tag(1)).await.assert_problem(404, "tag-not-found");
    app.scan(shop.tag((1 << 24) - 1)).await.assert_problem(404, "tag-not-found");
}

#[tokio::test]
async fn a_head_request_is_rejected_and_counts_nothing() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for (path, allow) in [
        (format!("/v1/scan/{}", shop.tag(0)), "GET, OPTIONS"),
        (format!("/v1/scan?tag_id={}", shop.tag(0)), "GET, POST, OPTIONS"),
        (format!("/t/{}", shop.tag(0)), "GET"),
    ] {
        let answer = send(app.request(Method::HEAD, &path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
        assert!(!answer.has_rate());
    }
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 1);
}

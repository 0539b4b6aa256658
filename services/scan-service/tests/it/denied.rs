//! A denial is cached until its `Retry-After`: the response has the same headers and needs no Redis call.

use access::ApiKey;
use redis::AsyncCommands;
use serde_json::json;
use test_support::RedisServer;

use crate::app::{App, open};
use crate::partners::{Partner, both, report_with, scan_with};
use crate::shop::{SIZE, Shop, flush};

const SMALL: [(&str, &str); 2] = [("RATE_LIMIT_IP_PER_MINUTE", "2"), ("RATE_LIMIT_KEY_PER_MINUTE", "2")];
/// A well-formed UUID that is not authentic.
const FORGED: &str = "85e49ec3-de12-8001-bccf-0ce2e6986016";

/// The number of scripts that both Redis servers ran, without those of background tasks.
async fn script_calls(redis: &[&RedisServer]) -> u64 {
    let mut calls = 0;
    for redis in redis {
        let mut connection = redis.connection().await;
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let of =
            |line: &str| line.strip_prefix("cmdstat_mget:calls=")?.split(',').next()?.parse::<u64>().ok();
        calls += stats.lines().find_map(of).unwrap_or(0);
    }
    calls
}

async fn hits(app: &App, dimension: &str) -> u64 {
    app.metric(&format!("voketag_rate_limit_remembered_denials_total{{dimension=\"{dimension}\"}}")).await
}

async fn use_up(app: &App, shop: &Shop) {
    for _ in 0..2 {
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_denied_client_is_denied_again_without_redis_and_with_the_same_headers() {
    let shop = Shop::open().await;
    let (combined, separate, limiter) = both(&shop, &SMALL).await;
    for app in [&combined, &separate] {
        use_up(app, &shop).await;
        let first = app.scan(shop.tag(0)).await;
        let before = (script_calls(&[&limiter]).await, hits(app, "ip").await);
        // Polling the keyring runs scripts in the durable Redis, so this test stops both Redis servers.
        for again in 0..5 {
            let denied = app.scan(shop.tag(again)).await;
            denied.assert_problem(429, "rate-limited");
            let (now, then) = (denied.rate(), first.rate());
            assert_eq!((now.quota, now.window, now.remaining), (then.quota, then.window, 0));
            assert!(
                now.reset_after <= then.reset_after && now.reset_after + 50 >= then.reset_after,
                "{now:?} {then:?}"
            );
            assert_eq!(denied.retry_after(), now.reset_after, "both headers count down alike");
        }
        app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(429);
        let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
        app.post_json("/v1/report", &report).await.assert_problem(429, "rate-limited");
        assert_eq!(script_calls(&[&limiter]).await, before.0);
        assert_eq!(hits(app, "ip").await, before.1 + 7);
        app.scan(FORGED).await.assert_problem(404, "tag-not-found");
    }
    let denied = "voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}";
    assert_eq!(combined.metric(denied).await, 9, "each counts as a denial");
}

#[tokio::test]
async fn a_denied_client_gets_429_while_redis_is_unavailable() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &SMALL).await;
    use_up(&app, &shop).await;
    shop.redis.kill();
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
}

#[tokio::test]
async fn the_denial_of_a_partner_affects_only_its_key() {
    let shop = Shop::open().await;
    let (one, two) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let (combined, separate, _limiter) = both(&shop, &SMALL).await;
    for app in [&combined, &separate] {
        for status in [200, 200, 429, 429] {
            assert_eq!(one.scan(app, shop.tag(0)).await.status, status);
        }
        report_with(app, one.key.reveal(), shop.tag(0)).await.assert_problem(429, "rate-limited");
        let denied = one.scan(app, shop.tag(0)).await;
        assert_eq!(denied.first_rate(), ("key".to_owned(), 2, 0));
        assert_eq!(hits(app, "key").await, 3);
        // A client that knows only the id is not the partner: its key is looked up and is wrong.
        let spoofed = format!("vk_{}{}", one.key.id(), &ApiKey::generate().reveal()[11..]);
        let guess = scan_with(app, &spoofed, shop.tag(0)).await;
        assert_eq!(guess.first_rate().0, "ip", "{}", guess.text);
        assert_eq!(guess.status, 401, "{}", guess.text);
        assert_eq!(two.scan(app, shop.tag(0)).await.status, 200, "another key");
        assert_eq!(app.scan(shop.tag(0)).await.status, 200, "no key: the guess was charged to the address");
        // The quota of the address is spent. A valid key passes, and a wrong one does not.
        app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
        app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
        assert_eq!(two.scan(app, shop.tag(0)).await.status, 200);
        scan_with(app, "nonsense", shop.tag(0)).await.assert_problem(429, "rate-limited");
        scan_with(app, ApiKey::generate().reveal(), shop.tag(0)).await.assert_problem(429, "rate-limited");
    }
}

#[tokio::test]
async fn an_id_never_minted_raises_its_alarm_once_its_client_is_admitted_again() {
    let shop = Shop::open().await;
    let app = open(&shop, &SMALL).await;
    use_up(&app, &shop).await;
    app.scan(shop.tag(SIZE)).await.assert_problem(429, "rate-limited");
    assert_eq!(app.scans("not_minted").await, 0, "as with a denial by the limiter");
    let fresh = open(&shop, &[]).await;
    fresh.scan(shop.tag(SIZE)).await.assert_problem(404, "tag-not-found");
    assert_eq!(fresh.scans("not_minted").await, 1);
}

#[tokio::test]
async fn a_flushed_limiter_redis_makes_the_process_forget_its_denials() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let partner = Partner::of(&shop).await;
    let url = limiter.url();
    let app = open(&shop, &[&[("RATE_LIMIT_REDIS_URL", url.as_str())], &SMALL[..]].concat()).await;
    use_up(&app, &shop).await;
    flush(&limiter).await;
    // This process notices it at the next check.
    assert_eq!(partner.scan(&app, shop.tag(0)).await.status, 200);
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
}

#[tokio::test]
async fn with_a_global_limit_a_denial_is_cached_for_at_most_a_second() {
    let (shop, global) = (Shop::open().await, RedisServer::start().await);
    let url = global.url();
    let app = open(&shop, &[&[("GLOBAL_REDIS_URL", url.as_str())], &SMALL[..]].concat()).await;
    use_up(&app, &shop).await;
    let state = "vtrl1:{default}:ip:127.0.0.1";
    let mut connection = shop.redis.connection().await;
    assert!(connection.exists::<_, bool>(state).await.unwrap());
    // Restores the whole quota.
    let () = connection.del(state).await.unwrap();
    let () = global.connection().await.del("vtgl1:ip:127.0.0.1").await.unwrap();
    let passes = || async { app.scan(shop.tag(0)).await.status == 200 };
    test_support::eventually("it is admitted again", std::time::Duration::from_secs(5), passes).await;
}

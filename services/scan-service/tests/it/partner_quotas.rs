//! The quota of a partner, in every configuration of the limiters.

use access::ApiKey;
use test_support::RedisServer;

use crate::app::{App, open};
use crate::partners::{Partner, both, report_with, scan_with};
use crate::shop::{Shop, keys};

const SMALL: [(&str, &str); 2] = [("RATE_LIMIT_IP_PER_MINUTE", "2"), ("RATE_LIMIT_KEY_PER_MINUTE", "5")];

async fn use_up_the_address(app: &App, shop: &Shop) {
    for _ in 0..2 {
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_partner_has_a_separate_quota_and_spends_none_of_its_address() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let (combined, separate, limiter) = both(&shop, &SMALL).await;
    for (app, redis) in [(&combined, &shop.redis), (&separate, &limiter)] {
        for remaining in (0..5).rev() {
            let answer = partner.scan(app, shop.tag(0)).await;
            assert_eq!((answer.status, answer.rates().len()), (200, 1));
            assert_eq!(answer.first_rate(), ("key".to_owned(), 5, remaining));
        }
        let denied = partner.scan(app, shop.tag(0)).await;
        denied.assert_problem(429, "rate-limited");
        assert_eq!(denied.first_rate(), ("key".to_owned(), 5, 0));
        assert!((1..=60).contains(&denied.retry_after()));
        let report = report_with(app, partner.key.reveal(), shop.tag(0)).await;
        report.assert_problem(429, "rate-limited");
        let state = format!("vtrl1:{{default}}:key:{}", partner.key.id());
        let expected = [state, "vtrl1:{default}:born".to_owned()];
        let mut found = keys(redis, "vtrl1:*").await;
        found.sort_by_key(|key| key.ends_with("born"));
        assert_eq!(found, expected, "the address has no state");
        assert_eq!(app.scan(shop.tag(0)).await.first_rate(), ("ip".to_owned(), 2, 1));
    }
    assert_eq!(
        combined.metric("voketag_rate_limit_decisions_total{dimension=\"key\",decision=\"denied\"}").await,
        2
    );
}

#[tokio::test]
async fn at_an_exhausted_address_a_partner_passes_and_a_wrong_key_does_not() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let (combined, separate, _limiter) = both(&shop, &SMALL).await;
    for app in [&combined, &separate] {
        use_up_the_address(app, &shop).await;
        let passed = partner.scan(app, shop.tag(0)).await;
        assert_eq!((passed.status, passed.first_rate()), (200, ("key".to_owned(), 5, 4)));
        for wrong in [ApiKey::generate().reveal(), "nonsense"] {
            let denied = scan_with(app, wrong, shop.tag(0)).await;
            denied.assert_problem(429, "rate-limited");
            assert_eq!(denied.first_rate(), ("ip".to_owned(), 2, 0));
            report_with(app, wrong, shop.tag(0)).await.assert_problem(429, "rate-limited");
        }
    }
}

#[tokio::test]
async fn guessing_keys_spends_the_quota_of_the_address_and_of_no_key() {
    let shop = Shop::open().await;
    let (partner, unscoped) =
        (Partner::of(&shop).await, Partner::changed(&shop, |key| key.scopes = access::Scopes::none()).await);
    let (combined, separate, _limiter) = both(&shop, &SMALL).await;
    for app in [&combined, &separate] {
        let guess = scan_with(app, ApiKey::generate().reveal(), shop.tag(0)).await;
        guess.assert_key_rejected(401, "unauthenticated");
        assert_eq!(guess.first_rate(), ("ip".to_owned(), 2, 1));
        let forbidden = unscoped.scan(app, shop.tag(0)).await;
        forbidden.assert_key_rejected(403, "forbidden");
        assert_eq!(forbidden.first_rate(), ("ip".to_owned(), 2, 0));
        for key in [ApiKey::generate().reveal(), unscoped.key.reveal(), "nonsense"] {
            scan_with(app, key, shop.tag(0)).await.assert_problem(429, "rate-limited");
        }
        assert_eq!(partner.scan(app, shop.tag(0)).await.first_rate(), ("key".to_owned(), 5, 4));
    }
}

#[tokio::test]
async fn two_keys_of_one_tenant_have_separate_quotas() {
    let shop = Shop::open().await;
    let (one, two) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let (combined, separate, _limiter) = both(&shop, &SMALL).await;
    for app in [&combined, &separate] {
        assert_eq!(one.scan(app, shop.tag(0)).await.first_rate().2, 4);
        assert_eq!(two.scan(app, shop.tag(0)).await.first_rate().2, 4);
        assert_eq!(one.scan(app, shop.tag(0)).await.first_rate().2, 3);
    }
}

#[tokio::test]
async fn a_partners_quota_is_halved_while_the_region_is_cold() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let app = open(&shop, &[("COLD_START_SECS", "300"), ("RATE_LIMIT_KEY_PER_MINUTE", "9")]).await;
    assert_eq!(partner.scan(&app, shop.tag(0)).await.first_rate(), ("key".to_owned(), 4, 3));
}

#[tokio::test]
async fn scans_in_one_batch_are_each_checked_against_their_own_quota() {
    const EACH: usize = 30;
    let shop = Shop::open().await;
    let (one, two) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let stranger = Partner::stranger();
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "40"), ("RATE_LIMIT_KEY_PER_MINUTE", "10")]).await;
    let mut running = tokio::task::JoinSet::new();
    for at in 0..4 * EACH {
        let path = format!("/v1/scan/{}", shop.tag(0));
        let request = app.request(reqwest::Method::GET, &path);
        let request = match at % 4 {
            0 => request.bearer_auth(one.key.reveal()),
            1 => request.header("x-api-key", two.key.reveal()),
            2 => request.bearer_auth(stranger.key.reveal()),
            _ => request,
        };
        running.spawn(async move { (at % 4, crate::app::send(request).await) });
    }
    let answers = running.join_all().await;
    let count = |who: usize, status: u16| {
        answers.iter().filter(|(sender, answer)| *sender == who && answer.status == status).count()
    };
    assert_eq!((count(0, 200), count(0, 429)), (10, EACH - 10));
    assert_eq!((count(1, 200), count(1, 429)), (10, EACH - 10));
    // Clients with a wrong key and without a key share the address's quota of 40, in any order.
    assert_eq!(count(2, 401) + count(3, 200), 40);
    assert_eq!((count(2, 401) + count(2, 429), count(3, 200) + count(3, 429)), (EACH, EACH));
    let counted: Vec<u64> = answers
        .iter()
        .filter(|(_, answer)| answer.status == 200)
        .map(|(_, answer)| answer.json()["scan_count"].as_u64().unwrap())
        .collect();
    let mut in_order = counted.clone();
    in_order.sort_unstable();
    assert_eq!(in_order, (1..=counted.len() as u64).collect::<Vec<_>>(), "each counted scan counts once");
}

#[tokio::test]
async fn the_global_limit_of_a_key_is_twice_its_limit() {
    let (shop, global) = (Shop::open().await, RedisServer::start().await);
    let partner = Partner::of(&shop).await;
    let url = global.url();
    let settings = |region| [("REGION", region), ("GLOBAL_REDIS_URL", url.as_str()), SMALL[0], SMALL[1]];
    let (a, b, c) = (
        open(&shop, &settings("a")).await,
        open(&shop, &settings("b")).await,
        open(&shop, &settings("c")).await,
    );
    use_up_the_address(&a, &shop).await;
    for (app, left) in [(&a, 5), (&b, 0)] {
        for remaining in (left..left + 5).rev() {
            let answer = partner.scan(app, shop.tag(0)).await;
            let rates = answer.rates();
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(rates.iter().map(|rate| rate.name.as_str()).collect::<Vec<_>>(), ["key", "global"]);
            assert_eq!((rates[1].quota, rates[1].remaining), (10, remaining));
        }
    }
    let denied = partner.scan(&c, shop.tag(0)).await;
    denied.assert_problem(429, "rate-limited");
    assert_eq!(denied.first_rate(), ("key".to_owned(), 5, 5), "the region's quota was returned");
    scan_with(&c, "nonsense", shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
    assert_eq!(keys(&global, "vtgl1:key:*").await, [format!("vtgl1:key:{}", partner.key.id())]);
}

#[tokio::test]
async fn while_the_limiter_is_unavailable_the_process_limits_each_key() {
    let (shop, mut limiter) = (Shop::open().await, RedisServer::start().await);
    let partner = Partner::of(&shop).await;
    let url = limiter.url();
    let settings = [
        ("RATE_LIMIT_REDIS_URL", url.as_str()),
        ("RATE_LIMIT_ON_REDIS_DOWN", "local"),
        ("REDIS_COMMAND_TIMEOUT_MS", "500"),
        ("RATE_LIMIT_IP_PER_MINUTE", "2"),
        ("RATE_LIMIT_KEY_PER_MINUTE", "6"),
    ];
    let app = open(&shop, &settings).await;
    limiter.kill();
    for remaining in [2, 1, 0] {
        let answer = partner.scan(&app, shop.tag(0)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.first_rate(), ("key".to_owned(), 3, remaining), "the cold-start size");
    }
    partner.scan(&app, shop.tag(0)).await.assert_problem(429, "rate-limited");
    let wrong = scan_with(&app, "nonsense", shop.tag(0)).await;
    wrong.assert_key_rejected(401, "unauthenticated");
    assert_eq!(wrong.first_rate(), ("ip".to_owned(), 1, 0));
    app.scan(shop.tag(0)).await.assert_problem(429, "rate-limited");
}

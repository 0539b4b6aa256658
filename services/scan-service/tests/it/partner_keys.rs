//! Which partner keys are accepted, until when, and which quota a rejected key is charged to.

use access::{ApiKey, Scope, Scopes};
use redis::AsyncCommands;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;
use test_support::{RedisServer, eventually};

use crate::app::{Answer, App, WAIT_LIMIT, open, send};
use crate::partners::{Partner, both, in_ms, put_tenant, report_with, scan_with};
use crate::shop::{SIZE, Shop};

/// A well-formed UUID that is not authentic.
const FORGED: &str = "85e49ec3-de12-8001-bccf-0ce2e6986016";

/// Returns the responses of every route that takes a tag, as JSON or as a page.
async fn on_every_route(app: &App, headers: &[(&str, &str)], tag: impl std::fmt::Display) -> Vec<Answer> {
    let with = |method: Method, path: &str| {
        headers.iter().fold(app.request(method, path), |request, (name, value)| request.header(*name, *value))
    };
    let (id, report) = (json!({"tag_id": tag.to_string()}), [("reason", "other")]);
    let reported = json!({"tag_id": tag.to_string(), "reason": "other"});
    vec![
        send(with(Method::GET, &format!("/v1/scan/{tag}"))).await,
        send(with(Method::GET, &format!("/v1/scan?tag_id={tag}"))).await,
        send(with(Method::POST, "/v1/scan").json(&id)).await,
        send(with(Method::POST, "/v1/report").json(&reported)).await,
        send(with(Method::GET, &format!("/t/{tag}"))).await,
        send(with(Method::POST, &format!("/t/{tag}/report")).form(&report)).await,
    ]
}

async fn script_calls(redis: &RedisServer) -> u64 {
    let mut connection = redis.connection().await;
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let calls = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok();
    stats.lines().find_map(calls).unwrap_or(0)
}

async fn is_counted(shop: &Shop, index: u32) -> bool {
    shop.redis.connection().await.exists(shop.state_key(index)).await.unwrap()
}

#[tokio::test]
async fn every_route_accepts_a_key_in_either_header() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    let key = partner.key.reveal();
    let (upper, lower) = (format!("Bearer {key}"), format!("bearer {key}"));
    let ways: [&[(&str, &str)]; 4] = [
        &[("authorization", &upper)],
        &[("authorization", &lower)],
        &[("x-api-key", key)],
        &[("x-api-key", key), ("authorization", &upper)],
    ];
    for app in [&combined, &separate] {
        for headers in ways {
            for answer in on_every_route(app, headers, shop.tag(0)).await {
                assert!(matches!(answer.status, 200 | 202), "{}", answer.text);
                assert_eq!(answer.first_rate().0, "key", "{}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn an_unreadable_or_contradictory_key_is_a_wrong_key() {
    let shop = Shop::open().await;
    let (one, two) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    let key = one.key.reveal();
    let bearer = |key: &str| format!("Bearer {key}");
    let spoofed = format!("vk_{}{}", two.key.id(), &key[11..]);
    let mut ways: Vec<Vec<(&str, String)>> = [
        "Basic azE6azI=",
        "Bearer",
        "Bearer ",
        "",
        key,
        "Token x",
        &bearer("nonsense"),
        &bearer(&key[..69]),
        &bearer(&key.to_uppercase()),
        &bearer(&spoofed),
    ]
    .iter()
    .map(|text| vec![("authorization", (*text).to_owned())])
    .collect();
    ways.push(vec![("x-api-key", String::new())]);
    ways.push(vec![("x-api-key", "é".to_owned())]);
    ways.push(vec![("x-api-key", key.to_owned()), ("x-api-key", key.to_owned())]);
    ways.push(vec![("authorization", bearer(key)), ("authorization", bearer(key))]);
    ways.push(vec![("authorization", bearer(key)), ("x-api-key", two.key.reveal().to_owned())]);
    ways.push(vec![("authorization", bearer(key)), ("x-api-key", "nonsense".to_owned())]);
    for app in [&combined, &separate] {
        for headers in &ways {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let answer =
                send(app.request(Method::GET, &format!("/v1/scan/{}", shop.tag(0))).headers(map)).await;
            answer.assert_key_rejected(401, "unauthenticated");
            assert!(!answer.text.contains(key), "{}", answer.text);
        }
    }
    assert!(!is_counted(&shop, 0).await, "nothing of the tag is counted");
    assert_eq!(combined.scans("unauthenticated").await, ways.len() as u64);
}

#[tokio::test]
async fn all_invalid_keys_get_the_same_error() {
    let shop = Shop::open().await;
    let stored = |change: fn(&mut access::KeyRecord)| Partner::changed(&shop, change);
    let stranger = Partner::stranger();
    let rejected = [
        ("unknown", stranger),
        ("another secret of a known id", stored(|key| key.digest = *ApiKey::generate().digest()).await),
        ("expired", stored(|key| key.expires_at = Some(in_ms(-1))).await),
        ("revoked", stored(|key| *key = key.revoked(in_ms(0), "leaked")).await),
        ("of no tenant", stored(|key| key.tenant = "nobody".parse().unwrap()).await),
    ];
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for app in [&combined, &separate] {
        let mut bodies = Vec::new();
        for (what, partner) in &rejected {
            let header = format!("Bearer {}", partner.key.reveal());
            let mut answers = on_every_route(app, &[("authorization", &header)], shop.tag(0)).await;
            for page in answers.split_off(4) {
                page.assert_page(401);
                assert_eq!(page.first_rate().0, "ip");
            }
            for answer in answers {
                answer.assert_key_rejected(401, "unauthenticated");
                let mut body = answer.json();
                body.as_object_mut().unwrap().remove("request_id").unwrap();
                bodies.push((*what, body));
            }
        }
        assert!(bodies.iter().all(|(_, body)| *body == bodies[0].1), "{bodies:?}");
    }
    assert!(!is_counted(&shop, 0).await, "nothing of the tag is counted");
}

#[tokio::test]
async fn a_key_with_a_damaged_record_is_rejected() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let app = open(&shop, &[]).await;
    let whole = partner.record.encode(1);
    let mut connection = shop.redis.connection().await;
    for length in [0, 1, 4, 36, 43, 44, 45, 50] {
        let () = connection.set(access::keys::key(partner.key.id()), &whole[..length]).await.unwrap();
        partner.scan(&app, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
    }
    let () = connection.del(access::keys::key(partner.key.id())).await.unwrap();
    let () = connection.lpush(access::keys::key(partner.key.id()), "of another type").await.unwrap();
    partner.scan(&app, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_without_the_partner_scope_is_forbidden() {
    let shop = Shop::open().await;
    let others: Scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::ScanPartner).collect();
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for scopes in [Scopes::none(), others] {
        let partner = Partner::changed(&shop, |key| key.scopes = scopes).await;
        for app in [&combined, &separate] {
            partner.scan(app, shop.tag(0)).await.assert_key_rejected(403, "forbidden");
            report_with(app, partner.key.reveal(), shop.tag(0)).await.assert_key_rejected(403, "forbidden");
        }
    }
    assert!(!is_counted(&shop, 0).await, "nothing of the tag is counted");
    assert_eq!((combined.scans("forbidden").await, separate.scans("forbidden").await), (2, 2));
}

#[tokio::test]
async fn a_forged_id_is_404_with_any_key_and_needs_no_redis_call() {
    let shop = Shop::open().await;
    let (known, revoked) = (
        Partner::of(&shop).await,
        Partner::changed(&shop, |key| *key = key.revoked(in_ms(0), "leaked")).await,
    );
    let app = open(&shop, &[]).await;
    // Heartbeats and refreshes also run scripts, so only many requests show a difference.
    let (before, mut scans) = (script_calls(&shop.redis).await, 0);
    for key in [known.key.reveal(), revoked.key.reveal(), Partner::stranger().key.reveal(), "nonsense"] {
        for _ in 0..50 {
            let answer = scan_with(&app, key, FORGED).await;
            answer.assert_problem(404, "tag-not-found");
            assert!(!answer.has_rate(), "the limiter was not called");
            scans += 1;
        }
    }
    let calls = script_calls(&shop.redis).await - before;
    assert!(calls < scans / 2, "{calls} calls for {scans} scans");
}

#[tokio::test]
async fn an_authentic_id_never_minted_is_404_with_any_key() {
    let shop = Shop::open().await;
    let (unscoped, stranger) =
        (Partner::changed(&shop, |key| key.scopes = Scopes::none()).await, Partner::stranger());
    let partner = Partner::of(&shop).await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for app in [&combined, &separate] {
        let answer = partner.scan(app, shop.tag(SIZE)).await;
        answer.assert_problem(404, "tag-not-found");
        assert_eq!(answer.first_rate().0, "key");
        // A wrong key does not suppress the alarm about a leaked tag secret.
        let mut alarms = 1;
        for key in ["nonsense", stranger.key.reveal(), unscoped.key.reveal()] {
            for answer in on_every_route(app, &[("X-API-Key", key)], shop.tag(SIZE)).await {
                // The form accepts a report of it.
                assert!(matches!(answer.status, 404 | 202), "{}", answer.text);
                alarms += 1;
            }
        }
        assert_eq!(app.scans("unauthenticated").await + app.scans("forbidden").await, 0);
        assert_eq!(app.metric("voketag_key_leak_alarms_total").await, alarms);
    }
}

#[tokio::test]
async fn a_key_revocation_holds_for_the_next_request_on_every_instance() {
    let shop = Shop::open().await;
    let (one, other, _limiter) =
        both(&shop, &[("RATE_LIMIT_KEY_PER_MINUTE", "8000"), ("RATE_LIMIT_IP_PER_MINUTE", "8000")]).await;
    for round in 0..100 {
        let mut partner = Partner::of(&shop).await;
        assert_eq!(partner.scan(&one, shop.tag(0)).await.status, 200, "round {round}");
        assert_eq!(partner.scan(&other, shop.tag(0)).await.status, 200, "round {round}");
        partner.revoke(&shop).await;
        partner.scan(&other, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
        partner.scan(&one, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_suspension_and_its_end_hold_for_the_next_request_on_every_instance() {
    let shop = Shop::open().await;
    let (one, other, _limiter) =
        both(&shop, &[("RATE_LIMIT_KEY_PER_MINUTE", "8000"), ("RATE_LIMIT_IP_PER_MINUTE", "8000")]).await;
    let partner = Partner::of(&shop).await;
    for round in 0..100 {
        put_tenant(&shop, false).await;
        assert_eq!(partner.scan(&one, shop.tag(0)).await.status, 200, "round {round}");
        assert_eq!(partner.scan(&other, shop.tag(0)).await.status, 200, "round {round}");
        put_tenant(&shop, true).await;
        partner.scan(&other, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
        partner.scan(&one, shop.tag(0)).await.assert_key_rejected(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_key_expires_by_the_clock_of_redis() {
    let shop = Shop::open().await;
    let partner = Partner::changed(&shop, |key| key.expires_at = Some(in_ms(60_000))).await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    for app in [&combined, &separate] {
        assert_eq!(partner.scan(app, shop.tag(0)).await.status, 200);
    }
    let mut soon = partner;
    soon.record.expires_at = Some(in_ms(300));
    soon.store(&shop).await;
    for app in [&combined, &separate] {
        eventually("the key has expired", WAIT_LIMIT, || async {
            soon.scan(app, shop.tag(0)).await.status == 401
        })
        .await;
    }
}

#[tokio::test]
async fn after_a_rotation_both_keys_are_accepted_until_the_overlap_ends() {
    let shop = Shop::open().await;
    let (mut old, new) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    let original = old.record.clone();
    for (until, accepted) in [(in_ms(60_000), 200), (in_ms(0), 401)] {
        old.record = original.rotated_to(&new.record, in_ms(0), until);
        old.store(&shop).await;
        for app in [&combined, &separate] {
            assert_eq!(old.scan(app, shop.tag(0)).await.status, accepted);
            let answer = new.scan(app, shop.tag(0)).await;
            assert_eq!((answer.status, answer.first_rate().0.as_str()), (200, "key"));
        }
    }
}

#[tokio::test]
async fn partners_also_get_lost_state() {
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    shop.flush().await;
    for app in [&combined, &separate] {
        partner.scan(app, shop.tag(0)).await.assert_problem(503, "state-lost");
        report_with(app, partner.key.reveal(), shop.tag(0)).await.assert_problem(503, "state-lost");
    }
}

#[tokio::test]
async fn a_scan_with_a_key_is_one_round_trip() {
    const SCANS: u64 = 200;
    let shop = Shop::open().await;
    let partner = Partner::of(&shop).await;
    let app = open(&shop, &[("RATE_LIMIT_KEY_PER_MINUTE", "8000")]).await;
    assert_eq!(partner.scan(&app, shop.tag(0)).await.status, 200);
    let before = script_calls(&shop.redis).await;
    for _ in 0..SCANS {
        assert_eq!(partner.scan(&app, shop.tag(0)).await.status, 200);
    }
    let calls = script_calls(&shop.redis).await - before;
    // Heartbeats and refreshes add a few calls. A second call per scan would double the number.
    assert!((SCANS..SCANS * 3 / 2).contains(&calls), "{calls} script calls for {SCANS} scans");
}

#[tokio::test]
async fn the_last_use_of_a_partner_key_is_written_within_minutes() {
    let shop = Shop::open().await;
    let (partner, idle) = (Partner::of(&shop).await, Partner::of(&shop).await);
    let (combined, separate, _limiter) = both(&shop, &[]).await;
    let used = |partner: &Partner| {
        let id = partner.key.id().to_string();
        async { shop.redis.connection().await.hexists::<_, _, bool>("vt1:ku", id).await.unwrap() }
    };
    for app in [&combined, &separate] {
        let () = shop.redis.connection().await.del("vt1:ku").await.unwrap();
        assert_eq!(partner.scan(app, shop.tag(0)).await.status, 200);
        assert_eq!(idle.scan(app, FORGED).await.status, 404);
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(75)).await;
        tokio::time::resume();
        eventually("the last use is written", WAIT_LIMIT, || used(&partner)).await;
        assert!(!used(&idle).await, "a forged id does not use a key");
    }
}

#[tokio::test]
async fn a_key_appears_neither_in_responses_nor_in_metrics() {
    let shop = Shop::open().await;
    let (partner, stranger) = (Partner::of(&shop).await, Partner::stranger());
    let app = open(&shop, &[]).await;
    let mut seen = String::new();
    for key in [partner.key.reveal(), stranger.key.reveal()] {
        let request = app.request(Method::GET, &format!("/v1/scan/{}", shop.tag(0)));
        let answer = send(request.header(AUTHORIZATION, format!("Bearer {key}"))).await;
        seen.push_str(&format!("{:?}{}", answer.headers, answer.text));
    }
    seen.push_str(&app.metrics().await);
    for partner in [&partner, &stranger] {
        assert!(
            !seen.contains(partner.key.id().as_str()) && !seen.contains(&partner.key.reveal()[12..]),
            "{seen}"
        );
    }
}

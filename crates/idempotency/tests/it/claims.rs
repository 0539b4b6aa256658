//! One try at a time, and what a repeat is told.

use std::collections::HashSet;
use std::time::Duration;

use idempotency::{ClaimOutcome, ClaimRejection, IdempotencyConfig, IdempotencyError, Namespace};
use redis::AsyncCommands;

use crate::support::{PATIENT, PREFIX, Shop, answer, fingerprint, granted, key, origin, soon, usual};

#[tokio::test]
async fn a_completed_request_is_answered_as_the_first_time() {
    let shop = Shop::open(usual()).await;
    let claim = shop.fresh("k").await;
    let lease = Duration::from_secs(10);
    assert!(matches!(
        shop.claim("k").await,
        ClaimOutcome::Rejected(ClaimRejection::InFlight { retry_after })
            if retry_after <= lease && !retry_after.is_zero()
    ));
    assert!(claim.complete(&answer("made")).await.unwrap().is_applied());
    for _ in 0..2 {
        match shop.claim("k").await {
            ClaimOutcome::Replay(replayed) => assert_eq!(replayed, answer("made")),
            other => panic!("{other:?}"),
        }
    }
    assert!(!claim.complete(&answer("again")).await.unwrap().is_applied(), "completed once");
    assert!(!claim.release().await.unwrap().is_applied(), "what is done stays");
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Replay(_)));
}

#[tokio::test]
async fn another_request_under_the_same_key_is_told_so_in_any_state() {
    let shop = Shop::open(soon()).await;
    let claim = shop.fresh("k").await;
    let other = async || shop.claim_as("acme", "/v1/batches", &[], "k", "other").await;
    assert!(matches!(other().await, ClaimOutcome::Rejected(ClaimRejection::KeyReused)));
    // The lease has ended: the request may be taken over, by its like alone.
    let claim_ended =
        async || shop.pttl(&shop.record("k")).await < Duration::from_secs(86_400) - soon().lease;
    test_support::eventually("the lease has ended", PATIENT, claim_ended).await;
    assert!(matches!(other().await, ClaimOutcome::Rejected(ClaimRejection::KeyReused)));
    assert!(claim.complete(&answer("made")).await.unwrap().is_applied(), "nobody took it over");
    assert!(matches!(other().await, ClaimOutcome::Rejected(ClaimRejection::KeyReused)));
}

#[tokio::test]
async fn tenants_routes_and_resources_share_no_keys() {
    let shop = Shop::open(usual()).await;
    let mut ids = HashSet::new();
    for (tenant, template, params) in [
        ("acme", "/v1/batches", &[][..]),
        ("apex", "/v1/batches", &[]),
        ("acme", "/v1/products", &[]),
        ("acme", "/v1/batches/{id}/revoke", &[("id", "1")]),
        ("acme", "/v1/batches/{id}/revoke", &[("id", "2")]),
        ("acme", "/v1/batches/{id}/recall", &[("id", "1")]),
    ] {
        let claim = granted(shop.claim_as(tenant, template, params, "same", "body").await);
        assert!(ids.insert(claim.id("batch")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_claims_at_once_one_is_granted() {
    let shop = Shop::open(usual()).await;
    for round in 0..20 {
        let name = format!("k{round}");
        let claims = futures_util::future::join_all((0..100).map(|_| shop.claim(&name))).await;
        let fresh = claims.iter().filter(|claimed| matches!(claimed, ClaimOutcome::Claimed(_))).count();
        let in_flight = claims
            .iter()
            .filter(|claimed| matches!(claimed, ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })))
            .count();
        assert_eq!((fresh, in_flight), (1, 99));
    }
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_try_and_gets_its_answer() {
    let shop = Shop::open(IdempotencyConfig { wait: PATIENT, ..IdempotencyConfig::default() }).await;
    let claim = shop.fresh("k").await;
    let answer_soon = async {
        // Two looks at least find the first try under way.
        tokio::time::sleep(Duration::from_millis(30)).await;
        claim.complete(&answer("made")).await.unwrap().is_applied()
    };
    let (claimed, completed) = tokio::join!(shop.claim("k"), answer_soon);
    assert!(completed && matches!(claimed, ClaimOutcome::Replay(_)), "{claimed:?}");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test measures how long it really waits")]
async fn a_repeat_waits_so_long_and_no_longer() {
    let wait = Duration::from_millis(250);
    let shop = Shop::open(IdempotencyConfig { wait, ..IdempotencyConfig::default() }).await;
    let _claim = shop.fresh("k").await;
    let began = tokio::time::Instant::now();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })));
    let waited = began.elapsed();
    assert!(waited >= wait && waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test]
async fn a_released_request_leaves_nothing() {
    let shop = Shop::open(usual()).await;
    let first = shop.fresh("k").await;
    assert!(first.release().await.unwrap().is_applied());
    let keys: Vec<String> = shop.redis.connection().await.keys("vt1:i*").await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    // Not even what it was: the same key may be another request now.
    let second = granted(shop.claim_as("acme", "/v1/batches", &[], "k", "other").await);
    assert!(second.token() == 1 && second.nonce() != first.nonce());
}

#[tokio::test]
async fn an_expired_record_is_no_record() {
    let config = IdempotencyConfig { ttl: Duration::from_millis(50), ..soon() };
    let shop = Shop::open(config).await;
    let first = shop.fresh("k").await;
    assert!(first.complete(&answer("made")).await.unwrap().is_applied());
    let again = shop.granted_in_time("k").await;
    assert!(again.token() == 1 && again.created_ms() > first.created_ms());
    assert_ne!(again.id("batch"), first.id("batch"));
    assert_ne!(again.nonce(), first.nonce());
}

#[tokio::test]
async fn without_its_deployment_nothing_is_claimed() {
    let shop = Shop::open(usual()).await;
    let mut connection = shop.redis.connection().await;
    let () = connection.set("vt1:deployment", "{\"id\":\"other\"}").await.unwrap();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Rejected(ClaimRejection::StateLost)));
    let () = connection.del("vt1:deployment").await.unwrap();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Rejected(ClaimRejection::StateLost)));
    let keys: Vec<String> = connection.keys("*").await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_no_claim() {
    let shop = Shop::open(usual()).await;
    let mut connection = shop.redis.connection().await;
    let (record, key_of_k) = (shop.record("k"), key("k"));
    let namespace =
        Namespace { tenant: "acme", method: "POST", template: "/v1/batches", params: &[], key: &key_of_k };
    let claim = async || shop.requests.claim(PREFIX, &namespace, fingerprint("body"), origin("r")).await;
    for damaged in [&b""[..], b"X", b"C", b"D", &[b'C'; 68], &[b'D'; 56], &[b'x'; 100]] {
        let () = connection.set(&record, damaged).await.unwrap();
        let claimed = claim().await;
        assert!(matches!(claimed, Err(IdempotencyError::Damaged(_))), "{claimed:?}");
        assert_eq!(connection.get::<_, Vec<u8>>(&record).await.unwrap(), damaged, "it is left as it is");
    }
    // An answer that was cut short.
    let () = connection.del(&record).await.unwrap();
    assert!(granted(claim().await.unwrap()).complete(&answer("made")).await.unwrap().is_applied());
    let whole: Vec<u8> = connection.get(&record).await.unwrap();
    let () = connection.set(&record, &whole[..60]).await.unwrap();
    assert!(matches!(claim().await, Err(IdempotencyError::Damaged(_))));
    // Another type altogether.
    let () = connection.del(&record).await.unwrap();
    let () = connection.hset(&record, "field", "value").await.unwrap();
    assert!(matches!(claim().await, Err(IdempotencyError::Redis(redis_pool::PoolError::Server { .. }))));
}

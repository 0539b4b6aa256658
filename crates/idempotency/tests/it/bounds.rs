//! A tenant holds so many records and no more.

use std::time::Duration;

use idempotency::{ClaimOutcome, ClaimRejection, IdempotencyConfig};
use redis::AsyncCommands;

use crate::support::{Shop, answer, granted, soon, usual};

#[tokio::test]
async fn a_tenant_has_so_many_keys_and_others_have_their_own() {
    let shop = Shop::open(IdempotencyConfig { keys_per_tenant: 3, ..usual() }).await;
    for name in ["a", "b", "c"] {
        shop.fresh(name).await;
    }
    match shop.claim("d").await {
        ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { retry_after }) => {
            assert!(retry_after > Duration::from_secs(86_000), "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(shop.claim("a").await, ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })),
        "what is there is still known"
    );
    granted(shop.claim_as("apex", "/v1/batches", &[], "d", "body").await);
}

#[tokio::test]
async fn what_was_released_or_has_ended_makes_room() {
    let shop =
        Shop::open(IdempotencyConfig { keys_per_tenant: 1, ttl: Duration::from_millis(1_500), ..soon() })
            .await;
    assert!(shop.fresh("a").await.release().await.unwrap().is_applied());
    let held = shop.fresh("b").await;
    assert!(held.complete(&answer("made")).await.unwrap().is_applied());
    assert!(matches!(shop.claim("c").await, ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { .. })));
    shop.granted_in_time("c").await;
}

#[tokio::test]
async fn a_taken_over_or_repeated_request_takes_no_second_place() {
    let shop = Shop::open(IdempotencyConfig { keys_per_tenant: 2, ..soon() }).await;
    shop.fresh("a").await;
    assert!(shop.granted_in_time("a").await.complete(&answer("made")).await.unwrap().is_applied());
    assert!(matches!(shop.claim("a").await, ClaimOutcome::Replay(_)));
    let names: u64 = shop.redis.connection().await.zcard("vt1:ix:acme").await.unwrap();
    assert_eq!(names, 1);
    shop.fresh("b").await;
    assert!(matches!(shop.claim("c").await, ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { .. })));
}

#[tokio::test]
async fn what_has_ended_does_not_count_and_is_swept_up_a_little_at_a_time() {
    let shop = Shop::open(IdempotencyConfig { keys_per_tenant: 3, ..usual() }).await;
    let mut connection = shop.redis.connection().await;
    let ended: Vec<(u64, String)> = (0..250).map(|number| (number, format!("ended{number}"))).collect();
    let () = connection.zadd_multiple("vt1:ix:acme", &ended).await.unwrap();
    for (name, left) in [("a", 151), ("b", 52), ("c", 3)] {
        shop.fresh(name).await;
        assert_eq!(connection.zcard::<_, u64>("vt1:ix:acme").await.unwrap(), left);
    }
    assert!(matches!(shop.claim("d").await, ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { .. })));
}

#[tokio::test]
async fn everything_ends_by_itself() {
    let shop = Shop::open(usual()).await;
    let day = Duration::from_secs(86_400);
    let claim = shop.fresh("k").await;
    let about = |span: Duration, most: Duration| span <= most && span > most - Duration::from_secs(60);
    assert!(about(shop.pttl(&shop.record("k")).await, day));
    let lease = Duration::from_secs(10);
    assert!(about(shop.pttl("vt1:ix:acme").await, day + lease));
    // Each of these begins the record's day anew.
    let mut connection = shop.redis.connection().await;
    let () = connection.pexpire(shop.record("k"), 1_000_000).await.unwrap();
    let () = connection.pexpire("vt1:ix:acme", 1_000_000).await.unwrap();
    assert!(claim.renew().await.unwrap().is_applied());
    assert!(about(shop.pttl(&shop.record("k")).await, day));
    assert!(about(shop.pttl("vt1:ix:acme").await, day + lease));
    let () = connection.pexpire(shop.record("k"), 1_000_000).await.unwrap();
    assert!(claim.complete(&answer("made")).await.unwrap().is_applied());
    assert!(about(shop.pttl(&shop.record("k")).await, day));
}

//! A claim lasts as long as it is renewed; then another try has it, and the one before has nothing.

use std::time::Duration;

use idempotency::{ClaimOutcome, ClaimRejection, IdempotencyConfig};

use crate::support::{PATIENT, Shop, answer, soon, usual};

#[tokio::test]
async fn a_try_that_went_silent_is_taken_over_with_its_ids_and_another_token() {
    let shop = Shop::open(soon()).await;
    let first = shop.fresh("k").await;
    let second = shop.granted_in_time("k").await;
    assert_eq!((first.token(), second.token()), (1, 2));
    assert_eq!(second.record_key(), first.record_key());
    assert_eq!(second.created_ms(), first.created_ms());
    assert_eq!((second.id("batch"), second.nonce()), (first.id("batch"), first.nonce()));
    assert_eq!(second.origin(), first.origin());
    assert_ne!(first.id("batch"), first.id("event"));
    assert_eq!(first.id("batch").get_version_num(), 7);
    assert!(!first.lost(), "it does not know yet");
    assert!(!first.renew().await.unwrap().is_applied() && first.lost());
    assert!(!first.complete(&answer("late")).await.unwrap().is_applied());
    assert!(!first.release().await.unwrap().is_applied());
    assert!(!second.lost() && second.complete(&answer("made")).await.unwrap().is_applied());
}

#[tokio::test]
async fn the_first_trys_origin_is_kept() {
    let shop = Shop::open(soon()).await;
    let first = shop.claim_from("k", "first").await;
    let second = shop.claim_from("k", "second").await;
    assert_eq!((first.origin().request_id.as_str(), second.origin().request_id.as_str()), ("first", "first"));
}

#[tokio::test]
async fn a_slow_handler_keeps_its_claim_as_long_as_it_is_renewed() {
    // A busy machine may lose most of a lease before a renewal gets its turn.
    let config = IdempotencyConfig {
        lease: Duration::from_secs(1),
        wait: Duration::from_millis(2_500),
        ..IdempotencyConfig::default()
    };
    let shop = Shop::open(config).await;
    let claim = shop.fresh("k").await;
    let alive = claim.keep_alive();
    assert!(
        matches!(shop.claim("k").await, ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })),
        "after two and a half leases"
    );
    assert!(!claim.lost());
    drop(alive);
    assert_eq!(shop.granted_in_time("k").await.token(), claim.token() + 1);
}

#[tokio::test]
async fn keeping_alive_notices_a_lost_claim() {
    let shop = Shop::open(soon()).await;
    let first = shop.fresh("k").await;
    shop.granted_in_time("k").await;
    let _alive = first.keep_alive();
    test_support::eventually("the claim is known to be lost", PATIENT, async || first.lost()).await;
}

#[tokio::test]
async fn a_completed_claim_is_not_a_lost_one() {
    let shop = Shop::open(usual()).await;
    let claim = shop.fresh("k").await;
    assert!(claim.complete(&answer("made")).await.unwrap().is_applied());
    assert!(!claim.renew().await.unwrap().is_applied() && !claim.lost());
    let released = shop.fresh("other").await;
    assert!(released.release().await.unwrap().is_applied());
    assert!(!released.renew().await.unwrap().is_applied() && released.lost());
}

#[tokio::test]
async fn a_claim_from_before_a_release_has_no_part_in_the_one_after() {
    let shop = Shop::open(usual()).await;
    let before = shop.fresh("k").await;
    assert!(before.release().await.unwrap().is_applied());
    let after = shop.fresh("k").await;
    assert_eq!(before.token(), after.token(), "told apart by more than the token");
    assert!(!before.renew().await.unwrap().is_applied() && before.lost());
    assert!(!before.complete(&answer("late")).await.unwrap().is_applied());
    assert!(!before.release().await.unwrap().is_applied());
    assert!(after.complete(&answer("made")).await.unwrap().is_applied());
}

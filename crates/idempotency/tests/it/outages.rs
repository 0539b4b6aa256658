//! It fails closed.

use std::time::Duration;

use idempotency::{ClaimOutcome, Idempotency, IdempotencyError, Namespace};
use redis_pool::PoolError;

use crate::support::{PREFIX, Shop, answer, fingerprint, key, origin, pool, usual};

#[tokio::test]
async fn without_redis_nothing_is_claimed_or_completed() {
    let mut shop = Shop::open(usual()).await;
    let hasty = Idempotency::new(pool(&shop.redis.url(), Duration::from_millis(500)), usual());
    let name = key("k");
    let namespace =
        Namespace { tenant: "acme", method: "POST", template: "/v1/batches", params: &[], key: &name };
    let claimed = hasty.claim(PREFIX, &namespace, fingerprint("body"), origin("r")).await;
    let Ok(ClaimOutcome::Claimed(claim)) = claimed else { panic!("{claimed:?}") };
    shop.redis.kill();
    let is_away = |error: &IdempotencyError| {
        matches!(error, IdempotencyError::Redis(PoolError::Unavailable { .. }))
            && error.to_string().contains("redis")
    };
    let claimed = hasty.claim_or_wait(PREFIX, &namespace, fingerprint("body"), origin("r")).await;
    assert!(is_away(&claimed.unwrap_err()));
    assert!(is_away(&claim.complete(&answer("made")).await.unwrap_err()));
    assert!(is_away(&claim.renew().await.unwrap_err()) && !claim.lost(), "nothing is known of it");
    assert!(is_away(&claim.release().await.unwrap_err()));
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_given_to_it_again() {
    let shop = Shop::open(usual()).await;
    let forget = async || {
        let () =
            redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut shop.redis.connection().await).await.unwrap();
    };
    forget().await;
    let claim = shop.fresh("k").await;
    forget().await;
    assert!(claim.renew().await.unwrap().is_applied());
    forget().await;
    assert!(claim.complete(&answer("made")).await.unwrap().is_applied());
}

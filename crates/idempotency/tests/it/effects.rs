//! An effect, its event and the answer are one write, and a try that was overtaken writes nothing of them.

use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use audit_chain::{
    AppendError, Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent, Precondition,
    RedisWrite,
};
use idempotency::{Claim, ClaimOutcome, IdempotencyConfig, IdempotencyError, MAX_BODY};
use redis::AsyncCommands;
use redis_pool::RedisPool;
use test_support::FaultProxy;

use crate::support::{PATIENT, Shop, answer, pool, soon, usual};

fn appender(shop: &Shop) -> Appender {
    appender_through(shop.pool.clone())
}

fn appender_through(pool: RedisPool) -> Appender {
    let config = AppenderConfig::new("test/audit", Vec::new());
    Appender::start(pool, config, Arc::new(SystemClock::new()), &AuditMetrics::default())
}

/// The event that every try of the claim makes the same.
fn event(claim: &Claim) -> Event {
    let what = NewEvent {
        tenant: "acme".to_owned(),
        actor: claim.origin().actor.clone(),
        action: "batch.created".to_owned(),
        resource: format!("batch/{}", claim.id("batch")),
        request_id: claim.origin().request_id.clone(),
        ip: None,
        details: Details::new(),
    };
    Event::new(claim.created_ms(), claim.id("event"), claim.nonce(), what).unwrap()
}

fn made(value: &str) -> Effect {
    Effect::none()
        .check(Precondition::Absent { key: "batch".into() })
        .write(RedisWrite::Set { key: "batch".into(), value: value.into() })
}

#[tokio::test]
async fn effect_event_and_answer_are_one_write() {
    let shop = Shop::open(usual()).await;
    let appender = appender(&shop);
    let claim = shop.fresh("k").await;
    let effect = claim.complete_in(made("one"), &answer("made")).unwrap();
    appender.append(&event(&claim), effect).await.unwrap();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Replay(replayed) if replayed == answer("made")));
    assert_eq!(appender.log().head().await.unwrap().size, 1);
}

#[tokio::test]
async fn an_effect_that_is_refused_completes_nothing() {
    let shop = Shop::open(usual()).await;
    let appender = appender(&shop);
    let () = shop.redis.connection().await.set("batch", "there").await.unwrap();
    let claim = shop.fresh("k").await;
    let effect = claim.complete_in(made("one"), &answer("made")).unwrap();
    let refused = appender.append(&event(&claim), effect).await;
    assert!(matches!(refused, Err(AppendError::Precondition { check: 0 })), "{refused:?}");
    assert!(claim.release().await.unwrap().is_applied(), "the claim stands as it stood");
}

#[tokio::test]
async fn a_late_effect_of_a_lost_claim_writes_nothing() {
    let shop = Shop::open(soon()).await;
    let appender = appender(&shop);
    let slow = shop.fresh("k").await;
    let quick = shop.granted_in_time("k").await;
    assert_eq!(event(&slow).payload(), event(&quick).payload(), "both make the same event");
    let late = slow.complete_in(made("late"), &answer("late")).unwrap();
    let refused = appender.append(&event(&slow), late.clone()).await;
    assert!(matches!(refused, Err(AppendError::Precondition { check: 1 })), "{refused:?}");
    let effect = quick.complete_in(made("quick"), &answer("quick")).unwrap();
    appender.append(&event(&quick), effect).await.unwrap();
    // The slow one, again, after all is done: it is told of the event that is there, and changes nothing.
    let again = appender.append(&event(&slow), late).await.unwrap();
    assert!(again.duplicate && again.seq == 0);
    let stored: String = shop.redis.connection().await.get("batch").await.unwrap();
    assert_eq!((stored.as_str(), appender.log().head().await.unwrap().size), ("quick", 1));
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Replay(replayed) if replayed == answer("quick")));
}

#[tokio::test]
async fn a_late_effect_from_before_a_release_writes_nothing() {
    let shop = Shop::open(usual()).await;
    let appender = appender(&shop);
    let before = shop.fresh("k").await;
    let late = before.complete_in(made("late"), &answer("late")).unwrap();
    assert!(before.release().await.unwrap().is_applied());
    let after = shop.fresh("k").await;
    let refused = appender.append(&event(&before), late).await;
    assert!(matches!(refused, Err(AppendError::Precondition { check: 1 })), "{refused:?}");
    let effect = after.complete_in(made("after"), &answer("after")).unwrap();
    appender.append(&event(&after), effect).await.unwrap();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Replay(replayed) if replayed == answer("after")));
    assert_eq!(appender.log().head().await.unwrap().size, 1);
}

#[tokio::test]
async fn an_effect_whose_claim_expired_writes_nothing() {
    let shop = Shop::open(usual()).await;
    let appender = appender(&shop);
    let claim = shop.fresh("k").await;
    let () = shop.redis.connection().await.del(shop.record("k")).await.unwrap();
    let effect = claim.complete_in(made("late"), &answer("late")).unwrap();
    let refused = appender.append(&event(&claim), effect).await;
    assert!(matches!(refused, Err(AppendError::Precondition { check: 1 })), "{refused:?}");
    assert!(!shop.redis.connection().await.exists::<_, bool>("batch").await.unwrap());
}

#[tokio::test]
async fn an_effect_whose_reply_was_lost_is_answered_to_the_retry() {
    let shop = Shop::open(soon()).await;
    let proxy = FaultProxy::start(shop.redis.addr()).await;
    let appender = appender_through(pool(&proxy.url(), Duration::from_millis(500)));
    let claim = shop.fresh("warm-up").await;
    appender.append(&event(&claim), Effect::none()).await.unwrap();
    let claim = shop.fresh("k").await;
    let effect = claim.complete_in(made("one"), &answer("made")).unwrap();
    proxy.stall_replies();
    let unsure = appender.append(&event(&claim), effect).await;
    assert!(matches!(unsure, Err(AppendError::Unavailable { maybe_written: true, .. })), "{unsure:?}");
    assert!(!claim.release().await.unwrap().is_applied(), "what is done stays");
    proxy.heal();
    assert!(matches!(shop.claim("k").await, ClaimOutcome::Replay(replayed) if replayed == answer("made")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_identical_requests_one_is_carried_out_and_all_get_its_answer() {
    let shop = Shop::open(IdempotencyConfig { wait: PATIENT, ..IdempotencyConfig::default() }).await;
    let appender = appender(&shop);
    let rounds = 10;
    for round in 0..rounds {
        let name = format!("k{round}");
        let request = async |number: u32| match shop.claim(&name).await {
            ClaimOutcome::Claimed(claim) => {
                let answer = answer(&number.to_string());
                let made =
                    Effect::none().write(RedisWrite::Set { key: name.clone().into(), value: "made".into() });
                let effect = claim.complete_in(made, &answer).unwrap();
                appender.append(&event(&claim), effect).await.unwrap();
                (true, answer)
            }
            ClaimOutcome::Replay(answer) => (false, answer),
            other => panic!("{other:?}"),
        };
        let told = futures_util::future::join_all((0..100).map(request)).await;
        assert_eq!(told.iter().filter(|(carried_out, _)| *carried_out).count(), 1);
        assert!(told.iter().all(|(_, answer)| *answer == told[0].1));
        assert_eq!(appender.log().head().await.unwrap().size, round + 1);
    }
    assert!(appender.log().verify(0..rounds).await.unwrap().ok);
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_refused_before_anything_is_written() {
    let shop = Shop::open(usual()).await;
    let claim = shop.fresh("k").await;
    let large = answer(&"x".repeat(MAX_BODY + 1));
    assert!(matches!(claim.complete_in(made("one"), &large), Err(IdempotencyError::AnswerTooLarge { .. })));
    assert!(matches!(claim.complete(&large).await, Err(IdempotencyError::AnswerTooLarge { .. })));
    assert!(claim.complete(&answer(&"x".repeat(MAX_BODY))).await.unwrap().is_applied());
}

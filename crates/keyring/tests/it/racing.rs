//! Concurrent moves: each is made once, or planned again on the new record.

use std::sync::Arc;

use audit_chain::{AppendError, Effect, Precondition};
use keyring::{KeyFamily, KeyState, Move, Plan};

use crate::support::{FACTORY, Fixture, epoch, now, revoke, secrets, tag};

#[tokio::test]
async fn of_two_moves_planned_from_one_record_the_second_fails() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1, 2, 3], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2, 3], &[]));
    let Ok(Plan::Change(two)) = fixture.plan(&admin, tag(2), &Move::Add).await else { panic!() };
    let Ok(Plan::Change(three)) = fixture.plan(&admin, tag(3), &Move::Add).await else { panic!() };
    fixture.append(&two).await.unwrap();
    assert!(matches!(fixture.append(&three).await, Err(AppendError::Precondition { check: 0 })));
    let stored = admin.read().await.unwrap().unwrap();
    assert_eq!((stored.revision, stored.record), (2, two.record));
}

#[tokio::test]
async fn concurrent_operators_lose_no_move_and_leave_one_key_active() {
    let fixture = Arc::new(Fixture::start().await);
    fixture.process(FACTORY, secrets(&[1, 2, 3, 4, 5, 6], &[])).await;
    // No instance is live, so no activation waits for one.
    let _: () =
        redis::cmd("DEL").arg("vt1:live").query_async(&mut fixture.redis.connection().await).await.unwrap();
    let mut operators = tokio::task::JoinSet::new();
    for of in 2..=6 {
        let fixture = Arc::clone(&fixture);
        operators.spawn(async move {
            let admin = fixture.admin(secrets(&[1, 2, 3, 4, 5, 6], &[]));
            fixture.make(&admin, tag(of), &Move::Add).await.unwrap();
            fixture.make(&admin, tag(of), &Move::Activate).await.unwrap();
        });
    }
    operators.join_all().await;
    let stored = fixture.admin(secrets(&[1], &[])).read().await.unwrap().unwrap();
    assert_eq!(stored.revision, 11, "five keys added, five activated");
    let of = |state| stored.record.tag.iter().filter(|entry| entry.state == state).count();
    assert_eq!((of(KeyState::Active), of(KeyState::VerifyOnly)), (1, 5));
    assert_eq!(fixture.appender.log().head().await.unwrap().size, 10);
}

#[tokio::test]
async fn an_effect_with_the_guard_of_a_snapshot_is_not_written_after_a_move() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let snapshot = factory.snapshot().unwrap();
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    let Ok(Plan::Change(planned)) = fixture.plan(&admin, tag(2), &Move::Add).await else { panic!() };
    let mut minting = planned.clone();
    minting.effect = Effect::none().check(snapshot.guard());
    fixture.append(&minting).await.unwrap();
    fixture.append(&planned).await.unwrap();
    assert!(matches!(fixture.append(&minting).await, Err(AppendError::Precondition { .. })));
    let fresh = factory.heartbeat(&fixture.deployment).await.unwrap();
    assert!(matches!(fresh.guard(), Precondition::Prefix { prefix, .. } if prefix == [0, 0, 0, 2]));
    assert_eq!(fresh.active_epoch(), epoch(1));
}

#[tokio::test]
async fn a_move_whose_reply_was_lost_is_a_no_op_when_repeated() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    let _: () =
        redis::cmd("DEL").arg("vt1:live").query_async(&mut fixture.redis.connection().await).await.unwrap();
    let since = now();
    for what in [Move::Add, Move::Activate] {
        let Ok(Plan::Change(planned)) = fixture.plan(&admin, tag(2), &what).await else { panic!() };
        fixture.append(&planned).await.unwrap();
        assert!(matches!(fixture.plan(&admin, tag(2), &what).await, Ok(Plan::Nothing(_))));
    }
    for what in [revoke(since), Move::Destroy] {
        let Ok(Plan::Change(planned)) = fixture.plan(&admin, tag(1), &what).await else { panic!() };
        fixture.append(&planned).await.unwrap();
        assert!(matches!(fixture.plan(&admin, tag(1), &what).await, Ok(Plan::Nothing(_))));
    }
    let record = admin.read().await.unwrap().unwrap().record;
    assert_eq!(record.active(KeyFamily::Tag).unwrap().number.get(), 2);
}

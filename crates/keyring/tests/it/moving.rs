//! What a move writes, and moves that are rejected because of what live instances hold.

use audit_chain::{AppendError, DetailValue, Event};
use catalog::StoredDeployment;
use keyring::{KeyFamily, KeyState, Move, MoveRefusal, Plan, TagKeyState};

use crate::support::{FACTORY, Fixture, SCANNER, audit, correct, epoch, now, revoke, secrets, tag};

async fn checks(fixture: &Fixture) -> Vec<u16> {
    let stored = StoredDeployment::read(&fixture.pool).await.unwrap().unwrap();
    stored.tag_checks().map(|(epoch, _)| epoch).collect()
}

#[tokio::test]
async fn a_rotation_writes_one_event_per_move_and_amends_the_deployment_record() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[1])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[1]));
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    assert_eq!(checks(&fixture).await, [1], "no instance needs a pending key");
    factory.heartbeat(&fixture.deployment).await.unwrap();
    fixture.make(&admin, tag(2), &Move::Activate).await.unwrap();
    assert_eq!(checks(&fixture).await, [1, 2]);
    fixture.make(&admin, tag(1), &revoke(now())).await.unwrap();
    fixture.make(&admin, tag(1), &correct(now() - time::Duration::hours(1))).await.unwrap();
    assert_eq!(checks(&fixture).await, [1, 2], "tags of a revoked key are still opened");
    fixture.make(&admin, tag(1), &Move::Destroy).await.unwrap();
    assert_eq!(checks(&fixture).await, [2]);
    let snapshot = factory.heartbeat(&fixture.deployment).await.unwrap();
    assert_eq!((snapshot.revision(), snapshot.active_epoch()), (6, epoch(2)));
    assert_eq!(snapshot.tag_state(epoch(1)), Some(&TagKeyState::Destroyed));
    let page = fixture.appender.log().entries(None, 10.try_into().unwrap()).await.unwrap();
    let events: Vec<Event> =
        page.events.iter().map(|entry| Event::parse(entry.event.get().as_bytes()).unwrap()).collect();
    let written: Vec<(&str, &str)> =
        events.iter().map(|event| (event.what().action.as_str(), event.what().resource.as_str())).collect();
    assert_eq!(
        written,
        [
            ("keyring.key_added", "keyring/tag/2"),
            ("keyring.key_activated", "keyring/tag/2"),
            ("keyring.key_revoked", "keyring/tag/1"),
            ("keyring.date_corrected", "keyring/tag/1"),
            ("keyring.key_destroyed", "keyring/tag/1"),
        ]
    );
    assert_eq!(events[2].what().details.get("reason"), Some(&DetailValue::from("leaked")));
    assert!(events[3].what().details.get("moved_from").is_some());
}

#[tokio::test]
async fn a_repeated_move_writes_nothing() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    let first = fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    let Ok(Plan::Nothing(stored)) = fixture.plan(&admin, tag(2), &Move::Add).await else { panic!() };
    assert_eq!(stored.revision, first);
    assert_eq!(fixture.appender.log().head().await.unwrap().size, 1);
}

#[tokio::test]
async fn a_key_is_added_only_by_a_process_that_holds_its_secret() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[])).await;
    let admin = fixture.admin(secrets(&[1], &[]));
    assert_eq!(fixture.refusal(&admin, tag(2), &Move::Add).await, MoveRefusal::NoSecret(tag(2)));
    assert_eq!(fixture.refusal(&admin, audit(1), &Move::Add).await, MoveRefusal::NoSecret(audit(1)));
}

#[tokio::test]
async fn a_key_is_not_activated_while_a_live_instance_lacks_its_secret() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    let mut behind = Vec::new();
    for _ in 0..2 {
        behind.push(fixture.process(SCANNER, secrets(&[1], &[])).await);
    }
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    for watch in behind.iter().chain([&factory]) {
        watch.heartbeat(&fixture.deployment).await.unwrap();
    }
    let lacking =
        |instances| MoveRefusal::Lacking { key: tag(2), service: "scan-service".to_owned(), instances };
    assert_eq!(fixture.refusal(&admin, tag(2), &Move::Activate).await, lacking(2));
    assert_eq!(
        fixture.refusal(&admin, tag(1), &Move::Retire).await,
        lacking(2),
        "retiring would activate it too"
    );
    assert_eq!(admin.read().await.unwrap().unwrap().record.active(KeyFamily::Tag).unwrap().number.get(), 1);
    assert_eq!(checks(&fixture).await, [1]);
}

#[tokio::test]
async fn an_instance_with_another_secret_under_that_number_lacks_the_secret() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    let mut other = secrets(&[1], &[]);
    let seeds = [(1, 1_u8), (2, 99)].map(|(of, byte)| (epoch(of), tag_id::MasterSecret::from([byte; 32])));
    other.tags = std::sync::Arc::new(tag_id::TagKeys::new(None, seeds));
    fixture.process(FACTORY, other.clone()).await;
    let lacking = MoveRefusal::Lacking { key: tag(2), service: "factory-service".to_owned(), instances: 1 };
    // The first factory has sent no heartbeat since the key was added. `Lacking` ranks before `NotYetRead`.
    assert_eq!(fixture.refusal(&admin, tag(2), &Move::Activate).await, lacking);
    let refusal = fixture.refusal(&fixture.admin(other), tag(2), &Move::Activate).await;
    assert_eq!(refusal, MoveRefusal::OtherSecret(tag(2)));
}

#[tokio::test]
async fn an_activation_waits_for_the_next_heartbeat_of_an_instance() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    let heartbeat_later = async {
        tokio::task::yield_now().await;
        factory.pause().await;
        factory.heartbeat(&fixture.deployment).await.unwrap()
    };
    let (made, _) = tokio::join!(fixture.make(&admin, tag(2), &Move::Activate), heartbeat_later);
    assert_eq!(made.unwrap(), 3);
}

#[tokio::test]
async fn an_activation_names_the_service_of_an_instance_that_does_not_poll() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    let not_yet_read =
        MoveRefusal::NotYetRead { key: tag(2), service: "factory-service".to_owned(), instances: 1 };
    assert_eq!(fixture.refusal(&admin, tag(2), &Move::Activate).await, not_yet_read);
}

#[tokio::test]
async fn an_instance_that_registers_between_plan_and_write_fails_the_write() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[]));
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    factory.heartbeat(&fixture.deployment).await.unwrap();
    let Ok(Plan::Change(planned)) = fixture.plan(&admin, tag(2), &Move::Activate).await else { panic!() };
    fixture.process(SCANNER, secrets(&[1], &[])).await;
    assert!(matches!(fixture.append(&planned).await, Err(AppendError::Precondition { .. })));
    let again = fixture.refusal(&admin, tag(2), &Move::Activate).await;
    assert!(matches!(again, MoveRefusal::Lacking { .. }), "{again:?}");
    assert_eq!(checks(&fixture).await, [1]);
}

#[tokio::test]
async fn only_factories_must_hold_a_signing_key() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1], &[1, 2])).await;
    let scanner = fixture.process(SCANNER, secrets(&[1], &[])).await;
    let without = fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let admin = fixture.admin(secrets(&[1], &[1, 2]));
    fixture.make(&admin, audit(2), &Move::Add).await.unwrap();
    for watch in [&factory, &scanner, &without] {
        watch.heartbeat(&fixture.deployment).await.unwrap();
    }
    let lacking = MoveRefusal::Lacking { key: audit(2), service: "factory-service".to_owned(), instances: 1 };
    assert_eq!(fixture.refusal(&admin, audit(2), &Move::Activate).await, lacking);
    // Removes the registration of all instances; two of them register again.
    let mut connection = fixture.redis.connection().await;
    let _: () = redis::cmd("DEL").arg("vt1:live").query_async(&mut connection).await.unwrap();
    for watch in [&factory, &scanner] {
        watch.heartbeat(&fixture.deployment).await.unwrap();
    }
    fixture.make(&admin, audit(2), &Move::Activate).await.unwrap();
    let record = admin.read().await.unwrap().unwrap().record;
    assert_eq!(record.entry(audit(1)).unwrap().state, KeyState::VerifyOnly);
    assert_eq!(checks(&fixture).await, [1], "signing keys do not change the deployment record");
}

#[tokio::test]
async fn an_operator_adds_the_first_signing_key_to_an_empty_family() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let other = Fixture::start().await;
    other.process(FACTORY, secrets(&[1], &[])).await;
    assert!(factory.snapshot().unwrap().active_audit_key().is_some());
    let admin = other.admin(secrets(&[1], &[1]));
    let _: () =
        redis::cmd("DEL").arg("vt1:live").query_async(&mut other.redis.connection().await).await.unwrap();
    other.make(&admin, audit(1), &Move::Add).await.unwrap();
    other.make(&admin, audit(1), &Move::Activate).await.unwrap();
    assert_eq!(admin.read().await.unwrap().unwrap().record.active(KeyFamily::Audit).unwrap().number.get(), 1);
}

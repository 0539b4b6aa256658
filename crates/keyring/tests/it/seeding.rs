//! The first keyring record: created once per deployment, and never again.

use catalog::StoredDeployment;
use keyring::{KeyFamily, KeyState, KeyringError, KeyringRecord, KeyringStatus, keys, seed};
use redis::AsyncCommands;

use crate::support::{FACTORY, Fixture, SCANNER, epoch, now, number, secrets, tag};

fn states(record: &KeyringRecord, family: KeyFamily) -> Vec<(u16, KeyState)> {
    record.family(family).iter().map(|entry| (entry.number.get(), entry.state)).collect()
}

#[tokio::test]
async fn a_factory_creates_the_keyring_once_and_every_process_reads_it() {
    let fixture = Fixture::start().await;
    let scanner = fixture.process(SCANNER, secrets(&[1], &[])).await;
    assert_eq!((scanner.status(), scanner.snapshot()), (KeyringStatus::NotMade, None));
    let factory = fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let created = factory.snapshot().unwrap();
    assert_eq!(
        (created.revision(), created.active_epoch(), created.active_audit_key()),
        (1, epoch(1), Some(number(1)))
    );
    let polled = scanner.heartbeat(&fixture.deployment).await.unwrap();
    assert_eq!(polled, created);
    let stored = StoredDeployment::read(&fixture.pool).await.unwrap().unwrap();
    assert!(stored.keyring_made());
    assert_eq!(fixture.redis.connection().await.ttl::<_, i64>(keys::KEYRING).await.unwrap(), -1);
    let second = secrets(&[1], &[2]);
    assert!(!seed::create(&fixture.pool, &fixture.deployment, &second, epoch(1), now()).await.unwrap());
    assert_eq!(fixture.admin(second).read().await.unwrap().unwrap().record, *created.record());
}

#[tokio::test]
async fn older_epochs_of_the_deployment_become_verify_only_and_the_configured_one_active() {
    let fixture = Fixture::start().await;
    let all = secrets(&[1, 2, 3], &[4, 7]);
    assert!(seed::create(&fixture.pool, &fixture.deployment, &all, epoch(3), now()).await.unwrap());
    let record = fixture.admin(all).read().await.unwrap().unwrap().record;
    assert_eq!(states(&record, KeyFamily::Tag), [(1, KeyState::VerifyOnly), (3, KeyState::Active)]);
    assert_eq!(states(&record, KeyFamily::Audit), [(4, KeyState::Active)]);
    let stored = StoredDeployment::read(&fixture.pool).await.unwrap().unwrap();
    assert_eq!(stored.tag_checks().map(|(epoch, _)| epoch).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn a_factory_without_signing_keys_creates_a_keyring_without_them() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1], &[])).await;
    let snapshot = factory.snapshot().unwrap();
    assert_eq!((snapshot.active_audit_key(), snapshot.record().audit.len()), (None, 0));
    let with = fixture.process(FACTORY, secrets(&[1], &[1])).await;
    assert_eq!(with.snapshot().unwrap(), snapshot, "a start adds no key");
}

#[tokio::test]
async fn concurrent_factories_create_one_keyring() {
    let fixture = Fixture::start().await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (watch, deployment) = (fixture.watch(FACTORY, secrets(&[1], &[1])), fixture.deployment.clone());
        starting.spawn(async move { watch.heartbeat(&deployment).await.unwrap() });
    }
    let mut snapshots = starting.join_all().await;
    snapshots.dedup();
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
}

#[tokio::test]
async fn a_lost_keyring_is_not_created_again() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let mut connection = fixture.redis.connection().await;
    let bytes: Vec<u8> = connection.get(keys::KEYRING).await.unwrap();
    let _: () = connection.del(keys::KEYRING).await.unwrap();
    for watch in [
        &factory,
        &fixture.process(FACTORY, secrets(&[1], &[1])).await,
        &fixture.process(SCANNER, secrets(&[1], &[])).await,
    ] {
        assert!(matches!(watch.heartbeat(&fixture.deployment).await, Err(KeyringError::Lost(_))));
        assert!(matches!(watch.status(), KeyringStatus::Lost(_)) && watch.snapshot().is_none());
    }
    assert!(!connection.exists::<_, bool>(keys::KEYRING).await.unwrap());
    let _: () = connection.set(keys::KEYRING, bytes).await.unwrap();
    assert!(factory.heartbeat(&fixture.deployment).await.is_ok(), "a restored record is usable");
}

#[tokio::test]
async fn a_factory_without_the_secret_of_its_configured_epoch_creates_nothing() {
    let fixture = Fixture::start().await;
    let created =
        seed::create(&fixture.pool, &fixture.deployment, &secrets(&[1], &[]), epoch(2), now()).await;
    assert!(
        matches!(&created, Err(KeyringError::Refused(why)) if why.to_string().contains(&tag(2).to_string())),
        "{created:?}"
    );
    assert!(fixture.admin(secrets(&[1], &[])).read().await.unwrap().is_none());
}

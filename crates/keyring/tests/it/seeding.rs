//! The first record: made once for a deployment, and never again.

use catalog::StoredDeployment;
use keyring::{KeyFamily, KeyState, KeyringError, KeyringRecord, KeyringStatus, keys, seed};
use redis::AsyncCommands;

use crate::support::{FACTORY, SCANNER, Shop, epoch, now, number, secrets, tag};

fn states(record: &KeyringRecord, family: KeyFamily) -> Vec<(u16, KeyState)> {
    record.family(family).iter().map(|entry| (entry.number.get(), entry.state)).collect()
}

#[tokio::test]
async fn a_factory_makes_the_keyring_once_and_every_process_hears_it() {
    let shop = Shop::open().await;
    let scanner = shop.process(SCANNER, secrets(&[1], &[])).await;
    assert_eq!((scanner.standing(), scanner.snapshot()), (KeyringStatus::NotMade, None));
    let factory = shop.process(FACTORY, secrets(&[1], &[1])).await;
    let made = factory.snapshot().unwrap();
    assert_eq!(
        (made.revision(), made.active_epoch(), made.active_audit_key()),
        (1, epoch(1), Some(number(1)))
    );
    let heard = scanner.heartbeat(&shop.deployment).await.unwrap();
    assert_eq!(heard, made);
    let stored = StoredDeployment::read(&shop.pool).await.unwrap().unwrap();
    assert!(stored.keyring_made());
    assert_eq!(shop.redis.connection().await.ttl::<_, i64>(keys::KEYRING).await.unwrap(), -1);
    let second = secrets(&[1], &[2]);
    assert!(!seed::make(&shop.pool, &shop.deployment, &second, epoch(1), now()).await.unwrap());
    assert_eq!(shop.admin(second).read().await.unwrap().unwrap().record, *made.record());
}

#[tokio::test]
async fn epochs_of_a_deployment_from_before_only_verify_and_the_factorys_is_active() {
    let shop = Shop::open().await;
    let all = secrets(&[1, 2, 3], &[4, 7]);
    assert!(seed::make(&shop.pool, &shop.deployment, &all, epoch(3), now()).await.unwrap());
    let record = shop.admin(all).read().await.unwrap().unwrap().record;
    assert_eq!(states(&record, KeyFamily::Tag), [(1, KeyState::VerifyOnly), (3, KeyState::Active)]);
    assert_eq!(states(&record, KeyFamily::Audit), [(4, KeyState::Active)]);
    let stored = StoredDeployment::read(&shop.pool).await.unwrap().unwrap();
    assert_eq!(stored.tag_checks().map(|(epoch, _)| epoch).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn a_factory_without_signing_keys_makes_a_keyring_without_an_audit_family() {
    let shop = Shop::open().await;
    let factory = shop.process(FACTORY, secrets(&[1], &[])).await;
    let snapshot = factory.snapshot().unwrap();
    assert_eq!((snapshot.active_audit_key(), snapshot.record().audit.len()), (None, 0));
    let with = shop.process(FACTORY, secrets(&[1], &[1])).await;
    assert_eq!(with.snapshot().unwrap(), snapshot, "nobody adds a key silently");
}

#[tokio::test]
async fn factories_that_start_at_once_make_one() {
    let shop = Shop::open().await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (watch, deployment) = (shop.watch(FACTORY, secrets(&[1], &[1])), shop.deployment.clone());
        starting.spawn(async move { watch.heartbeat(&deployment).await.unwrap() });
    }
    let mut heard = starting.join_all().await;
    heard.dedup();
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[tokio::test]
async fn a_keyring_that_was_lost_is_not_made_anew() {
    let shop = Shop::open().await;
    let factory = shop.process(FACTORY, secrets(&[1], &[1])).await;
    let mut direct = shop.redis.connection().await;
    let bytes: Vec<u8> = direct.get(keys::KEYRING).await.unwrap();
    let _: () = direct.del(keys::KEYRING).await.unwrap();
    for watch in [
        &factory,
        &shop.process(FACTORY, secrets(&[1], &[1])).await,
        &shop.process(SCANNER, secrets(&[1], &[])).await,
    ] {
        assert!(matches!(watch.heartbeat(&shop.deployment).await, Err(KeyringError::Lost(_))));
        assert!(matches!(watch.standing(), KeyringStatus::Lost(_)) && watch.snapshot().is_none());
    }
    assert!(!direct.exists::<_, bool>(keys::KEYRING).await.unwrap());
    let _: () = direct.set(keys::KEYRING, bytes).await.unwrap();
    assert!(factory.heartbeat(&shop.deployment).await.is_ok(), "what comes back can be gone on from");
}

#[tokio::test]
async fn a_factory_that_lacks_the_epoch_it_is_told_to_mint_under_makes_nothing() {
    let shop = Shop::open().await;
    let made = seed::make(&shop.pool, &shop.deployment, &secrets(&[1], &[]), epoch(2), now()).await;
    assert!(
        matches!(&made, Err(KeyringError::Refused(why)) if why.to_string().contains(&tag(2).to_string())),
        "{made:?}"
    );
    assert!(shop.admin(secrets(&[1], &[])).read().await.unwrap().is_none());
}

//! The keyring as a service sees it: not ready without one, and closed where it was lost.

use std::sync::Arc;
use std::time::Duration;

use audit_chain::Effect;
use catalog::{DeploymentGate, Expectation, Init};
use keyring::keys::KEYRING;
use redis::AsyncCommands;
use tag_id::{Epoch, MasterSecret, TagKeys};
use test_support::{FaultProxy, RedisServer, eventually};
use time::OffsetDateTime;

use crate::support::{PATIENCE, kind, scanner, service};

/// A deployment as one was made before there were keyrings.
async fn deployment_of_before(redis: &RedisServer) {
    let pool = service(&redis.url(), Init::Never, PATIENCE).storage.pool;
    let expectation = Expectation {
        tag_keys: Arc::new(TagKeys::new(Some(MasterSecret::from([7; 32])), [])),
        adds_epoch: Some(Epoch::MIN),
        audit_origin: "voketag.local/audit".to_owned(),
    };
    DeploymentGate::new(pool, expectation, Init::Auto).refresh(OffsetDateTime::UNIX_EPOCH).await.unwrap();
}

#[tokio::test]
async fn a_scan_service_is_not_ready_and_gives_503_until_a_factory_has_made_the_keyring() {
    let redis = RedisServer::start().await;
    deployment_of_before(&redis).await;
    let scans = scanner(&redis.url(), PATIENCE);
    assert_eq!(kind(scans.storage.keyring.snapshot()), "unavailable", "nothing was read yet");
    scans.storage.refresher.refresh().await.unwrap();
    assert!(scans.storage.deployment.deployment().is_ok());
    assert_eq!(kind(scans.storage.keyring.snapshot()), "state-lost");
    let check = scans.check("keyring").await.unwrap();
    assert!(check.is_failed() && check.detail().unwrap().contains("start the factory-service"), "{check:?}");
    assert!(scans.shows("voketag_durable_state_lost 0"), "what never was is not lost");
    let factory = service(&redis.url(), Init::Never, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    assert!(scans.storage.keyring.poll().await.is_ok());
    let keys = scans.storage.keyring.snapshot().unwrap();
    assert_eq!((keys.revision(), keys.active_epoch()), (1, Epoch::MIN));
    assert_eq!(keys, factory.storage.keyring.snapshot().unwrap());
    eventually("it is ready", PATIENCE, || async { !scans.check("keyring").await.unwrap().is_failed() })
        .await;
}

#[tokio::test]
async fn looking_for_good_beats_too_and_hears_what_has_changed() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    let scans = scanner(&redis.url(), PATIENCE);
    let looking = tokio::spawn({
        let storage = scans.storage.clone();
        async move { storage.refresher.keep_refreshing().await }
    });
    eventually("it has heard", PATIENCE, || async { scans.storage.keyring.snapshot().is_ok() }).await;
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = link.set(KEYRING, stored).await.unwrap();
    let revision = || scans.storage.keyring.snapshot().map(|keys| keys.revision()).unwrap_or_default();
    eventually("it has heard more", PATIENCE, || async { revision() == 9 }).await;
    looking.abort();
}

#[tokio::test]
async fn a_keyring_that_is_gone_closes_the_service_until_it_is_back() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    let scans = scanner(&redis.url(), PATIENCE);
    scans.storage.refresher.refresh().await.unwrap();
    let mut link = redis.connection().await;
    let stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    let () = link.del(KEYRING).await.unwrap();
    for one in [&factory, &scans] {
        assert_eq!(kind(one.storage.keyring.poll().await), "state-lost");
        assert_eq!(kind(one.storage.deployment.deployment()), "state-lost");
        assert_eq!(kind(one.storage.keyring.snapshot()), "state-lost");
        one.storage.refresher.refresh().await.unwrap();
        assert!(one.shows("voketag_durable_state_lost 1"));
        let check = one.check("keyring").await.unwrap();
        assert!(check.is_failed() && check.detail().unwrap().contains("state lost"), "{check:?}");
    }
    assert_eq!(kind(factory.append().await), "state-lost");
    assert!(!link.exists::<_, bool>(KEYRING).await.unwrap(), "a lost keyring is not made anew");
    let () = link.set(KEYRING, stored).await.unwrap();
    for one in [&factory, &scans] {
        one.storage.refresher.refresh().await.unwrap();
        assert!(one.storage.keyring.snapshot().is_ok());
    }
    factory.append().await.unwrap();
}

#[tokio::test]
async fn while_redis_is_away_the_last_keyring_stays_known() {
    let redis = RedisServer::start().await;
    service(&redis.url(), Init::Auto, PATIENCE).storage.refresher.refresh().await.unwrap();
    let proxy = FaultProxy::start(redis.addr()).await;
    let scans = scanner(&proxy.url(), Duration::from_millis(300));
    eventually("it has heard", PATIENCE, || async {
        scans.storage.refresher.refresh().await.is_ok() && scans.storage.keyring.snapshot().is_ok()
    })
    .await;
    proxy.stall();
    assert_eq!(kind(scans.storage.keyring.poll().await), "unavailable");
    assert!(scans.storage.keyring.snapshot().is_ok());
    assert!(scans.check("keyring").await.unwrap().is_failed(), "nothing was read this time");
    let silence = async || scans.check("keyring").await.unwrap().detail().unwrap_or_default().to_owned();
    eventually("it says for how long", PATIENCE, async || silence().await.contains("not heard for")).await;
}

#[tokio::test]
async fn an_effect_bound_to_the_keyring_is_not_written_after_it_has_changed() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    let guard = factory.storage.keyring.snapshot().unwrap().guard();
    let event = || audit_chain::NewEvent {
        tenant: "acme".to_owned(),
        actor: "test".to_owned(),
        action: "batch.created".to_owned(),
        resource: "batch/1".to_owned(),
        request_id: "r".to_owned(),
        ip: None,
        details: audit_chain::Details::new(),
    };
    let effect = || Effect::none().check(guard.clone());
    factory.storage.audit.append(event(), effect()).await.unwrap();
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] += 1;
    let () = link.set(KEYRING, stored).await.unwrap();
    let refused = factory.storage.audit.append(event(), effect()).await;
    assert!(matches!(
        refused,
        Err(storage::AppendFailure::Append(audit_chain::AppendError::Precondition { .. }))
    ));
}

#[tokio::test]
async fn a_process_whose_slots_are_all_taken_hears_of_the_keyring() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..factory.storage.pool.stats().permits {
        taken.push(factory.storage.pool.permit().await.unwrap());
    }
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = link.set(KEYRING, stored).await.unwrap();
    assert_eq!(factory.storage.keyring.poll().await.unwrap().revision(), 9);
}

#[tokio::test]
async fn who_takes_leave_no_longer_counts_as_living_and_asking_is_no_sign_of_life() {
    let redis = RedisServer::start().await;
    let scans = scanner(&redis.url(), PATIENCE);
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.storage.refresher.refresh().await.unwrap();
    let living = async || keyring::Live::read(&factory.storage.pool).await.unwrap().instances.len();
    assert_eq!(living().await, 1, "the first look announced the factory");
    scans.storage.refresher.refresh().await.unwrap();
    assert_eq!(living().await, 2);
    scans.storage.keyring.leave().await;
    factory.storage.keyring.leave().await;
    assert_eq!(living().await, 0);
    scans.storage.keyring.poll().await.unwrap();
    scans.storage.refresher.refresh().await.unwrap();
    assert_eq!(living().await, 0);
}

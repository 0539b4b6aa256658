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

use crate::support::{PATIENCE, scanner, service, slug};

/// A deployment as one was made before there were keyrings.
async fn deployment_of_before(redis: &RedisServer) {
    let pool = service(&redis.url(), Init::Never, PATIENCE).durable.pool().clone();
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
    assert_eq!(slug(scans.durable.keys()), "redis-unavailable", "nothing was read yet");
    scans.durable.refresh().await.unwrap();
    assert!(scans.durable.deployment().is_ok());
    assert_eq!(slug(scans.durable.keys()), "state-lost");
    let check = scans.check("keyring").await.unwrap();
    assert!(!check.ok && check.detail.as_ref().unwrap().contains("start the factory-service"), "{check:?}");
    assert!(scans.shows("voketag_durable_state_lost 0"), "what never was is not lost");
    let factory = service(&redis.url(), Init::Never, PATIENCE);
    factory.durable.refresh().await.unwrap();
    assert!(scans.durable.refresh_keys().await.is_ok());
    let keys = scans.durable.keys().unwrap();
    assert_eq!((keys.revision(), keys.active_epoch()), (1, Epoch::MIN));
    assert_eq!(keys, factory.durable.keys().unwrap());
    eventually("it is ready", PATIENCE, || async { scans.check("keyring").await.unwrap().ok }).await;
}

#[tokio::test]
async fn looking_for_good_beats_too_and_hears_what_has_changed() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.durable.refresh().await.unwrap();
    let scans = scanner(&redis.url(), PATIENCE);
    let looking = tokio::spawn({
        let durable = Arc::clone(&scans.durable);
        async move { durable.keep_refreshing().await }
    });
    eventually("it has heard", PATIENCE, || async { scans.durable.keys().is_ok() }).await;
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = link.set(KEYRING, stored).await.unwrap();
    let revision = || scans.durable.keys().map(|keys| keys.revision()).unwrap_or_default();
    eventually("it has heard more", PATIENCE, || async { revision() == 9 }).await;
    looking.abort();
}

#[tokio::test]
async fn a_keyring_that_is_gone_closes_the_service_until_it_is_back() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.durable.refresh().await.unwrap();
    let scans = scanner(&redis.url(), PATIENCE);
    scans.durable.refresh().await.unwrap();
    let mut link = redis.connection().await;
    let stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    let () = link.del(KEYRING).await.unwrap();
    for one in [&factory, &scans] {
        assert_eq!(slug(one.durable.refresh_keys().await), "state-lost");
        assert_eq!(slug(one.durable.deployment()), "state-lost");
        assert_eq!(slug(one.durable.keys()), "state-lost");
        one.durable.refresh().await.unwrap();
        assert!(one.shows("voketag_durable_state_lost 1"));
        let check = one.check("keyring").await.unwrap();
        assert!(!check.ok && check.detail.as_ref().unwrap().contains("state lost"), "{check:?}");
    }
    assert_eq!(slug(factory.append().await), "state-lost");
    assert!(!link.exists::<_, bool>(KEYRING).await.unwrap(), "a lost keyring is not made anew");
    let () = link.set(KEYRING, stored).await.unwrap();
    for one in [&factory, &scans] {
        one.durable.refresh().await.unwrap();
        assert!(one.durable.keys().is_ok());
    }
    factory.append().await.unwrap();
}

#[tokio::test]
async fn while_redis_is_away_the_last_keyring_stays_known() {
    let redis = RedisServer::start().await;
    service(&redis.url(), Init::Auto, PATIENCE).durable.refresh().await.unwrap();
    let proxy = FaultProxy::start(redis.addr()).await;
    let scans = scanner(&proxy.url(), Duration::from_millis(300));
    eventually("it has heard", PATIENCE, || async {
        scans.durable.refresh().await.is_ok() && scans.durable.keys().is_ok()
    })
    .await;
    proxy.stall();
    assert_eq!(slug(scans.durable.refresh_keys().await), "redis-unavailable");
    assert!(scans.durable.keys().is_ok());
    assert!(!scans.check("keyring").await.unwrap().ok, "nothing was read this time");
    let silence = async || scans.check("keyring").await.unwrap().detail.unwrap_or_default();
    eventually("it says for how long", PATIENCE, async || silence().await.contains("not heard for")).await;
}

#[tokio::test]
async fn an_effect_bound_to_the_keyring_is_not_written_after_it_has_changed() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.durable.refresh().await.unwrap();
    let guard = factory.durable.keys().unwrap().guard();
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
    factory.durable.append(event(), effect()).await.unwrap();
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] += 1;
    let () = link.set(KEYRING, stored).await.unwrap();
    let refused = factory.durable.append(event(), effect()).await;
    assert!(matches!(
        refused,
        Err(storage::AppendFailure::Append(audit_chain::AppendError::Precondition { .. }))
    ));
}

#[tokio::test]
async fn a_process_whose_slots_are_all_taken_hears_of_the_keyring() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.durable.refresh().await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..factory.durable.pool().stats().permits {
        taken.push(factory.durable.pool().permit().await.unwrap());
    }
    let mut link = redis.connection().await;
    let mut stored: Vec<u8> = link.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = link.set(KEYRING, stored).await.unwrap();
    assert_eq!(factory.durable.refresh_keys().await.unwrap().revision(), 9);
}

#[tokio::test]
async fn who_takes_leave_no_longer_counts_as_living_and_asking_is_no_sign_of_life() {
    let redis = RedisServer::start().await;
    let scans = scanner(&redis.url(), PATIENCE);
    let factory = service(&redis.url(), Init::Auto, PATIENCE);
    factory.durable.refresh().await.unwrap();
    let living = async || keyring::Live::read(factory.durable.pool()).await.unwrap().instances.len();
    assert_eq!(living().await, 1, "the first look announced the factory");
    scans.durable.refresh().await.unwrap();
    assert_eq!(living().await, 2);
    scans.durable.leave().await;
    factory.durable.leave().await;
    assert_eq!(living().await, 0);
    scans.durable.refresh_keys().await.unwrap();
    scans.durable.refresh().await.unwrap();
    assert_eq!(living().await, 0);
}

//! The keyring of a service: the service is not ready without one, and unavailable while it is lost.

use std::sync::Arc;
use std::time::Duration;

use audit_chain::Effect;
use catalog::{DeploymentGate, Expectation, Init};
use keyring::keys::KEYRING;
use redis::AsyncCommands;
use tag_id::{Epoch, MasterSecret, TagKeys};
use test_support::{FaultProxy, RedisServer, eventually};
use time::OffsetDateTime;

use crate::support::{DEADLINE, kind, scanner, service};

/// Creates a deployment without a keyring, as versions before the keyring did.
async fn deployment_without_keyring(redis: &RedisServer) {
    let pool = service(&redis.url(), Init::Never, DEADLINE).storage.pool;
    let expectation = Expectation {
        tag_keys: Arc::new(TagKeys::new(Some(MasterSecret::from([7; 32])), [])),
        adds_epoch: Some(Epoch::MIN),
        audit_origin: "voketag.local/audit".to_owned(),
    };
    DeploymentGate::new(pool, expectation, Init::Auto).refresh(OffsetDateTime::UNIX_EPOCH).await.unwrap();
}

#[tokio::test]
async fn a_scan_service_is_not_ready_until_a_factory_service_has_created_the_keyring() {
    let redis = RedisServer::start().await;
    deployment_without_keyring(&redis).await;
    let scans = scanner(&redis.url(), DEADLINE);
    assert_eq!(kind(scans.storage.keyring.snapshot()), "unavailable", "nothing was read yet");
    scans.storage.refresher.refresh().await.unwrap();
    assert!(scans.storage.deployment.deployment().is_ok());
    assert_eq!(kind(scans.storage.keyring.snapshot()), "state-lost");
    let check = scans.check("keyring").await.unwrap();
    assert!(check.is_failed() && check.detail().unwrap().contains("start the factory-service"), "{check:?}");
    assert!(scans.has_metric("voketag_durable_state_lost 0"), "a keyring that never existed is not lost");
    let factory = service(&redis.url(), Init::Never, DEADLINE);
    factory.storage.refresher.refresh().await.unwrap();
    assert!(scans.storage.keyring.poll().await.is_ok());
    let keys = scans.storage.keyring.snapshot().unwrap();
    assert_eq!((keys.revision(), keys.active_epoch()), (1, Epoch::MIN));
    assert_eq!(keys, factory.storage.keyring.snapshot().unwrap());
    eventually("it is ready", DEADLINE, || async { !scans.check("keyring").await.unwrap().is_failed() })
        .await;
}

#[tokio::test]
async fn the_background_refresh_sends_heartbeats_and_reads_changes() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, DEADLINE);
    factory.storage.refresher.refresh().await.unwrap();
    let scans = scanner(&redis.url(), DEADLINE);
    let refreshing = tokio::spawn({
        let storage = scans.storage.clone();
        async move { storage.refresher.keep_refreshing().await }
    });
    eventually("the keyring was read", DEADLINE, || async { scans.storage.keyring.snapshot().is_ok() }).await;
    let mut connection = redis.connection().await;
    let mut stored: Vec<u8> = connection.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = connection.set(KEYRING, stored).await.unwrap();
    let revision = || scans.storage.keyring.snapshot().map(|keys| keys.revision()).unwrap_or_default();
    eventually("the change was read", DEADLINE, || async { revision() == 9 }).await;
    refreshing.abort();
}

#[tokio::test]
async fn a_missing_keyring_makes_the_service_unavailable_until_it_is_back() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, DEADLINE);
    factory.storage.refresher.refresh().await.unwrap();
    let scans = scanner(&redis.url(), DEADLINE);
    scans.storage.refresher.refresh().await.unwrap();
    let mut connection = redis.connection().await;
    let stored: Vec<u8> = connection.get(KEYRING).await.unwrap();
    let () = connection.del(KEYRING).await.unwrap();
    for service in [&factory, &scans] {
        assert_eq!(kind(service.storage.keyring.poll().await), "state-lost");
        assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
        assert_eq!(kind(service.storage.keyring.snapshot()), "state-lost");
        service.storage.refresher.refresh().await.unwrap();
        assert!(service.has_metric("voketag_durable_state_lost 1"));
        let check = service.check("keyring").await.unwrap();
        assert!(check.is_failed() && check.detail().unwrap().contains("state lost"), "{check:?}");
    }
    assert_eq!(kind(factory.append().await), "state-lost");
    assert!(!connection.exists::<_, bool>(KEYRING).await.unwrap(), "a lost keyring is not created again");
    let () = connection.set(KEYRING, stored).await.unwrap();
    for service in [&factory, &scans] {
        service.storage.refresher.refresh().await.unwrap();
        assert!(service.storage.keyring.snapshot().is_ok());
    }
    factory.append().await.unwrap();
}

#[tokio::test]
async fn while_redis_is_unavailable_the_last_keyring_stays_known() {
    let redis = RedisServer::start().await;
    service(&redis.url(), Init::Auto, DEADLINE).storage.refresher.refresh().await.unwrap();
    let proxy = FaultProxy::start(redis.addr()).await;
    let scans = scanner(&proxy.url(), Duration::from_millis(300));
    eventually("the keyring was read", DEADLINE, || async {
        scans.storage.refresher.refresh().await.is_ok() && scans.storage.keyring.snapshot().is_ok()
    })
    .await;
    proxy.stall();
    assert_eq!(kind(scans.storage.keyring.poll().await), "unavailable");
    assert!(scans.storage.keyring.snapshot().is_ok());
    assert!(scans.check("keyring").await.unwrap().is_failed(), "nothing was read this time");
    let detail = async || scans.check("keyring").await.unwrap().detail().unwrap_or_default().to_owned();
    eventually("readiness says for how long", DEADLINE, async || detail().await.contains("not read for"))
        .await;
}

#[tokio::test]
async fn an_effect_guarded_by_the_keyring_is_not_written_after_a_change() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, DEADLINE);
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
    let mut connection = redis.connection().await;
    let mut stored: Vec<u8> = connection.get(KEYRING).await.unwrap();
    stored[3] += 1;
    let () = connection.set(KEYRING, stored).await.unwrap();
    let outcome = factory.storage.audit.append(event(), effect()).await;
    assert!(matches!(
        outcome,
        Err(storage::AppendFailure::Append(audit_chain::AppendError::Precondition { .. }))
    ));
}

#[tokio::test]
async fn the_keyring_can_be_polled_while_requests_hold_all_permits() {
    let redis = RedisServer::start().await;
    let factory = service(&redis.url(), Init::Auto, DEADLINE);
    factory.storage.refresher.refresh().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..factory.storage.pool.stats().permits {
        held.push(factory.storage.pool.permit().await.unwrap());
    }
    let mut connection = redis.connection().await;
    let mut stored: Vec<u8> = connection.get(KEYRING).await.unwrap();
    stored[3] = 9;
    let () = connection.set(KEYRING, stored).await.unwrap();
    assert_eq!(factory.storage.keyring.poll().await.unwrap().revision(), 9);
}

#[tokio::test]
async fn an_instance_that_left_is_not_live_and_a_poll_does_not_make_it_live() {
    let redis = RedisServer::start().await;
    let scans = scanner(&redis.url(), DEADLINE);
    let factory = service(&redis.url(), Init::Auto, DEADLINE);
    factory.storage.refresher.refresh().await.unwrap();
    let live = async || keyring::LiveInstances::read(&factory.storage.pool).await.unwrap().instances.len();
    assert_eq!(live().await, 1, "the first refresh announced the factory-service");
    scans.storage.refresher.refresh().await.unwrap();
    assert_eq!(live().await, 2);
    scans.storage.keyring.leave().await;
    factory.storage.keyring.leave().await;
    assert_eq!(live().await, 0);
    scans.storage.keyring.poll().await.unwrap();
    scans.storage.refresher.refresh().await.unwrap();
    assert_eq!(live().await, 0);
}

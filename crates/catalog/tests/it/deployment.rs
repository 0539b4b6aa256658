//! The deployment record: only an allowed process creates it, once, and every process compares it afterwards.

use std::sync::Arc;
use std::time::Duration;

use catalog::{DeploymentError, DeploymentGate, Init, StoredDeployment, keys};
use redis::AsyncCommands;
use serde_json::Value;
use test_support::{FaultProxy, RedisServer};

use crate::support::{NOW, ORIGIN, epoch, expecting, factory, lost, pool, pool_within, scanner, tag_keys};

async fn record(redis: &RedisServer) -> Option<Vec<u8>> {
    redis.connection().await.get(keys::DEPLOYMENT).await.unwrap()
}

async fn json(redis: &RedisServer) -> Value {
    serde_json::from_slice(&record(redis).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_factory_creates_the_record_once_and_others_find_it() {
    let redis = RedisServer::start().await;
    let first = factory(&redis);
    assert!(first.seen().is_none() && first.last_error().is_some() && !first.is_lost());
    let deployment = first.refresh(NOW).await.unwrap().clone();
    let stored = record(&redis).await.unwrap();
    assert!(stored.starts_with(deployment.prefix().as_bytes()), "scripts compare the prefix");
    let json = json(&redis).await;
    assert_eq!((json["id"].as_str(), json["audit_origin"].as_str()), (Some(deployment.id()), Some(ORIGIN)));
    assert_eq!((deployment.id().len(), json["created_at"].as_str()), (32, Some("2026-02-16T12:00:00Z")));
    assert_eq!(json["tag_checks"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1"]);

    for gate in [&first, &factory(&redis), &scanner(&redis)] {
        assert_eq!(gate.refresh(NOW).await.unwrap(), &deployment);
        assert_eq!((gate.seen(), gate.last_error()), (Some(&deployment), None));
    }
    assert_eq!(record(&redis).await.unwrap(), stored);
    assert_eq!(redis.connection().await.ttl::<_, i64>(keys::DEPLOYMENT).await.unwrap(), -1);
}

#[tokio::test]
async fn concurrent_factories_create_one_record() {
    let redis = RedisServer::start().await;
    let mut refreshes = tokio::task::JoinSet::new();
    for gate in (0..8).map(|_| factory(&redis)) {
        refreshes.spawn(async move { gate.refresh(NOW).await.unwrap().id().to_owned() });
    }
    let mut ids = refreshes.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

/// A refresh that read before a concurrent one created the record must not report the record as gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_refreshes_of_one_process_agree() {
    let redis = RedisServer::start().await;
    for round in 0..50 {
        let () = redis::cmd("FLUSHALL").query_async(&mut redis.connection().await).await.unwrap();
        let gate = Arc::new(factory(&redis));
        let mut refreshes = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let gate = Arc::clone(&gate);
            refreshes.spawn(async move { gate.refresh(NOW).await.map(|found| found.id().to_owned()) });
        }
        for found in refreshes.join_all().await {
            assert_eq!(found.as_deref().ok(), Some(gate.seen().unwrap().id()), "round {round}: {found:?}");
        }
        assert!(!gate.is_lost());
    }
}

#[tokio::test]
async fn a_process_that_may_not_create_the_record_does_not() {
    let redis = RedisServer::start().await;
    let never = DeploymentGate::new(pool(&redis), expecting(&[(1, 1)], Some(1)), Init::Never);
    assert!(lost(&never).await.contains("no deployment record"));
    assert!(never.is_lost() && never.last_error().is_some() && never.seen().is_none());
    assert_eq!(record(&redis).await, None);
    factory(&redis).refresh(NOW).await.unwrap();
    never.refresh(NOW).await.unwrap();
    assert!(!never.is_lost(), "the record exists now");
}

#[tokio::test]
async fn a_redis_with_voketag_data_is_not_new() {
    for key in ["vt1:p:1", keys::NEXT_BATCH_NO, audit_chain::keys::HEAD, "vt1:t:AAAAAAAA"] {
        let redis = RedisServer::start().await;
        let mut connection = redis.connection().await;
        // More keys than one SCAN call returns.
        let mut fill = redis::pipe();
        for number in 0..3_000 {
            fill.set(format!("other:{number}"), 1).ignore();
        }
        let () = fill.query_async(&mut connection).await.unwrap();
        let () = connection.set(key, "x").await.unwrap();
        assert!(lost(&factory(&redis)).await.contains("but no deployment record"), "{key}");
        assert_eq!(record(&redis).await, None, "{key}");
    }
}

#[tokio::test]
async fn limiter_keys_and_foreign_keys_do_not_count_as_voketag_data() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    for key in ["vtrl1:{default}:born", "vtgl1:ip:192.0.2.1", "somebody:else"] {
        let () = connection.set(key, "1").await.unwrap();
    }
    factory(&redis).refresh(NOW).await.unwrap();
}

#[tokio::test]
async fn a_record_created_between_read_and_write_is_returned() {
    let redis = RedisServer::start().await;
    let script = include_str!("../../src/lua/create_deployment.lua");
    let mut connection = redis.connection().await;
    let create = redis::Script::new(script);
    let mut call = create.prepare_invoke();
    call.key(keys::DEPLOYMENT).key(keys::NEXT_BATCH_NO).key(audit_chain::keys::HEAD);
    let reply: (i64, String) = call.arg("{first}").invoke_async(&mut connection).await.unwrap();
    assert_eq!(reply, (1, "{first}".to_owned()));
    let reply: (i64, String) = call.invoke_async(&mut connection).await.unwrap();
    assert_eq!(reply, (0, "{first}".to_owned()));
    let () = connection.del(keys::DEPLOYMENT).await.unwrap();
    let () = connection.set(keys::NEXT_BATCH_NO, 7).await.unwrap();
    let reply: (i64, String) = call.invoke_async(&mut connection).await.unwrap();
    assert_eq!(reply, (-1, String::new()), "a batch counter exists without a record");
}

#[tokio::test]
async fn a_process_that_has_seen_a_deployment_accepts_neither_its_loss_nor_another() {
    let redis = RedisServer::start().await;
    let gates = [factory(&redis), scanner(&redis)];
    for gate in &gates {
        gate.refresh(NOW).await.unwrap();
    }
    let kept = record(&redis).await.unwrap();
    let mut connection = redis.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    for gate in &gates {
        assert!(lost(gate).await.contains("gone"));
        assert!(gate.is_lost() && gate.seen().is_some());
    }
    assert_eq!(record(&redis).await, None);
    factory(&redis).refresh(NOW).await.unwrap();
    for gate in &gates {
        assert!(lost(gate).await.contains("another deployment"));
    }
    let () = connection.set(keys::DEPLOYMENT, kept).await.unwrap();
    for gate in &gates {
        gate.refresh(NOW).await.unwrap();
        assert!(!gate.is_lost());
    }
}

#[tokio::test]
async fn a_factory_that_found_a_foreign_deployment_creates_none_after_it_is_gone() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let foreign = DeploymentGate::new(pool(&redis), expecting(&[(1, 9)], Some(1)), Init::Auto);
    foreign.refresh(NOW).await.unwrap();
    let gate = factory(&redis);
    assert!(lost(&gate).await.contains("tag secret of epoch 1"));
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    lost(&gate).await;
    assert_eq!(record(&redis).await, None, "a Redis that was wiped under a running process is not new");
}

#[tokio::test]
async fn a_factory_that_found_leftover_data_or_a_damaged_record_creates_none_after_it_is_gone() {
    for (key, why) in [("vt1:p:1", "but no deployment record"), (keys::DEPLOYMENT, "cannot be read")] {
        let redis = RedisServer::start().await;
        let mut connection = redis.connection().await;
        let () = connection.set(key, "x").await.unwrap();
        let gate = factory(&redis);
        assert!(lost(&gate).await.contains(why), "{key}");
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
        lost(&gate).await;
        assert_eq!(record(&redis).await, None, "{key}: created after the first reply");
    }
}

#[tokio::test]
async fn another_secret_or_origin_or_a_missing_secret_does_not_match() {
    let redis = RedisServer::start().await;
    let two = DeploymentGate::new(pool(&redis), expecting(&[(1, 1), (2, 2)], Some(1)), Init::Auto);
    two.refresh(NOW).await.unwrap();
    use_epoch(&redis, 2, 2).await;
    for (secrets, why) in [
        (&[(1, 9), (2, 2)][..], "the tag secret of epoch 1 is not the one"),
        (&[(1, 1), (2, 9)], "the tag secret of epoch 2 is not the one"),
        (&[(1, 1)], "no tag secret of epoch 2"),
        (&[(2, 2)], "no tag secret of epoch 1"),
    ] {
        let gate = DeploymentGate::new(pool(&redis), expecting(secrets, None), Init::Never);
        let found = lost(&gate).await;
        assert!(found.contains(why), "{found}");
    }
    let mut elsewhere = expecting(&[(1, 1), (2, 2)], None);
    elsewhere.audit_origin = "elsewhere/audit".to_owned();
    let found = lost(&DeploymentGate::new(pool(&redis), elsewhere, Init::Never)).await;
    assert!(found.contains("AUDIT_ORIGIN"), "{found}");
    let three = DeploymentGate::new(pool(&redis), expecting(&[(1, 1), (2, 2), (3, 3)], None), Init::Never);
    three.refresh(NOW).await.unwrap();
}

/// Adds an epoch's check value to the record, as the activation of a tag key does.
async fn use_epoch(redis: &RedisServer, number: u16, byte: u8) {
    let stored = StoredDeployment::read(&pool(redis)).await.unwrap().unwrap();
    let check = tag_keys(&[(number, byte)]).check_value(epoch(number)).unwrap();
    let check: String = check.iter().map(|byte| format!("{byte:02x}")).collect();
    let amended = stored.with_check(epoch(number), &check);
    let () = redis.connection().await.set(keys::DEPLOYMENT, amended.bytes()).await.unwrap();
}

#[tokio::test]
async fn a_factory_that_mints_under_another_epoch_does_not_change_an_existing_record() {
    let redis = RedisServer::start().await;
    let deployment = factory(&redis).refresh(NOW).await.unwrap().clone();
    let before = record(&redis).await;
    let later = DeploymentGate::new(pool(&redis), expecting(&[(1, 1), (2, 2)], Some(2)), Init::Auto);
    assert_eq!(later.refresh(NOW).await.unwrap(), &deployment);
    assert_eq!(record(&redis).await, before);
}

#[tokio::test]
async fn a_process_without_the_secret_of_an_epoch_in_use_is_closed_until_the_epoch_is_out_of_use() {
    let redis = RedisServer::start().await;
    let first = factory(&redis);
    let deployment = first.refresh(NOW).await.unwrap().clone();
    use_epoch(&redis, 2, 2).await;
    assert!(lost(&first).await.contains("epoch 2"));
    let amended = StoredDeployment::read(&pool(&redis)).await.unwrap().unwrap().without_check(epoch(2));
    let () = redis.connection().await.set(keys::DEPLOYMENT, amended.bytes()).await.unwrap();
    assert_eq!(first.refresh(NOW).await.unwrap(), &deployment);
}

#[tokio::test]
async fn a_damaged_record_is_lost_state() {
    let redis = RedisServer::start().await;
    for bytes in ["", "{}", "null", "\u{0}"] {
        let () = redis.connection().await.set(keys::DEPLOYMENT, bytes).await.unwrap();
        let found = lost(&factory(&redis)).await;
        assert!(found.contains("cannot be read"), "{found}");
        assert_eq!(record(&redis).await.unwrap(), bytes.as_bytes());
    }
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_not_lost_state() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let gate = DeploymentGate::new(
        pool_within(&proxy.url(), Duration::from_millis(500)),
        expecting(&[(1, 1)], Some(1)),
        Init::Auto,
    );
    proxy.stall();
    assert!(matches!(gate.refresh(NOW).await, Err(DeploymentError::Redis(_))));
    assert!(!gate.is_lost());
    proxy.heal();
    let found = async { gate.refresh(NOW).await.is_ok() };
    assert!(found.await || gate.refresh(NOW).await.is_ok(), "it may create the record after an outage");
    proxy.stall();
    assert!(matches!(gate.refresh(NOW).await, Err(DeploymentError::Redis(_))));
    assert!(!gate.is_lost() && gate.seen().is_some());
}

#[tokio::test]
async fn a_loss_that_a_script_reported_lasts_until_a_refresh_succeeds() {
    let redis = RedisServer::start().await;
    let gate = factory(&redis);
    gate.refresh(NOW).await.unwrap();
    gate.report_lost("a scan found it gone");
    assert_eq!(gate.last_error().as_deref(), Some("a scan found it gone"));
    assert!(gate.is_lost());
    gate.refresh(NOW).await.unwrap();
    assert_eq!((gate.last_error(), gate.is_lost()), (None, false));
}

//! Durable storage of a service: unavailable until a deployment was seen, and again when its state is lost.

use std::time::Duration;

use ambient::from_unix_millis;
use audit_chain::keys::HEAD;
use catalog::{DeploymentError, Init, keys::DEPLOYMENT};
use redis::AsyncCommands;
use storage::{PartHealth, StorageCheck};
use test_support::{FaultProxy, RedisServer, eventually};
use time::OffsetDateTime;

use crate::support::{DEADLINE, STRONG, is_ok, kind, service};

#[tokio::test]
async fn before_redis_answers_it_is_unavailable_and_no_state_is_lost() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let service = service(&redis.url(), Init::Auto, Duration::from_millis(200));
    assert_eq!(kind(service.storage.deployment.deployment()), "unavailable");
    assert_eq!(kind(service.storage.audit.log()), "unavailable");
    assert_eq!(kind(service.append().await), "unavailable");
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Redis(_))));
    assert_eq!(kind(service.storage.deployment.deployment()), "unavailable");
    let checks = service.storage.readiness.checks().await;
    let shown: Vec<(&str, bool)> = checks.iter().map(|check| (check.name, !check.is_failed())).collect();
    assert_eq!(
        shown,
        ["redis", "deployment", "audit", "audit_chain", "keyring", "storage"].map(|name| (name, false))
    );
}

#[tokio::test]
async fn before_the_first_read_of_a_connected_redis_no_state_is_lost() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Never, DEADLINE);
    eventually("the pool is connected", DEADLINE, || async { service.storage.pool.stats().connected > 0 })
        .await;
    assert_eq!(kind(service.storage.deployment.deployment()), "unavailable");
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.has_metric("voketag_durable_state_lost 1"));
    assert!(service.check("deployment").await.unwrap().is_failed());
}

#[tokio::test]
async fn with_a_deployment_appends_succeed_and_all_checks_pass() {
    let redis = RedisServer::start_with(&STRONG).await;
    let service = service(&redis.url(), Init::Auto, DEADLINE);
    let id = service.storage.refresher.refresh().await.unwrap().id().to_owned();
    assert_eq!(service.storage.deployment.deployment().unwrap().id(), id);
    assert_eq!(service.storage.deployment.gate().seen().unwrap().id(), id);
    assert_eq!(service.append().await.unwrap(), 0);
    assert_eq!(service.append().await.unwrap(), 1);
    let names = ["redis", "deployment", "audit", "audit_chain", "keyring", "storage"];
    assert_eq!(service.storage.readiness.checks().await, names.map(StorageCheck::ok));
    assert!(service.has_metric("voketag_durable_state_lost 0"));
    for concern in ["eviction", "fsync", "unknown"] {
        assert!(service.has_metric(&format!(
            "voketag_redis_storage_warnings{{pool=\"durable\",concern=\"{concern}\"}} 0"
        )));
    }
    assert!(service.storage.catalog.product(&ambient::uuid_v7(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn settings_that_may_lose_data_are_a_warning() {
    for (args, concern) in [
        (&[][..], "fsync"),
        (&[STRONG.as_slice(), &["--maxmemory-policy", "allkeys-lru"]].concat(), "eviction"),
        (&["--rename-command", "CONFIG", ""], "unknown"),
    ] {
        let redis = RedisServer::start_with(args).await;
        let service = service(&redis.url(), Init::Auto, DEADLINE);
        service.storage.refresher.refresh().await.unwrap();
        let storage = service.check("storage").await.unwrap();
        assert!(matches!(storage.health, PartHealth::Warning(_)), "{storage:?}");
        assert!(
            service.has_metric(&format!(
                "voketag_redis_storage_warnings{{pool=\"durable\",concern=\"{concern}\"}} 1"
            )),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn it_becomes_available_once_the_deployment_record_exists() {
    let redis = RedisServer::start().await;
    let waiting = service(&redis.url(), Init::Never, DEADLINE);
    let refreshing = tokio::spawn({
        let storage = waiting.storage.clone();
        async move { storage.refresher.keep_refreshing().await }
    });
    eventually("a refresh has failed", DEADLINE, || async {
        kind(waiting.storage.deployment.deployment()) == "state-lost"
    })
    .await;
    service(&redis.url(), Init::Auto, DEADLINE).storage.refresher.refresh().await.unwrap();
    eventually("it has seen the deployment", DEADLINE, || async {
        waiting.storage.deployment.deployment().is_ok()
    })
    .await;
    assert_eq!(waiting.append().await.unwrap(), 0);
    refreshing.abort();
}

#[tokio::test]
async fn the_next_append_to_a_wiped_redis_fails_and_reports_lost_state() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, DEADLINE);
    service.storage.refresher.refresh().await.unwrap();
    service.append().await.unwrap();
    let mut connection = redis.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.has_metric("voketag_durable_state_lost 1"));
    assert!(service.storage.deployment.gate().last_error().is_some());
    assert!(service.check("deployment").await.unwrap().is_failed());
    assert!(!connection.exists::<_, bool>(HEAD).await.unwrap(), "no second chain is started");
    assert!(!connection.exists::<_, bool>(DEPLOYMENT).await.unwrap(), "no second deployment is created");
}

#[tokio::test]
async fn an_older_copy_of_the_same_deployment_is_lost_state_until_the_latest_is_back() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, DEADLINE);
    service.storage.refresher.refresh().await.unwrap();
    service.append().await.unwrap();
    let mut connection = redis.connection().await;
    let older: Vec<u8> = connection.get(HEAD).await.unwrap();
    service.append().await.unwrap();
    let newest: Vec<u8> = connection.get(HEAD).await.unwrap();
    let () = connection.set(HEAD, older).await.unwrap();
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert!(service.check("audit").await.unwrap().is_failed());
    let () = connection.set(HEAD, newest).await.unwrap();
    service.storage.refresher.refresh().await.unwrap();
    assert!(service.storage.deployment.deployment().is_ok());
    assert_eq!(service.append().await.unwrap(), 2);
}

#[tokio::test]
async fn requests_are_rejected_exactly_while_readiness_fails_for_lost_state() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, DEADLINE);
    service.storage.refresher.refresh().await.unwrap();
    let mut connection = redis.connection().await;
    let record: String = connection.get(DEPLOYMENT).await.unwrap();
    // The record of a deployment in which an epoch is in use whose secret this process does not hold.
    let other = record.replacen(
        "\"tag_checks\":{",
        "\"tag_checks\":{\"4000\":\"00000000000000000000000000000000\",",
        1,
    );
    assert_ne!(record, other);
    let () = connection.set(DEPLOYMENT, other).await.unwrap();
    assert!(service.check("deployment").await.unwrap().is_failed());
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.has_metric("voketag_durable_state_lost 1"));
    let () = connection.set(DEPLOYMENT, record).await.unwrap();
    eventually("it is ready", DEADLINE, || async { !service.check("deployment").await.unwrap().is_failed() })
        .await;
    assert_eq!(kind(service.storage.deployment.deployment()), "ok");
    assert_eq!(service.append().await.unwrap(), 0);
    service.storage.deployment.report_lost("a script found it gone");
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    service.storage.refresher.refresh().await.unwrap();
    assert_eq!(kind(service.storage.deployment.deployment()), "ok");
    assert!(service.has_metric("voketag_durable_state_lost 0"));
}

#[tokio::test]
async fn a_redis_that_stops_answering_does_not_lose_its_deployment() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let service = service(&proxy.url(), Init::Auto, Duration::from_millis(500));
    eventually("the deployment was created", DEADLINE, || async {
        service.storage.refresher.refresh().await.is_ok()
    })
    .await;
    proxy.stall();
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Redis(_))));
    assert!(
        service.storage.deployment.deployment().is_ok(),
        "only Redis can report that the deployment is lost"
    );
    assert_eq!(kind(service.append().await), "unavailable");
    proxy.heal();
    eventually("it appends again", DEADLINE, || async { service.append().await.is_ok() }).await;
}

#[tokio::test]
async fn a_chain_whose_head_is_missing_is_not_started_again() {
    let redis = RedisServer::start().await;
    let first = service(&redis.url(), Init::Auto, DEADLINE);
    first.storage.refresher.refresh().await.unwrap();
    first.append().await.unwrap();
    first.storage.refresher.refresh().await.unwrap();
    drop(first);
    let mut connection = redis.connection().await;
    let chain: Vec<String> = connection.keys("vt1:{audit}*").await.unwrap();
    let head: Vec<u8> = connection.get(HEAD).await.unwrap();
    let () = connection.del(HEAD).await.unwrap();
    // A restarted process has not seen a head itself.
    let second = service(&redis.url(), Init::Never, DEADLINE);
    assert!(matches!(second.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(second.append().await), "state-lost");
    assert!(second.check("audit").await.unwrap().is_failed());
    assert_eq!(second.storage.audit.seen_log().unwrap().least_size(), 1, "scans are rejected too");
    assert_eq!(connection.keys::<_, Vec<String>>("vt1:{audit}*").await.unwrap().len(), chain.len() - 1);
    let () = connection.set(HEAD, head).await.unwrap();
    second.storage.refresher.refresh().await.unwrap();
    assert_eq!(second.append().await.unwrap(), 1);
}

#[tokio::test]
async fn if_redis_rejects_a_command_of_an_append_nothing_is_written_and_readiness_names_it() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let allow = async |connection: &mut redis::aio::MultiplexedConnection, rule: &str| {
        let mut acl = redis::cmd("ACL");
        let () = acl.arg("SETUSER").arg("default").arg(rule).query_async(connection).await.unwrap();
    };
    for command in ["unlink", "rpush", "zrem", "pexpire"] {
        allow(&mut connection, &format!("-{command}")).await;
        let service = service(&redis.url(), Init::Auto, DEADLINE);
        service.storage.refresher.refresh().await.unwrap();
        let audit = service.check("audit").await.unwrap();
        let why = audit.detail().unwrap_or_default();
        assert!(audit.is_failed() && why.contains(&command.to_uppercase()), "{why}");
        assert_eq!(kind(service.append().await), "unavailable");
        assert!(!connection.exists::<_, bool>("vt1:{audit}:seg:0").await.unwrap());
        allow(&mut connection, &format!("+{command}")).await;
        eventually("appends are permitted", DEADLINE, || async {
            !service.check("audit").await.unwrap().is_failed()
        })
        .await;
    }
    let permitted = service(&redis.url(), Init::Never, DEADLINE);
    permitted.storage.refresher.refresh().await.unwrap();
    assert_eq!(permitted.append().await.unwrap(), 0);
    assert!(connection.keys::<_, Vec<String>>("vt1:{audit}:probe*").await.unwrap().is_empty());
}

#[tokio::test]
async fn without_the_expected_deployment_only_the_redis_check_passes() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Never, DEADLINE);
    let checks = service.storage.readiness.checks().await;
    let passes = |name: &str| checks.iter().any(|check| check.name == name && is_ok(check));
    assert_eq!(
        ["redis", "deployment", "audit", "audit_chain", "keyring", "storage"].map(passes),
        [true, false, false, false, false, false]
    );
}

#[test]
fn a_time_beyond_the_calendar_is_read_as_1970() {
    assert_eq!(from_unix_millis(1_771_243_200_123).unix_timestamp_nanos(), 1_771_243_200_123_000_000);
    assert_eq!(from_unix_millis(u64::MAX), OffsetDateTime::UNIX_EPOCH);
}

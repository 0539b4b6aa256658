//! The durable Redis as a service sees it: closed until a deployment was seen, and again when it is lost.

use std::time::Duration;

use ambient::from_unix_millis;
use audit_chain::keys::HEAD;
use catalog::{DeploymentError, Init, keys::DEPLOYMENT};
use redis::AsyncCommands;
use storage::{PartHealth, StorageCheck};
use test_support::{FaultProxy, RedisServer, eventually};
use time::OffsetDateTime;

use crate::support::{PATIENCE, STRONG, is_ok, kind, service};

#[tokio::test]
async fn before_redis_has_answered_it_is_away_and_not_lost() {
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
async fn a_connected_redis_that_was_not_read_yet_has_lost_nothing() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Never, PATIENCE);
    eventually("the pool is connected", PATIENCE, || async { service.storage.pool.stats().connected > 0 })
        .await;
    assert_eq!(kind(service.storage.deployment.deployment()), "unavailable");
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.shows("voketag_durable_state_lost 1"));
    assert!(service.check("deployment").await.unwrap().is_failed());
}

#[tokio::test]
async fn with_a_deployment_it_appends_and_all_checks_hold() {
    let redis = RedisServer::start_with(&STRONG).await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    let id = service.storage.refresher.refresh().await.unwrap().id().to_owned();
    assert_eq!(service.storage.deployment.deployment().unwrap().id(), id);
    assert_eq!(service.storage.deployment.gate().seen().unwrap().id(), id);
    assert_eq!(service.append().await.unwrap(), 0);
    assert_eq!(service.append().await.unwrap(), 1);
    let names = ["redis", "deployment", "audit", "audit_chain", "keyring", "storage"];
    assert_eq!(service.storage.readiness.checks().await, names.map(StorageCheck::ok));
    assert!(service.shows("voketag_durable_state_lost 0"));
    for concern in ["eviction", "fsync", "unknown"] {
        assert!(
            service.shows(&format!(
                "voketag_redis_storage_warnings{{pool=\"durable\",concern=\"{concern}\"}} 0"
            ))
        );
    }
    assert!(service.storage.catalog.product(&ambient::uuid_v7(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn weak_storage_is_a_warning() {
    for (args, concern) in [
        (&[][..], "fsync"),
        (&[STRONG.as_slice(), &["--maxmemory-policy", "allkeys-lru"]].concat(), "eviction"),
        (&["--rename-command", "CONFIG", ""], "unknown"),
    ] {
        let redis = RedisServer::start_with(args).await;
        let service = service(&redis.url(), Init::Auto, PATIENCE);
        service.storage.refresher.refresh().await.unwrap();
        let storage = service.check("storage").await.unwrap();
        assert!(matches!(storage.health, PartHealth::Warning(_)), "{storage:?}");
        assert!(
            service.shows(&format!(
                "voketag_redis_storage_warnings{{pool=\"durable\",concern=\"{concern}\"}} 1"
            )),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn it_opens_by_itself_once_the_record_is_there() {
    let redis = RedisServer::start().await;
    let waiting = service(&redis.url(), Init::Never, PATIENCE);
    let looking = tokio::spawn({
        let storage = waiting.storage.clone();
        async move { storage.refresher.keep_refreshing().await }
    });
    eventually("it has looked", PATIENCE, || async {
        kind(waiting.storage.deployment.deployment()) == "state-lost"
    })
    .await;
    service(&redis.url(), Init::Auto, PATIENCE).storage.refresher.refresh().await.unwrap();
    eventually("it has seen the deployment", PATIENCE, || async {
        waiting.storage.deployment.deployment().is_ok()
    })
    .await;
    assert_eq!(waiting.append().await.unwrap(), 0);
    looking.abort();
}

#[tokio::test]
async fn a_wiped_redis_refuses_the_next_append_and_shows_it() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    service.storage.refresher.refresh().await.unwrap();
    service.append().await.unwrap();
    let mut link = redis.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut link).await.unwrap();
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.shows("voketag_durable_state_lost 1"));
    assert!(service.storage.deployment.gate().last_error().is_some());
    assert!(service.check("deployment").await.unwrap().is_failed());
    assert!(!link.exists::<_, bool>(HEAD).await.unwrap(), "no second chain is begun");
    assert!(!link.exists::<_, bool>(DEPLOYMENT).await.unwrap(), "no second deployment is made");
}

#[tokio::test]
async fn an_older_copy_of_the_same_deployment_is_lost_state_until_the_true_one_is_back() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    service.storage.refresher.refresh().await.unwrap();
    service.append().await.unwrap();
    let mut link = redis.connection().await;
    let older: Vec<u8> = link.get(HEAD).await.unwrap();
    service.append().await.unwrap();
    let newest: Vec<u8> = link.get(HEAD).await.unwrap();
    let () = link.set(HEAD, older).await.unwrap();
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert!(service.check("audit").await.unwrap().is_failed());
    let () = link.set(HEAD, newest).await.unwrap();
    service.storage.refresher.refresh().await.unwrap();
    assert!(service.storage.deployment.deployment().is_ok());
    assert_eq!(service.append().await.unwrap(), 2);
}

#[tokio::test]
async fn what_makes_readiness_fail_for_lost_state_is_refused_and_what_mends_it_is_served() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    service.storage.refresher.refresh().await.unwrap();
    let mut link = redis.connection().await;
    let record: String = link.get(DEPLOYMENT).await.unwrap();
    // As a deployment of which another epoch came into use, whose secret this process has not got.
    let other = record.replacen(
        "\"tag_checks\":{",
        "\"tag_checks\":{\"4000\":\"00000000000000000000000000000000\",",
        1,
    );
    assert_ne!(record, other);
    let () = link.set(DEPLOYMENT, other).await.unwrap();
    assert!(service.check("deployment").await.unwrap().is_failed());
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    assert_eq!(kind(service.append().await), "state-lost");
    assert!(service.shows("voketag_durable_state_lost 1"));
    let () = link.set(DEPLOYMENT, record).await.unwrap();
    eventually("it is ready", PATIENCE, || async { !service.check("deployment").await.unwrap().is_failed() })
        .await;
    assert_eq!(kind(service.storage.deployment.deployment()), "ok");
    assert_eq!(service.append().await.unwrap(), 0);
    service.storage.deployment.report_lost("a script found it gone");
    assert_eq!(kind(service.storage.deployment.deployment()), "state-lost");
    service.storage.refresher.refresh().await.unwrap();
    assert_eq!(kind(service.storage.deployment.deployment()), "ok");
    assert!(service.shows("voketag_durable_state_lost 0"));
}

#[tokio::test]
async fn a_redis_that_stopped_answering_keeps_its_deployment() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let service = service(&proxy.url(), Init::Auto, Duration::from_millis(500));
    eventually("the deployment is made", PATIENCE, || async {
        service.storage.refresher.refresh().await.is_ok()
    })
    .await;
    proxy.stall();
    assert!(matches!(service.storage.refresher.refresh().await, Err(DeploymentError::Redis(_))));
    assert!(service.storage.deployment.deployment().is_ok(), "whether it still stands only Redis can tell");
    assert_eq!(kind(service.append().await), "unavailable");
    proxy.heal();
    eventually("it appends again", PATIENCE, || async { service.append().await.is_ok() }).await;
}

#[tokio::test]
async fn a_chain_that_was_begun_is_begun_a_second_time_by_nobody() {
    let redis = RedisServer::start().await;
    let first = service(&redis.url(), Init::Auto, PATIENCE);
    first.storage.refresher.refresh().await.unwrap();
    first.append().await.unwrap();
    first.storage.refresher.refresh().await.unwrap();
    drop(first);
    let mut link = redis.connection().await;
    let chain: Vec<String> = link.keys("vt1:{audit}*").await.unwrap();
    let head: Vec<u8> = link.get(HEAD).await.unwrap();
    let () = link.del(HEAD).await.unwrap();
    // A process that starts anew has seen no head itself.
    let second = service(&redis.url(), Init::Never, PATIENCE);
    assert!(matches!(second.storage.refresher.refresh().await, Err(DeploymentError::Lost(_))));
    assert_eq!(kind(second.append().await), "state-lost");
    assert!(second.check("audit").await.unwrap().is_failed());
    assert_eq!(second.storage.audit.seen_log().unwrap().least_size(), 1, "scans are refused too");
    assert_eq!(link.keys::<_, Vec<String>>("vt1:{audit}*").await.unwrap().len(), chain.len() - 1);
    let () = link.set(HEAD, head).await.unwrap();
    second.storage.refresher.refresh().await.unwrap();
    assert_eq!(second.append().await.unwrap(), 1);
}

#[tokio::test]
async fn a_redis_that_refuses_a_command_of_an_append_is_written_nothing_and_says_which() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    let allow = async |link: &mut redis::aio::MultiplexedConnection, rule: &str| {
        let mut acl = redis::cmd("ACL");
        let () = acl.arg("SETUSER").arg("default").arg(rule).query_async(link).await.unwrap();
    };
    for command in ["unlink", "rpush", "zrem", "pexpire"] {
        allow(&mut link, &format!("-{command}")).await;
        let service = service(&redis.url(), Init::Auto, PATIENCE);
        service.storage.refresher.refresh().await.unwrap();
        let audit = service.check("audit").await.unwrap();
        let why = audit.detail().unwrap_or_default();
        assert!(audit.is_failed() && why.contains(&command.to_uppercase()), "{why}");
        assert_eq!(kind(service.append().await), "unavailable");
        assert!(!link.exists::<_, bool>("vt1:{audit}:seg:0").await.unwrap());
        allow(&mut link, &format!("+{command}")).await;
        eventually("it may append", PATIENCE, || async {
            !service.check("audit").await.unwrap().is_failed()
        })
        .await;
    }
    let mended = service(&redis.url(), Init::Never, PATIENCE);
    mended.storage.refresher.refresh().await.unwrap();
    assert_eq!(mended.append().await.unwrap(), 0);
    assert!(link.keys::<_, Vec<String>>("vt1:{audit}:probe*").await.unwrap().is_empty());
}

#[tokio::test]
async fn behind_a_deployment_that_is_not_ours_nothing_is_called_right() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Never, PATIENCE);
    let checks = service.storage.readiness.checks().await;
    let right = |name: &str| checks.iter().any(|check| check.name == name && is_ok(check));
    assert_eq!(
        ["redis", "deployment", "audit", "audit_chain", "keyring", "storage"].map(right),
        [true, false, false, false, false, false]
    );
}

#[test]
fn a_time_that_no_calendar_holds_is_1970() {
    assert_eq!(from_unix_millis(1_771_243_200_123).unix_timestamp_nanos(), 1_771_243_200_123_000_000);
    assert_eq!(from_unix_millis(u64::MAX), OffsetDateTime::UNIX_EPOCH);
}

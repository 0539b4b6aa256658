//! The durable Redis as a service sees it: closed until a deployment was seen, and again when it is lost.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use audit_chain::{AuditMetrics, Details, Effect, NewEvent, keys::HEAD};
use catalog::{DeploymentError, Expectation, Init, keys::DEPLOYMENT};
use http_edge::{ApiError, Check};
use prometheus_client::registry::Registry;
use redis::AsyncCommands;
use redis_pool::{Config, PoolMetrics, RedisPool};
use service_kit::durable::{Durable, DurableMetrics, from_unix_millis};
use tag_id::{Epoch, Keyring, MasterSecret};
use test_support::{FaultProxy, RedisServer, eventually};
use time::OffsetDateTime;

const PATIENCE: Duration = Duration::from_secs(30);
const STRONG: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

struct Service {
    durable: Arc<Durable>,
    registry: Registry,
}

fn service(url: &str, init: Init, command_timeout: Duration) -> Service {
    let clock = Arc::new(SystemClock::new());
    let config = Config {
        name: "durable",
        url: url.parse().unwrap(),
        slots: NonZeroUsize::new(8).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: PATIENCE,
        command_timeout,
    };
    let pool = RedisPool::new(config, clock.clone(), &PoolMetrics::default());
    let expectation = Expectation {
        keyring: Arc::new(Keyring::new(Some(MasterSecret::from([7; 32])), [])),
        adds_epoch: Some(Epoch::MIN),
        audit_origin: "voketag.local/audit".to_owned(),
    };
    let mut registry = Registry::with_prefix("voketag");
    let audit = AuditMetrics::register(&mut registry);
    let metrics = DurableMetrics::register(&mut registry);
    let durable = Durable::new(pool, expectation, init, clock, audit, metrics);
    Service { durable: Arc::new(durable), registry }
}

impl Service {
    fn shows(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().any(|shown| shown == line)
    }

    async fn check(&self, name: &str) -> Option<Check> {
        self.durable.checks().await.into_iter().find(|check| check.name == name)
    }

    async fn append(&self) -> Result<u64, ApiError> {
        let event = NewEvent {
            tenant: "acme".to_owned(),
            actor: "test".to_owned(),
            action: "product.created".to_owned(),
            resource: "product/1".to_owned(),
            request_id: "r".to_owned(),
            ip: None,
            details: Details::new(),
        };
        let appended = self.durable.append(event, Effect::default()).await;
        appended.map(|appended| appended.seq).map_err(ApiError::from)
    }
}

fn slug<T>(outcome: Result<T, ApiError>) -> &'static str {
    outcome.map(|_| "ok").unwrap_or_else(|error| error.slug())
}

#[tokio::test]
async fn before_redis_has_answered_it_is_away_and_not_lost() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let service = service(&redis.url(), Init::Auto, Duration::from_millis(200));
    assert_eq!(slug(service.durable.deployment()), "redis-unavailable");
    assert_eq!(slug(service.durable.appender()), "redis-unavailable");
    assert_eq!(slug(service.append().await), "redis-unavailable");
    assert!(matches!(service.durable.look().await, Err(DeploymentError::Redis(_))));
    assert_eq!(slug(service.durable.deployment()), "redis-unavailable");
    let checks = service.durable.checks().await;
    let shown: Vec<(&str, bool)> = checks.iter().map(|check| (check.name.as_ref(), check.ok)).collect();
    assert_eq!(shown, [("redis", false), ("deployment", false), ("audit", false), ("storage", false)]);
}

#[tokio::test]
async fn a_connected_redis_that_was_not_read_yet_has_lost_nothing() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Never, PATIENCE);
    eventually("the pool is connected", PATIENCE, || async { service.durable.pool().stats().connected > 0 })
        .await;
    assert_eq!(slug(service.durable.deployment()), "redis-unavailable");
    assert!(matches!(service.durable.look().await, Err(DeploymentError::Lost(_))));
    assert_eq!(slug(service.durable.deployment()), "state-lost");
    assert_eq!(slug(service.append().await), "state-lost");
    assert!(service.shows("voketag_durable_state_lost 1"));
    assert!(!service.check("deployment").await.unwrap().ok);
}

#[tokio::test]
async fn with_a_deployment_it_appends_and_all_checks_hold() {
    let redis = RedisServer::start_with(&STRONG).await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    let id = service.durable.look().await.unwrap().id().to_owned();
    assert_eq!(service.durable.deployment().unwrap().id(), id);
    assert_eq!(service.durable.gate().seen().unwrap().id(), id);
    assert_eq!(service.append().await.unwrap(), 0);
    assert_eq!(service.append().await.unwrap(), 1);
    let names = ["redis", "deployment", "audit", "storage"];
    assert_eq!(service.durable.checks().await, names.map(Check::ok));
    assert!(service.shows("voketag_durable_state_lost 0"));
    for concern in ["eviction", "fsync", "unknown"] {
        assert!(service.shows(&format!("voketag_redis_storage_warnings{{concern=\"{concern}\"}} 0")));
    }
    assert!(service.durable.catalog().product(&ambient::uuid_v7(0)).await.unwrap().is_none());
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
        service.durable.look().await.unwrap();
        let storage = service.check("storage").await.unwrap();
        assert!(storage.ok && storage.warn && storage.detail.is_some(), "{storage:?}");
        assert!(
            service.shows(&format!("voketag_redis_storage_warnings{{concern=\"{concern}\"}} 1")),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn it_opens_by_itself_once_the_record_is_there() {
    let redis = RedisServer::start().await;
    let waiting = service(&redis.url(), Init::Never, PATIENCE);
    let looking = tokio::spawn({
        let durable = Arc::clone(&waiting.durable);
        async move { durable.keep_looking().await }
    });
    eventually("it has looked", PATIENCE, || async { slug(waiting.durable.deployment()) == "state-lost" })
        .await;
    service(&redis.url(), Init::Auto, PATIENCE).durable.look().await.unwrap();
    eventually("it has seen the deployment", PATIENCE, || async { waiting.durable.deployment().is_ok() })
        .await;
    assert_eq!(waiting.append().await.unwrap(), 0);
    looking.abort();
}

#[tokio::test]
async fn a_wiped_redis_refuses_the_next_append_and_shows_it() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    service.durable.look().await.unwrap();
    service.append().await.unwrap();
    let mut link = redis.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut link).await.unwrap();
    assert_eq!(slug(service.append().await), "state-lost");
    assert!(service.shows("voketag_durable_state_lost 1"));
    assert!(service.durable.gate().trouble().is_some());
    assert!(!service.check("deployment").await.unwrap().ok);
    assert!(!link.exists::<_, bool>(HEAD).await.unwrap(), "no second chain is begun");
    assert!(!link.exists::<_, bool>(DEPLOYMENT).await.unwrap(), "no second deployment is made");
}

#[tokio::test]
async fn an_older_copy_of_the_same_deployment_is_lost_state_until_the_true_one_is_back() {
    let redis = RedisServer::start().await;
    let service = service(&redis.url(), Init::Auto, PATIENCE);
    service.durable.look().await.unwrap();
    service.append().await.unwrap();
    let mut link = redis.connection().await;
    let older: Vec<u8> = link.get(HEAD).await.unwrap();
    service.append().await.unwrap();
    let newest: Vec<u8> = link.get(HEAD).await.unwrap();
    let () = link.set(HEAD, older).await.unwrap();
    assert!(matches!(service.durable.look().await, Err(DeploymentError::Lost(_))));
    assert_eq!(slug(service.durable.deployment()), "state-lost");
    assert!(!service.check("audit").await.unwrap().ok);
    let () = link.set(HEAD, newest).await.unwrap();
    service.durable.look().await.unwrap();
    assert!(service.durable.deployment().is_ok());
    assert_eq!(service.append().await.unwrap(), 2);
}

#[tokio::test]
async fn a_redis_that_stopped_answering_keeps_its_deployment() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let service = service(&proxy.url(), Init::Auto, Duration::from_millis(500));
    eventually("the deployment is made", PATIENCE, || async { service.durable.look().await.is_ok() }).await;
    proxy.stall();
    assert!(matches!(service.durable.look().await, Err(DeploymentError::Redis(_))));
    assert!(service.durable.deployment().is_ok(), "whether it still stands only Redis can tell");
    assert_eq!(slug(service.append().await), "redis-unavailable");
    proxy.heal();
    eventually("it appends again", PATIENCE, || async { service.append().await.is_ok() }).await;
}

#[test]
fn a_time_that_no_calendar_holds_is_1970() {
    assert_eq!(from_unix_millis(1_771_243_200_123).unix_timestamp_nanos(), 1_771_243_200_123_000_000);
    assert_eq!(from_unix_millis(u64::MAX), OffsetDateTime::UNIX_EPOCH);
}

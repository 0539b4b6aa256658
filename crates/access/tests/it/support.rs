//! Fixture of the tests: a Redis with a deployment record, its pool, an appender, and records.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use access::{ApiKey, KeyRecord, Scope, Scopes, Tenant, TenantId};
use ambient::{Clock, SystemClock, entropy};
use audit_chain::{AppendError, Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent};
use redis::AsyncCommands;
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use test_support::RedisServer;
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-02-16 12:00 UTC);
pub(crate) const DEPLOYMENT: &str = r#"{"id":"ab""#;

/// A private Redis that holds a deployment record.
pub(crate) struct Fixture {
    pub(crate) redis: RedisServer,
    pub(crate) pool: RedisPool,
    appender: Appender,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::start().await;
        let record = format!("{DEPLOYMENT},\"more\":1}}");
        let () = redis.connection().await.set("vt1:deployment", record).await.unwrap();
        let pool = pool(&redis.url());
        let config = AppenderConfig::new("voketag.local/audit", Vec::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let appender = Appender::start(pool.clone(), config, clock, &AuditMetrics::default());
        Self { redis, pool, appender }
    }

    /// Writes an effect with an audit event, as the factory-service does.
    pub(crate) async fn apply(&self, effect: Effect) -> Result<(), AppendError> {
        let what = NewEvent {
            tenant: "default".into(),
            actor: "key/test".into(),
            action: "key.created".into(),
            resource: "key/test".into(),
            request_id: "req".into(),
            ip: None,
            details: Details::new(),
        };
        let now = SystemClock::new().unix_millis();
        let event = Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what).unwrap();
        self.appender.append(&event, effect).await.map(drop)
    }

    /// Returns the index of the precondition that fails when `effect` is applied.
    pub(crate) async fn failed_precondition(&self, effect: Effect) -> usize {
        match self.apply(effect).await {
            Err(AppendError::Precondition { check }) => check,
            other => panic!("{other:?}"),
        }
    }

    /// Creates a tenant.
    pub(crate) async fn tenant(&self, id: &str) -> Tenant {
        let tenant = tenant(id);
        self.apply(access::create_tenant(&tenant)).await.unwrap();
        tenant
    }

    /// Creates a key with the scope `scan:partner`.
    pub(crate) async fn key(&self, tenant: &str) -> (ApiKey, KeyRecord) {
        let (key, record) = key_of(tenant);
        self.apply(access::create_key(&record)).await.unwrap();
        (key, record)
    }
}

pub(crate) fn pool(url: &str) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(16).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: Duration::from_secs(10),
        command_timeout: Duration::from_secs(10),
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

pub(crate) fn tenant(id: &str) -> Tenant {
    Tenant::new(id.parse().unwrap(), Some(format!("{id} Ltd")), NOW)
}

pub(crate) fn key_of(tenant: &str) -> (ApiKey, KeyRecord) {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: *key.id(),
        tenant: tenant.parse::<TenantId>().unwrap(),
        digest: *key.digest(),
        scopes: Scopes::from([Scope::ScanPartner]),
        label: None,
        created_at: NOW,
        created_by: "key/test".to_owned(),
        expires_at: None,
        revoked: None,
        rotated: None,
        replaces: None,
    };
    (key, record)
}

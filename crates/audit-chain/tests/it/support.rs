//! Pools, appenders and events for the tests.

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent, RedisWrite};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ORIGIN: &str = "voketag.local/audit";

/// A command timeout that a busy machine does not reach.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// A command timeout for tests in which no reply comes.
pub(crate) const HASTY: Duration = Duration::from_secs(1);

pub(crate) fn pool(url: &str, command_timeout: Duration) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(16).unwrap(),
        connections: NonZeroUsize::new(1).unwrap(),
        wait: Duration::from_secs(30),
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

/// The default configuration with a deadline that a busy machine does not reach.
pub(crate) fn config() -> AppenderConfig {
    AppenderConfig { deadline: Duration::from_secs(60), ..AppenderConfig::new(ORIGIN, Vec::new()) }
}

pub(crate) fn appender_with(url: &str, command_timeout: Duration, config: AppenderConfig) -> Appender {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Appender::start(pool(url, command_timeout), config, clock, &AuditMetrics::default())
}

pub(crate) fn appender(url: &str) -> Appender {
    appender_with(url, PATIENT, config())
}

/// An event about `resource` with a new id.
pub(crate) fn event(resource: &str) -> Event {
    event_with(resource, Details::new())
}

pub(crate) fn event_with(resource: &str, details: Details) -> Event {
    let what = NewEvent {
        tenant: "default".into(),
        actor: "key/test".into(),
        action: "tag.revoked".into(),
        resource: resource.into(),
        request_id: "req".into(),
        ip: None,
        details,
    };
    let now = SystemClock::new().unix_millis();
    Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what).unwrap()
}

/// An effect that writes a key named after the event.
pub(crate) fn trace_of(event: &Event) -> Effect {
    Effect::none().write(RedisWrite::Set { key: trace_key(event), value: event.id().to_string().into() })
}

pub(crate) fn trace_key(event: &Event) -> Vec<u8> {
    format!("trace:{}", event.id()).into_bytes()
}

/// Reads all events of the chain, in order, by pages. Panics unless the chain verifies.
pub(crate) async fn verified_events(appender: &Appender) -> Vec<Event> {
    let report = appender.log().verify(0..u64::MAX).await.unwrap();
    assert!(report.ok, "{report:?}");
    let mut events = Vec::new();
    let mut after = None;
    loop {
        let page = appender.log().entries(after, NonZeroUsize::new(200).unwrap()).await.unwrap();
        for entry in page.events {
            assert_eq!(entry.seq, events.len() as u64);
            events.push(Event::parse(entry.event.get().as_bytes()).unwrap());
        }
        after = page.next;
        if after.is_none() {
            assert_eq!(events.len() as u64, report.checked);
            return events;
        }
    }
}

//! Two writers that append to one audit chain, as two processes of a service do.
//!
//! ```text
//! redis-server --port 6390 --save '' &
//! cargo run -p audit-chain --example two_writers redis://127.0.0.1:6390
//! ```
//!
//! Each writer appends 1,000 events, and each event writes a key in the same script call. Then the chain is
//! verified and holds every acknowledged event exactly once, whichever writer won the races for the head.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent, RedisWrite};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};

const EVENTS: u64 = 1_000;

fn writer(url: &str) -> Result<Appender, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig {
        name: "durable",
        url: url.parse()?,
        permits: NonZeroUsize::new(16).ok_or("not zero")?,
        connections: NonZeroUsize::new(1).ok_or("not zero")?,
        wait: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        open_for: redis_pool::OPEN_FOR,
    };
    let pool = RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default());
    let config = AppenderConfig::new("example.com/audit", Vec::new());
    Ok(Appender::start(pool, config, clock, &AuditMetrics::default()))
}

async fn append_all(appender: &Appender, actor: &'static str) -> Result<(), Box<dyn Error>> {
    for number in 0..EVENTS {
        let resource = format!("item/{actor}/{number}");
        let what = NewEvent {
            tenant: "default".into(),
            actor: actor.into(),
            action: "item.made".into(),
            resource: resource.clone(),
            request_id: format!("{actor}-{number}"),
            ip: None,
            details: Details::new(),
        };
        let now = SystemClock::new().unix_millis();
        let event = Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what)?;
        let effect =
            Effect::none().write(RedisWrite::Set { key: resource.into_bytes(), value: "made".into() });
        // On success the event, its effect and the head were written together.
        appender.append(&event, effect).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let (one, two) = (writer(&url)?, writer(&url)?);
    let before = one.log().head().await?.size;
    tokio::try_join!(append_all(&one, "writer-1"), append_all(&two, "writer-2"))?;
    let report = one.log().verify(0..u64::MAX).await?;
    println!("{} events appended, {} verified, ok: {}", report.head.size - before, report.checked, report.ok);
    println!("head {}", report.head.hash);
    Ok(())
}

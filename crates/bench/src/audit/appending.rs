//! Many writers, one appender, one chain; and the yardstick beside it.
//!
//! A writer makes an event, hands it in, and makes the next once it was answered. Afterwards the chain must have grown by
//! exactly what was acknowledged, and verify. The yardstick writes the same bytes with bare `RPUSH`es, as many entries at
//! a time as there are writers, without hashing, deduplication or a check of the head.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent};
use redis_pool::{PoolMetrics, RedisPool, RedisUrl};

use crate::error::BenchError;
use crate::yardstick;

pub(crate) const ORIGIN: &str = "voketag.local/audit";
/// As many as the appender writes with one call, unless told otherwise.
const MOST_PER_CALL: usize = 256;
const BARE_KEY: &str = "bench:bare";

/// When an appending run is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After that many events.
    Events(u64),
    /// After that long.
    After(Duration),
}

/// What an appending run came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendRun {
    /// Answered with their place in the chain.
    pub(crate) acknowledged: u64,
    /// Answered with an error.
    pub(crate) refused: u64,
    /// Acknowledged and not in the chain.
    pub(crate) lost: u64,
    took: Duration,
}

impl AppendRun {
    /// Acknowledged events per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// A chain and its one appender, with a pool as the services set it up.
pub(crate) struct Chain {
    pool: RedisPool,
    appender: Appender,
    clock: Arc<dyn Clock>,
}

impl Chain {
    /// Must be called inside a tokio runtime.
    pub(crate) fn open(url: &RedisUrl) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let pool = yardstick::pool("audit", url, &clock, &PoolMetrics::default());
        let config = AppenderConfig::new(ORIGIN, Vec::new());
        let appender = Appender::start(pool.clone(), config, Arc::clone(&clock), &AuditMetrics::default());
        Self { pool, appender, clock }
    }

    /// Appends from that many writers at once, then verifies what was appended.
    ///
    /// # Errors
    /// When the chain cannot be read, or does not verify.
    pub(crate) async fn append(&self, writers: usize, until: Until) -> Result<AppendRun, BenchError> {
        let before = self.size().await?;
        let course = Arc::new(Course::new(&self.clock, until));
        let began = self.clock.monotonic();
        let tasks: Vec<_> = (0..writers)
            .map(|_| tokio::spawn(write(self.appender.clone(), Arc::clone(&course), Arc::clone(&self.clock))))
            .collect();
        for task in tasks {
            task.await.map_err(BenchError::unexpected("a writer"))?;
        }
        let took = self.clock.monotonic().saturating_sub(began);
        let acknowledged = course.acknowledged.load(Ordering::Relaxed);
        let report = self.appender.log().verify(before..u64::MAX).await;
        let report = report.map_err(BenchError::unexpected("verifying what was appended"))?;
        if let Some(error) = report.first_error {
            return Err(BenchError::Unexpected(format!("entry {} of the chain: {}", error.seq, error.why)));
        }
        Ok(AppendRun {
            acknowledged,
            refused: course.refused.load(Ordering::Relaxed),
            lost: acknowledged.saturating_sub(report.checked),
            took,
        })
    }

    /// Entries per second with bare `RPUSH`es of the same bytes, as many at a time as `writers` lets wait.
    ///
    /// # Errors
    /// When Redis refuses one.
    pub(crate) async fn push_bare(&self, writers: usize, time: Duration) -> Result<f64, BenchError> {
        let element = [&[0; 32][..], event(self.clock.unix_millis(), 0)?.payload()].concat();
        let elements = vec![&element[..]; writers.min(MOST_PER_CALL)];
        let began = self.clock.monotonic();
        let (mut written, mut took) = (0, Duration::ZERO);
        while took < time {
            let mut push = redis::cmd("RPUSH");
            push.arg(BARE_KEY).arg(&elements);
            self.pool.command(push).await.map_err(BenchError::unexpected("a bare RPUSH"))?;
            written += elements.len();
            took = self.clock.monotonic().saturating_sub(began);
        }
        let mut clean = redis::cmd("UNLINK");
        clean.arg(BARE_KEY);
        self.pool.command(clean).await.map_err(BenchError::unexpected("cleaning up"))?;
        Ok(written as f64 / took.as_secs_f64().max(1e-9))
    }

    /// Entries of the chain.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn size(&self) -> Result<u64, BenchError> {
        let head = self.appender.log().head().await;
        Ok(head.map_err(BenchError::unexpected("reading the audit head"))?.size)
    }
}

/// What all writers share.
struct Course {
    left: AtomicU64,
    ends: Duration,
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

impl Course {
    fn new(clock: &Arc<dyn Clock>, until: Until) -> Self {
        let (left, ends) = match until {
            Until::Events(events) => (events, Duration::MAX),
            Until::After(time) => (u64::MAX, clock.monotonic() + time),
        };
        Self { left: AtomicU64::new(left), ends, acknowledged: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Counts down; none once the run is over.
    fn take(&self, now: Duration) -> Option<u64> {
        if now >= self.ends {
            return None;
        }
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
    }
}

async fn write(appender: Appender, course: Arc<Course>, clock: Arc<dyn Clock>) {
    while let Some(number) = course.take(clock.monotonic()) {
        let Ok(event) = event(clock.unix_millis(), number) else { return };
        let counter = match appender.append(&event, Effect::none()).await {
            Ok(_) => &course.acknowledged,
            Err(_) => &course.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An event such as a revocation leaves.
fn event(now: u64, number: u64) -> Result<Event, BenchError> {
    let what = NewEvent {
        tenant: "default".into(),
        actor: "key/bootstrap".into(),
        action: "tag.revoked".into(),
        resource: "tag/85e49ec3-de12-8001-bccf-0ce2e6986017".into(),
        request_id: ambient::uuid_v7(now).to_string(),
        ip: Some(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        details: Details::new().with("reason", "reported stolen").with("number", number.to_string()),
    };
    Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what)
        .map_err(BenchError::unexpected("an event of our own"))
}

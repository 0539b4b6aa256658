//! Many writers with one appender on one chain, and the baseline.
//!
//! A writer appends an event, waits for its result, and appends the next. Afterwards the chain must have
//! grown by exactly what was acknowledged, and must be valid. The baseline writes the same bytes with
//! `RPUSH`, as many entries per call as there are writers, without hashing, deduplication or a check of the
//! head.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{Appender, AppenderConfig, AuditMetrics, Details, Effect, Event, NewEvent};
use redis_pool::{PoolMetrics, RedisPool, RedisUrl};

use crate::baseline;
use crate::error::BenchError;

pub(crate) const ORIGIN: &str = "voketag.local/audit";
/// The appender's default number of entries per call.
const MOST_PER_CALL: usize = 256;
const BARE_KEY: &str = "bench:bare";

/// The end of an append run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After that many events.
    Events(u64),
    /// After that time.
    After(Duration),
}

/// The result of an append run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendRun {
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Events that failed.
    pub(crate) refused: u64,
    /// Events that were acknowledged but are not in the chain.
    pub(crate) lost: u64,
    took: Duration,
}

impl AppendRun {
    /// Acknowledged events per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// A chain and its only appender, on a pool with the settings of the services.
pub(crate) struct Chain {
    pool: RedisPool,
    appender: Appender,
    clock: Arc<dyn Clock>,
}

impl Chain {
    /// Must be called inside a tokio runtime.
    pub(crate) fn open(url: &RedisUrl) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let pool = baseline::pool("audit", url, &clock, &PoolMetrics::default());
        let config = AppenderConfig::new(ORIGIN, Vec::new());
        let appender = Appender::start(pool.clone(), config, Arc::clone(&clock), &AuditMetrics::default());
        Self { pool, appender, clock }
    }

    /// Appends from that many concurrent writers, then verifies the new entries.
    ///
    /// # Errors
    /// Fails if the chain cannot be read, or if it is not valid.
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

    /// Returns the entries per second with `RPUSH` of the same bytes, with as many per call as there are
    /// writers.
    ///
    /// # Errors
    /// Fails if Redis rejects one.
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
    /// Fails if it cannot be read.
    pub(crate) async fn size(&self) -> Result<u64, BenchError> {
        let head = self.appender.log().head().await;
        Ok(head.map_err(BenchError::unexpected("reading the audit head"))?.size)
    }
}

/// The state that all writers share.
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

    /// Takes one event of the run. Returns `None` at its end.
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

/// Returns an event like that of a revocation.
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

//! The durable Redis as a service sees it: its pool, the deployment gate, the audit appender, and what an operator should know.
//!
//! It starts without Redis. A background task looks until a deployment record has been read that matches; only then is
//! there an appender. Afterwards every script compares the record itself, so a wiped Redis is noticed by the very next call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ambient::{Clock, entropy};
use audit_chain::{
    AppendError, Appended, Appender, AppenderConfig, AuditMetrics, Effect, Event, NewEvent, ReadError,
};
use catalog::{Catalog, Deployment, DeploymentError, DeploymentGate, Expectation, Init, StoragePolicy};
use http_edge::{ApiError, Check};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis_pool::RedisPool;
use time::OffsetDateTime;

use crate::errors;

/// Pause between two looks at the deployment record: before the first was seen, and after.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How long an answer of the readiness probe stands, so that asking for it often costs Redis nothing.
const READINESS_STANDS: Duration = Duration::from_millis(200);
/// How often the settings of Redis are read.
const POLICY_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConcernLabel {
    concern: &'static str,
}

/// The gauges `durable_state_lost` and `redis_storage_warnings`.
#[derive(Debug, Clone, Default)]
pub struct DurableMetrics {
    lost: Gauge,
    warnings: Family<ConcernLabel, Gauge>,
}

impl DurableMetrics {
    /// Registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "durable_state_lost",
            "1 while the deployment record is missing or another",
            metrics.lost.clone(),
        );
        registry.register(
            "redis_storage_warnings",
            "1 where the settings of the durable Redis may lose what was acknowledged, by concern",
            metrics.warnings.clone(),
        );
        metrics
    }

    fn show(&self, policy: &StoragePolicy) {
        let set = |concern, on: bool| {
            self.warnings.get_or_create(&ConcernLabel { concern }).set(i64::from(on));
        };
        set("eviction", policy.may_evict());
        set("fsync", policy.is_weak());
        set("unknown", policy.eviction.is_none() || policy.fsync.is_none());
    }
}

/// The durable Redis.
#[derive(Debug)]
pub struct Durable {
    pool: RedisPool,
    catalog: Catalog,
    gate: DeploymentGate,
    audit_origin: String,
    audit_metrics: AuditMetrics,
    metrics: DurableMetrics,
    appender: OnceLock<Appender>,
    /// Whether the audit head was found lower than, or another than, one seen before.
    head_lost: AtomicBool,
    clock: Arc<dyn Clock>,
    policy: Mutex<PolicySeen>,
    readiness: tokio::sync::Mutex<Option<(Duration, Vec<Check>)>>,
}

#[derive(Debug, Default)]
struct PolicySeen {
    read_at: Option<Duration>,
    warnings: Vec<String>,
}

impl Durable {
    /// Nothing is asked of Redis yet: see [`Self::keep_looking`].
    #[must_use]
    pub fn new(
        pool: RedisPool,
        expectation: Expectation,
        init: Init,
        clock: Arc<dyn Clock>,
        audit_metrics: AuditMetrics,
        metrics: DurableMetrics,
    ) -> Self {
        Self {
            catalog: Catalog::new(pool.clone()),
            audit_origin: expectation.audit_origin.clone(),
            gate: DeploymentGate::new(pool.clone(), expectation, init),
            pool,
            audit_metrics,
            metrics,
            appender: OnceLock::new(),
            head_lost: AtomicBool::new(false),
            clock,
            policy: Mutex::default(),
            readiness: tokio::sync::Mutex::new(None),
        }
    }

    /// Looks at the deployment record again and again; ends only with the process.
    pub async fn keep_looking(&self) {
        loop {
            let found = self.look().await;
            let pause = if found.is_ok() || self.gate.seen().is_some() { LOOK_EVERY.1 } else { LOOK_EVERY.0 };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }

    /// Looks once: makes or compares the deployment record, and reads the settings of Redis when that is due.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn look(&self) -> Result<&Deployment, DeploymentError> {
        let found = self.look_at_both().await;
        match &found {
            Ok(_) => {
                self.metrics.lost.set(0);
                self.read_policy().await;
            }
            Err(DeploymentError::Lost(_)) => {
                self.metrics.lost.set(1);
            }
            Err(DeploymentError::Redis(_)) => {}
        }
        found
    }

    /// The record, and then the audit head: an older copy of the same deployment lacks revocations that were acknowledged.
    async fn look_at_both(&self) -> Result<&Deployment, DeploymentError> {
        let deployment = self.gate.look(self.now()).await?;
        let appender = self.appender.get_or_init(|| self.start_appender(deployment));
        match appender.log().head().await {
            Ok(_) => {
                if self.head_lost.swap(false, Ordering::AcqRel) {
                    tracing::info!("the audit head is again one that this process can go on from");
                }
                Ok(deployment)
            }
            Err(ReadError::StateLost(why)) => {
                if !self.head_lost.swap(true, Ordering::AcqRel) {
                    tracing::error!(%why, "the durable Redis has lost VokeTag's state");
                }
                Err(DeploymentError::Lost(why.to_string()))
            }
            Err(ReadError::Redis(error)) => Err(DeploymentError::Redis(error)),
            // What is damaged inside the chain is for verification to tell; scans do not depend on it.
            Err(ReadError::Damaged { .. }) => Ok(deployment),
        }
    }

    fn start_appender(&self, deployment: &Deployment) -> Appender {
        let config = AppenderConfig::new(self.audit_origin.clone(), vec![deployment.guard()]);
        Appender::start(self.pool.clone(), config, Arc::clone(&self.clock), &self.audit_metrics)
    }

    async fn read_policy(&self) {
        let now = self.clock.monotonic();
        if self.policy.lock().read_at.is_some_and(|read_at| now.saturating_sub(read_at) < POLICY_EVERY) {
            return;
        }
        let Ok(policy) = StoragePolicy::read(&self.pool).await else { return };
        self.metrics.show(&policy);
        let warnings = policy.warnings(true);
        let mut seen = self.policy.lock();
        if seen.warnings != warnings {
            for warning in &warnings {
                tracing::warn!(warning, "the durable Redis is not set up to keep everything");
            }
        }
        *seen = PolicySeen { read_at: Some(now), warnings };
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &RedisPool {
        &self.pool
    }

    /// Reading products, batches and tags.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The gate, for batch numbers and for reporting a loss that a script found.
    #[must_use]
    pub fn gate(&self) -> &DeploymentGate {
        &self.gate
    }

    /// The wall clock's time in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        from_unix_millis(self.clock.unix_millis())
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The deployment this process works on, once seen.
    ///
    /// # Errors
    /// 503 before: `redis-unavailable` while Redis has not answered yet, else `state-lost`.
    pub fn deployment(&self) -> Result<&Deployment, ApiError> {
        if self.head_lost.load(Ordering::Acquire) {
            return Err(errors::state_lost());
        }
        self.gate.seen().ok_or_else(|| self.closed())
    }

    /// The audit appender.
    ///
    /// # Errors
    /// As [`Self::deployment`].
    pub fn appender(&self) -> Result<&Appender, ApiError> {
        self.deployment()?;
        self.appender.get().ok_or_else(|| self.closed())
    }

    fn closed(&self) -> ApiError {
        if self.pool.stats().connected == 0 || !self.gate.is_lost() {
            return ApiError::RedisUnavailable { retry_after: Duration::from_secs(1) };
        }
        errors::state_lost()
    }

    /// Notes a loss that a script found: the next readiness probe says so too.
    pub fn report_lost(&self, why: &str) {
        self.metrics.lost.set(1);
        self.gate.report_lost(why);
    }

    /// Appends an event that happens now, with its effect.
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub async fn append(&self, what: NewEvent, effect: Effect) -> Result<Appended, AppendFailure> {
        let appender = self.appender().map_err(AppendFailure::Closed)?;
        let now = self.clock.unix_millis();
        let event = Event::new(now, ambient::uuid_v7(now), entropy::random_bytes(), what)
            .map_err(|error| AppendFailure::Closed(ApiError::internal(error)))?;
        let appended = appender.append(&event, effect).await;
        if let Err(AppendError::StateLost(why)) = &appended {
            self.report_lost(&why.to_string());
        }
        appended.map_err(AppendFailure::Append)
    }

    /// What the readiness probe says of the durable Redis: `redis`, `deployment`, `audit`, `storage`.
    pub async fn checks(&self) -> Vec<Check> {
        let mut latest = self.readiness.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, checks)) = &*latest
            && now.saturating_sub(*at) < READINESS_STANDS
            && (self.gate.trouble().is_none() || checks.iter().any(|check| !check.ok))
        {
            return checks.clone();
        }
        let checks = self.look_for_readiness().await;
        *latest = Some((self.clock.monotonic(), checks.clone()));
        checks
    }

    /// Every dependency named, though Redis told nothing of the others this time.
    fn unread(redis: Check, other: fn(&'static str, &'static str) -> Check) -> Vec<Check> {
        let others = ["deployment", "audit", "storage"].map(|name| other(name, "not read this time"));
        [redis].into_iter().chain(others).collect()
    }

    async fn look_for_readiness(&self) -> Vec<Check> {
        let deployment = match self.look().await {
            Ok(_) => Check::ok("deployment"),
            Err(DeploymentError::Lost(why)) => Check::failed("deployment", format!("state lost: {why}")),
            // Busy is not away: taking busy instances out of service would make the others busier.
            Err(DeploymentError::Redis(busy @ redis_pool::Error::Overloaded { .. }))
                if self.deployment().is_ok() && self.gate.trouble().is_none() =>
            {
                return Self::unread(Check::warning("redis", busy.to_string()), Check::warning);
            }
            Err(DeploymentError::Redis(error)) => {
                let trouble = self.pool.stats().trouble.map(|why| format!(" ({why})")).unwrap_or_default();
                return Self::unread(Check::failed("redis", format!("{error}{trouble}")), Check::failed);
            }
        };
        let audit = if self.head_lost.load(Ordering::Acquire) {
            Check::failed("audit", "the audit head is not one that this process can go on from")
        } else {
            Check::ok("audit")
        };
        let mut checks = vec![Check::ok("redis"), deployment, audit];
        let warnings = self.policy.lock().warnings.join(". ");
        checks.push(if warnings.is_empty() {
            Check::ok("storage")
        } else {
            Check::warning("storage", warnings)
        });
        checks
    }
}

/// Why an event was not acknowledged.
#[derive(Debug)]
pub enum AppendFailure {
    /// There is nothing to append to, or the event cannot be built.
    Closed(ApiError),
    /// The appender says why.
    Append(AppendError),
}

impl From<AppendFailure> for ApiError {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::Closed(error) => error,
            AppendFailure::Append(error) => errors::from_append(error),
        }
    }
}

/// A time in Unix milliseconds as a date, UTC; what no calendar holds becomes 1970.
#[must_use]
pub fn from_unix_millis(millis: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

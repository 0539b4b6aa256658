//! The state that all handlers share.

use std::sync::Arc;

use http_edge::{Check, TrustedProxies};
use storage::{DeploymentState, KeyLeakAlarm, RedisSettingsWatch, StorageReadiness};

use crate::domain::limits::Limits;
use crate::domain::report::Reporter;
use crate::domain::scan::Scanner;
use crate::metrics::ScanMetrics;
use crate::settings::OriginSettings;

/// The state of the service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) scanner: Scanner,
    pub(crate) reporter: Reporter,
    pub(crate) limits: Arc<Limits>,
    pub(crate) deployment: Arc<DeploymentState>,
    pub(crate) readiness: Arc<StorageReadiness>,
    pub(crate) key_leak_alarm: KeyLeakAlarm,
    pub(crate) proxies: TrustedProxies,
    pub(crate) origins: OriginSettings,
    pub(crate) metrics: ScanMetrics,
    /// The pools of the limiter and of the global limit, if they are not the durable pool. Readiness checks
    /// them.
    pub(crate) other_pools: Vec<OtherPool>,
}

/// A pool other than the durable one, which readiness checks.
pub(crate) struct OtherPool {
    pub(crate) name: &'static str,
    pub(crate) pool: redis_pool::RedisPool,
    /// Watches whether its Redis may evict keys. A caller whose count is evicted gets its full quota again.
    pub(crate) settings: Arc<RedisSettingsWatch>,
    /// Whether requests can be served without it.
    pub(crate) optional: bool,
}

impl OtherPool {
    /// Sends a `PING`, because a connected Redis may still not reply, and checks whether it refuses writes.
    /// If no permit comes free, only this process is busy, so the check is a warning.
    pub(crate) async fn check(&self) -> Check {
        let pong = self.pool.command(redis::cmd("PING")).await;
        let redis_pool::PoolStats { last_error, refuses_writes, .. } = self.pool.stats();
        let (detail, busy) = match (pong, refuses_writes) {
            (Ok(_), None) => return self.settings_check().await,
            (Err(busy @ redis_pool::PoolError::Overloaded { .. }), None) => (busy.to_string(), true),
            (_, Some(code)) => (format!("it refuses writes: {code}"), false),
            (Err(error), None) => {
                (last_error.map_or_else(|| error.to_string(), |why| format!("{error} ({why})")), false)
            }
        };
        if self.optional || busy {
            Check::warning(self.name, detail)
        } else {
            Check::failed(self.name, detail)
        }
    }

    async fn settings_check(&self) -> Check {
        self.settings.read_when_due().await;
        self.settings.warning().map_or_else(|| Check::ok(self.name), |why| Check::warning(self.name, why))
    }
}

impl AppState {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl std::ops::Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

//! What every handler can reach.

use std::sync::Arc;

use http_edge::{Check, TrustedProxies};
use storage::{DeploymentState, KeyLeakAlarm, RedisSettingsWatch, StorageReadiness};

use crate::domain::limits::Limits;
use crate::domain::report::Reporter;
use crate::domain::scan::Scanner;
use crate::handlers::sender::Origins;
use crate::metrics::ScanMetrics;

/// Cheap to clone.
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
    pub(crate) origins: Origins,
    pub(crate) metrics: ScanMetrics,
    /// Pools besides the durable one, for readiness: the limiter's and the global one.
    pub(crate) other_pools: Vec<OtherPool>,
}

/// A pool that is asked for readiness.
pub(crate) struct OtherPool {
    pub(crate) name: &'static str,
    pub(crate) pool: redis_pool::RedisPool,
    /// Whether its Redis may drop keys: a caller whose count is evicted begins anew.
    pub(crate) settings: Arc<RedisSettingsWatch>,
    /// Whether requests can be served without it.
    pub(crate) optional: bool,
}

impl OtherPool {
    /// Asks for a sign of life: a Redis that is connected may still answer nothing, or refuse writes. No free permit is this process being busy.
    pub(crate) async fn check(&self) -> Check {
        let asked = self.pool.command(redis::cmd("PING")).await;
        let redis_pool::PoolStats { last_error, refuses_writes, .. } = self.pool.stats();
        let (detail, busy) = match (asked, refuses_writes) {
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

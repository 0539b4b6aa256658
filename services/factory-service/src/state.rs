//! The state that all handlers share.

use std::sync::Arc;

use http_edge::TrustedProxies;
use idempotency::Idempotency;
use redis_pool::RedisPool;
use storage::{DeploymentState, StorageReadiness};

use crate::domain::api_keys::ApiKeys;
use crate::domain::audit::Audit;
use crate::domain::audit_export::AuditExporter;
use crate::domain::batches::Batches;
use crate::domain::checkpoints::Checkpoints;
use crate::domain::export::Exporter;
use crate::domain::identity::Authenticator;
use crate::domain::keyring::KeyMoves;
use crate::domain::limits::Limits;
use crate::domain::products::Products;
use crate::domain::tags::Tags;
use crate::domain::tenants::Tenants;
use crate::domain::unproven::Unproven;

/// The shared state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Inner>);

/// The parts of [`AppState`].
pub(crate) struct Inner {
    pub(crate) authenticator: Authenticator,
    pub(crate) idempotency: Idempotency,
    pub(crate) tenants: Tenants,
    pub(crate) unproven: Unproven,
    pub(crate) api_keys: ApiKeys,
    pub(crate) limits: Limits,
    /// The limiter's Redis, if it is not the durable one. Readiness checks it.
    pub(crate) limiter_redis: Option<RedisPool>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) deployment: Arc<DeploymentState>,
    pub(crate) readiness: Arc<StorageReadiness>,
    pub(crate) products: Products,
    pub(crate) batches: Batches,
    pub(crate) exporter: Exporter,
    pub(crate) tags: Tags,
    pub(crate) audit: Audit,
    pub(crate) audit_exporter: AuditExporter,
    pub(crate) key_moves: KeyMoves,
    pub(crate) checkpoints: Arc<Checkpoints>,
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

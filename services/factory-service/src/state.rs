//! What every handler can reach.

use std::sync::Arc;

use http_edge::TrustedProxies;
use service_kit::durable::Durable;

use crate::domain::audit::Audit;
use crate::domain::batches::Batches;
use crate::domain::export::Exporter;
use crate::domain::identity::Authenticator;
use crate::domain::products::Products;
use crate::domain::tags::Tags;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) authenticator: Authenticator,
    pub(crate) proxies: TrustedProxies,
    pub(crate) durable: Arc<Durable>,
    pub(crate) products: Products,
    pub(crate) batches: Batches,
    pub(crate) exporter: Exporter,
    pub(crate) tags: Tags,
    pub(crate) audit: Audit,
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

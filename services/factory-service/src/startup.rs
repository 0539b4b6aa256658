//! Puts the service together and runs it until it is told to stop.
//!
//! A Redis that is away does not keep it from starting: it listens, is not ready, and says why.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use audit_chain::AuditMetrics;
use catalog::Expectation;
use http_edge::{App, Area, Edge, EdgeConfig, docs_area};
use prometheus_client::registry::Registry;
use redis_pool::{PoolMetrics, RedisPool};
use service_kit::durable::{Durable, DurableMetrics};
use tokio::sync::Semaphore;

use crate::config::Settings;
use crate::domain::audit::Audit;
use crate::domain::batches::Batches;
use crate::domain::export::Exporter;
use crate::domain::identity::Authenticator;
use crate::domain::products::Products;
use crate::domain::store::Store;
use crate::domain::tags::{TagUrls, Tags};
use crate::router;
use crate::state::{AppState, Inner};

/// Longest time for verifying the chain: ten million entries at a tenth of the measured speed.
const VERIFY_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When an address cannot be listened on, or the process has no means to be told to stop.
pub fn run(settings: Settings) -> io::Result<()> {
    let (bind, metrics_bind) = (settings.web.bind, settings.web.metrics_bind);
    let assemble = || assemble(&settings, Arc::new(SystemClock::new()));
    http_edge::run("factory-service", env!("CARGO_PKG_VERSION"), bind, metrics_bind, assemble)
}

/// Assembles the service. Must be called inside a tokio runtime: the pool begins to connect at once.
#[must_use]
pub fn assemble(settings: &Settings, clock: Arc<dyn Clock>) -> App {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "factory-service", env!("CARGO_PKG_VERSION"));
    let durable = durable(settings, &clock, &mut registry);
    let looking = tokio::spawn({
        let durable = Arc::clone(&durable);
        async move { durable.keep_looking().await }
    });
    let state = state(settings, durable);
    let edge = Edge::new(EdgeConfig::default(), areas(), clock, &mut registry);
    let metrics_apart = settings.web.metrics_bind.is_some();
    App::new(&edge, router::router(state), registry, metrics_apart, looking.abort_handle())
}

fn durable(settings: &Settings, clock: &Arc<dyn Clock>, registry: &mut Registry) -> Arc<Durable> {
    let pools = PoolMetrics::register(registry);
    let config = settings.redis.pool("durable", &settings.redis.url);
    let pool = RedisPool::new(config, Arc::clone(clock), &pools);
    let expectation = Expectation {
        keyring: Arc::clone(&settings.tags.keyring),
        adds_epoch: Some(settings.tags.active_epoch),
        audit_origin: settings.deployment.audit_origin.clone(),
    };
    let (audit, metrics) = (AuditMetrics::register(registry), DurableMetrics::register(registry));
    let init = settings.deployment.init;
    Arc::new(Durable::new(pool, expectation, init, Arc::clone(clock), audit, metrics))
}

fn state(settings: &Settings, durable: Arc<Durable>) -> AppState {
    let keyring = Arc::clone(&settings.tags.keyring);
    let store = Store::new(Arc::clone(&durable));
    let urls = TagUrls::below(&settings.web.public_base_url);
    // Half of the cores stay for everything that is not an export.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let minting = Arc::new(Semaphore::new((cores / 2).max(1)));
    AppState::new(Inner {
        authenticator: Authenticator::bootstrap(settings.api_key.clone()),
        proxies: settings.web.proxies.clone(),
        durable,
        products: Products::new(store.clone()),
        batches: Batches::new(store.clone(), settings.tags.active_epoch),
        exporter: Exporter::new(store.clone(), Arc::clone(&keyring), urls.clone(), minting),
        tags: Tags::new(store.clone(), keyring, urls),
        audit: Audit::new(store),
    })
}

/// What differs by path.
fn areas() -> Vec<Area> {
    vec![docs_area(), Area::new("/v1/audit/verify").timeout(VERIFY_WITHIN)]
}

//! Assembles the service and runs it until SIGTERM or SIGINT.
//!
//! It starts without Redis: it listens, is not ready, and its readiness says why.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use access::{Access, LastUse};
use ambient::{Clock, SystemClock};
use audit_chain::AuditMetrics;
use catalog::{Expectation, Init};
use http_edge::{App, Edge, EdgeConfig, PathPolicy, docs_policy};
use idempotency::{Idempotency, IdempotencyMetrics};
use keyring::{KeyringAdmin, SIGNING_SERVICE, Secrets};
use prometheus_client::registry::Registry;
use redis_pool::{PoolMetrics, RedisPool, TlsCertificates};
use storage::{DurableMetrics, DurablePools, DurableSetup, DurableStorage, KeyringSetup};
use tag_id::Epoch;
use telemetry::TraceMetrics;
use tokio::sync::Semaphore;

use crate::domain::api_keys::ApiKeys;
use crate::domain::audit::{Audit, VERIFY_WITHIN};
use crate::domain::audit_export::AuditExporter;
use crate::domain::batches::Batches;
use crate::domain::checkpoints::Checkpoints;
use crate::domain::epoch_batches::{COUNT_WITHIN, EpochBatches};
use crate::domain::expiring_keys::ExpiringKeys;
use crate::domain::export::Exporter;
use crate::domain::identity::Authenticator;
use crate::domain::keyring::KeyMoves;
use crate::domain::limits::Limits;
use crate::domain::minted_notes;
use crate::domain::products::Products;
use crate::domain::store::Store;
use crate::domain::tags::{TagUrls, Tags};
use crate::domain::tenants::Tenants;
use crate::domain::unproven::Unproven;
use crate::router;
use crate::settings::FactorySettings;
use crate::state::{AppState, Inner};

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot listen on an address or cannot handle signals.
pub fn run(settings: FactorySettings) -> io::Result<()> {
    let listening = settings.web.listening();
    let assemble = || assemble(&settings, Arc::new(SystemClock::new()));
    http_edge::run("factory-service", env!("CARGO_PKG_VERSION"), &listening, assemble)
}

/// Assembles the service. Must be called inside a tokio runtime: the pool begins to connect at once.
#[must_use]
pub fn assemble(settings: &FactorySettings, clock: Arc<dyn Clock>) -> App {
    let seeds = Some(settings.tags.active_epoch);
    let setup = Setup { announce: Some(SIGNING_SERVICE), seeds, init: settings.deployment.init };
    assemble_with(settings, clock, &setup).0
}

/// Assembles the same service for a command of the operator. It creates no deployment and no keyring, and
/// counts as no live instance.
#[must_use]
pub(crate) fn assemble_for_commands(
    settings: &FactorySettings,
    clock: Arc<dyn Clock>,
) -> (App, DurableStorage) {
    assemble_with(settings, clock, &Setup { announce: None, seeds: None, init: Init::Never })
}

/// The difference between a serving process and a command.
struct Setup {
    /// The service name under which the process announces itself as a live instance.
    announce: Option<&'static str>,
    /// The tag epoch that the process puts into an empty keyring.
    seeds: Option<Epoch>,
    init: Init,
}

fn assemble_with(settings: &FactorySettings, clock: Arc<dyn Clock>, setup: &Setup) -> (App, DurableStorage) {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "factory-service", env!("CARGO_PKG_VERSION"));
    TraceMetrics::register(&mut registry);
    TlsCertificates::register_ends(settings.redis.certificates.as_ref(), &mut registry);
    let pools = PoolMetrics::register(&mut registry);
    let storage = durable_storage(settings, setup, &clock, &pools, &mut registry);
    let last_use = LastUse::new();
    let limits = limits(settings, &storage.pool, &clock, &pools, &mut registry);
    let state = state(settings, &storage, &clock, limits, last_use.clone(), &mut registry);
    let serves = setup.announce.is_some();
    let (expiring_keys, access) = (ExpiringKeys::register(&mut registry), Access::new(storage.pool.clone()));
    let counting_clock = Arc::clone(&clock);
    let (signing, every) = (Arc::clone(&state.checkpoints), settings.checkpoint_every);
    let (at_shutdown, own) = ((storage.clone(), last_use.clone()), storage.clone());
    let background = tokio::spawn(async move {
        let DurableStorage { pool, deployment, refresher, .. } = storage;
        let prefix = || deployment.deployment().ok().map(|deployment| deployment.prefix().to_owned());
        let flushing = last_use.keep_flushing(&pool, prefix);
        if serves {
            let notes = minted_notes::note_all(&pool, &deployment);
            let counting = expiring_keys.keep_counting(&access, &*counting_clock);
            let signing = signing.keep_signing(every);
            tokio::join!(refresher.keep_refreshing(), flushing, signing, notes, counting);
        } else {
            refresher.keep_refreshing().await;
        }
    });
    let config = EdgeConfig {
        counted_problems: &problems::COUNTED_PROBLEMS,
        access_log: settings.log.access,
        proxies: settings.web.trusted_proxies(),
        ..EdgeConfig::default()
    };
    let edge = Edge::new(config, path_policies(), clock, &mut registry);
    let metrics_place = settings.web.listening().metrics_place();
    let app = App::new(&edge, router::router(state), registry, metrics_place, background.abort_handle());
    (app.with_shutdown_hook(|| at_shutdown.0.shut_down(at_shutdown.1)), own)
}

fn durable_storage(
    settings: &FactorySettings,
    setup: &Setup,
    clock: &Arc<dyn Clock>,
    pools: &PoolMetrics,
    registry: &mut Registry,
) -> DurableStorage {
    let config = settings.redis.pool("durable", &settings.redis.url);
    let pool = |config| RedisPool::new(config, Arc::clone(clock), pools);
    let pools = DurablePools { requests: pool(config), heartbeats: pool(settings.redis.heartbeats()) };
    let expectation = Expectation {
        tag_keys: Arc::clone(&settings.tags.tag_keys),
        adds_epoch: setup.seeds,
        audit_origin: settings.deployment.audit_origin.clone(),
    };
    let (audit, metrics) = (AuditMetrics::register(registry), DurableMetrics::register(registry));
    let keyring = KeyringSetup {
        announce: setup.announce,
        seeds: setup.seeds,
        signing: Arc::clone(&settings.signing.keys),
    };
    let state_dir = settings.deployment.state_dir.clone();
    let setup = DurableSetup { expectation, init: setup.init, keyring, state_dir };
    DurableStorage::new(pools, setup, clock, audit, &metrics)
}

/// Returns the limits, and their Redis if it is not the durable one.
fn limits(
    settings: &FactorySettings,
    durable: &RedisPool,
    clock: &Arc<dyn Clock>,
    pools: &PoolMetrics,
    registry: &mut Registry,
) -> (Limits, Option<RedisPool>) {
    let url = &settings.limits.redis_url;
    let own_pool = (!settings.limits.shares_redis_with(&settings.redis.url))
        .then(|| RedisPool::new(settings.redis.pool("limiter", url), Arc::clone(clock), pools));
    if let Some(pool) = &own_pool {
        pool.watch_writes(&["vtrl1:write-probe"]);
    }
    let pool = own_pool.as_ref().unwrap_or(durable);
    (Limits::new(&settings.limits, pool, clock, registry), own_pool)
}

fn state(
    settings: &FactorySettings,
    storage: &DurableStorage,
    clock: &Arc<dyn Clock>,
    (limits, limiter_redis): (Limits, Option<RedisPool>),
    last_use: LastUse,
    registry: &mut Registry,
) -> AppState {
    let tag_keys = Arc::clone(&settings.tags.tag_keys);
    let signing = Arc::clone(&settings.signing.keys);
    let store = Store::new(storage, Arc::clone(clock));
    let access = Access::new(storage.pool.clone());
    let urls = TagUrls::below(settings.web.public_base_url.as_deref());
    // Exports use at most half of the cores.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let minting = Arc::new(Semaphore::new((cores / 2).max(1)));
    let secrets = Secrets { tags: Arc::clone(&tag_keys), signing: Arc::clone(&signing) };
    let moves = KeyringAdmin::new(storage.pool.clone(), secrets);
    let epoch_batches = EpochBatches::new(store.clone(), access.clone());
    let checkpoints = Arc::new(Checkpoints::new(storage, Arc::clone(clock), signing, registry));
    let idempotency_config = idempotency::IdempotencyConfig {
        lease: settings.idempotency_lease,
        ..idempotency::IdempotencyConfig::default()
    };
    AppState::new(Inner {
        authenticator: Authenticator::new(settings.api_key.clone(), storage, Arc::clone(clock), last_use),
        idempotency: Idempotency::new(storage.pool.clone(), idempotency_config)
            .with_metrics(IdempotencyMetrics::register(registry)),
        tenants: Tenants::new(store.clone(), access.clone()),
        unproven: Unproven::new(store.clone()),
        api_keys: ApiKeys::new(store.clone(), access.clone()),
        key_moves: KeyMoves::new(
            store.clone(),
            Arc::clone(&storage.deployment),
            Arc::clone(&storage.keyring),
            moves,
            epoch_batches,
        ),
        limits,
        limiter_redis,
        proxies: settings.web.trusted_proxies(),
        deployment: Arc::clone(&storage.deployment),
        readiness: Arc::clone(&storage.readiness),
        products: Products::new(store.clone(), access.clone()),
        batches: Batches::new(store.clone(), access),
        exporter: Exporter::new(store.clone(), Arc::clone(&tag_keys), urls.clone(), minting),
        tags: Tags::new(store.clone(), tag_keys, urls),
        audit_exporter: AuditExporter::new(store.clone(), Arc::clone(&checkpoints)),
        audit: Audit::new(store, Arc::clone(&checkpoints)),
        checkpoints,
    })
}

/// Returns the timeouts that differ from the default.
fn path_policies() -> Vec<PathPolicy> {
    // A verification waits in a queue and has its own, shorter timeout.
    let verify = PathPolicy::new("/v1/audit/verify").timeout(2 * VERIFY_WITHIN);
    // A revocation counts the batches that it makes invalid. The count has its own, shorter timeout.
    vec![docs_policy(), verify, PathPolicy::new("/v1/admin/keyring").timeout(2 * COUNT_WITHIN)]
}

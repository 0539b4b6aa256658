//! Assembles the service and runs it until the shutdown signal.

use std::io;
use std::sync::Arc;

use access::LastUse;
use ambient::{Clock, SystemClock};
use audit_chain::AuditMetrics;
use axum::http::HeaderValue;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS};
use catalog::{Expectation, Init};
use http_edge::{App, Edge, EdgeConfig, PathPolicy, docs_policy};
use keyring::SigningKeys;
use prometheus_client::registry::Registry;
use rate_limiter::{GlobalLimiter, Limiter, LimiterMetrics, RegionalGlobalLimiter};
use redis_pool::{PoolMetrics, RedisPool, TlsCertificates};
use storage::{DurableMetrics, DurablePools, DurableSetup, DurableStorage, KeyringSetup, RedisSettingsWatch};
use telemetry::TraceMetrics;
use tokio::task::{AbortHandle, JoinSet};

use crate::domain::admission::Admission;
use crate::domain::limits::Limits;
use crate::domain::report::Reporter;
use crate::domain::scan::Scanner;
use crate::handlers::problem_page;
use crate::metrics::ScanMetrics;
use crate::router;
use crate::settings::ScanSettings;
use crate::state::{AppState, Inner, OtherPool};

/// The response headers that a page of another origin may read.
const EXPOSED: &str = "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Fails if the service cannot listen on an address, or if the process cannot receive signals.
pub fn run(settings: ScanSettings) -> io::Result<()> {
    let listening = settings.web.listening();
    let assemble = || assemble(&settings, Arc::new(SystemClock::new()));
    http_edge::run("scan-service", env!("CARGO_PKG_VERSION"), &listening, assemble)
}

/// Assembles the service. Must be called inside a tokio runtime, because the pools start to connect at once.
#[must_use]
pub fn assemble(settings: &ScanSettings, clock: Arc<dyn Clock>) -> App {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "scan-service", env!("CARGO_PKG_VERSION"));
    TraceMetrics::register(&mut registry);
    TlsCertificates::register_ends(settings.redis.certificates.as_ref(), &mut registry);
    let pools = PoolMetrics::register(&mut registry);
    let pool = |name, url| RedisPool::new(settings.redis.pool(name, url), Arc::clone(&clock), &pools);
    let durable_pool = pool("durable", &settings.redis.url);
    let durable_metrics = DurableMetrics::register(&mut registry);
    let heartbeats = RedisPool::new(settings.redis.heartbeats(), Arc::clone(&clock), &pools);
    let for_storage = DurablePools { requests: durable_pool.clone(), heartbeats };
    let storage = durable_storage(settings, for_storage, &clock, &durable_metrics, &mut registry);
    let last_use = LastUse::new();

    let mut other_pools = Vec::new();
    let other_pool = |name, pool: &RedisPool, optional| {
        let metrics = durable_metrics.redis_settings().clone();
        let clock = Arc::clone(&clock);
        let settings = RedisSettingsWatch::new(pool.clone(), pool.name(), false, clock, metrics);
        OtherPool { name, pool: pool.clone(), settings: Arc::new(settings), optional }
    };
    let same_redis = settings.limits.shares_redis_with(&settings.redis.url);
    let limiter_pool = if same_redis { durable_pool } else { pool("limiter", &settings.limits.redis_url) };
    if !same_redis {
        limiter_pool.watch_writes(&["vtrl1:write-probe"]);
        let optional = settings.limits.on_redis_down == rate_limiter::OnRedisDown::Local;
        other_pools.push(other_pool("limiter_redis", &limiter_pool, optional));
    }
    let global_pool = settings.limits.global_redis_url.as_ref().map(|url| pool("global", url));
    if let Some(pool) = &global_pool {
        pool.watch_writes(&["vtgl1:write-probe"]);
        other_pools.push(other_pool("global_redis", pool, true));
    }
    let background = spawn_background_tasks(&storage, &last_use, &other_pools);
    let for_shutdown = (storage.clone(), last_use.clone());
    let regional_global = regional_global(settings, limiter_pool, global_pool, &clock, &mut registry);
    let (per_ip, per_key) = (settings.limits.per_ip, settings.limits.per_key);
    let limits = Arc::new(Limits::new(regional_global, per_ip, per_key, same_redis));
    let admission = Arc::new(Admission::new(&storage, Arc::clone(&clock), Arc::clone(&limits), last_use));

    let metrics = ScanMetrics::register(&mut registry);
    let tag_keys = Arc::clone(&settings.tags.tag_keys);
    let state = AppState::new(Inner {
        scanner: Scanner::new(
            Arc::clone(&tag_keys),
            &storage,
            Arc::clone(&clock),
            Arc::clone(&limits),
            Arc::clone(&admission),
            metrics.call_sizes(),
        ),
        reporter: Reporter::new(tag_keys, &storage, Arc::clone(&clock), admission),
        limits,
        deployment: storage.deployment,
        readiness: storage.readiness,
        key_leak_alarm: storage.key_leak_alarm,
        proxies: settings.web.trusted_proxies(),
        origins: settings.origins.clone(),
        metrics,
        other_pools,
    });
    let edge = edge(settings, &clock, &mut registry);
    let metrics_place = settings.web.listening().metrics_place();
    let app = App::new(&edge, router::router(state), registry, metrics_place, background);
    app.with_shutdown_hook(|| for_shutdown.0.shut_down(for_shutdown.1))
}

fn edge(settings: &ScanSettings, clock: &Arc<dyn Clock>, registry: &mut Registry) -> Edge {
    let config = EdgeConfig {
        counted_problems: &problems::COUNTED_PROBLEMS,
        access_log: settings.log.access,
        proxies: settings.web.trusted_proxies(),
        ..EdgeConfig::default()
    };
    Edge::new(config, path_policies(settings), Arc::clone(clock), registry)
}

/// Spawns the background tasks: they refresh the view of the durable Redis, record when keys were used, and
/// watch the settings of the other Redis servers.
fn spawn_background_tasks(storage: &DurableStorage, last_use: &LastUse, others: &[OtherPool]) -> AbortHandle {
    let DurableStorage { pool, deployment, refresher, .. } = storage.clone();
    let last_use = last_use.clone();
    let settings: Vec<_> = others.iter().map(|other| Arc::clone(&other.settings)).collect();
    let task = tokio::spawn(async move {
        // If this task is aborted, it drops the set, which aborts the tasks in it.
        let mut watches = JoinSet::new();
        for settings in settings {
            watches.spawn(async move { settings.keep_reading().await });
        }
        let prefix = || deployment.seen().map(|deployment| deployment.prefix().to_owned());
        tokio::join!(refresher.keep_refreshing(), last_use.keep_flushing(&pool, prefix));
    });
    task.abort_handle()
}

fn durable_storage(
    settings: &ScanSettings,
    pools: DurablePools,
    clock: &Arc<dyn Clock>,
    metrics: &DurableMetrics,
    registry: &mut Registry,
) -> DurableStorage {
    let expectation = Expectation {
        tag_keys: Arc::clone(&settings.tags.tag_keys),
        adds_epoch: None,
        audit_origin: settings.deployment.audit_origin.clone(),
    };
    let audit = AuditMetrics::register(registry);
    let signing = Arc::new(SigningKeys::none(&settings.deployment.audit_origin));
    let keyring = KeyringSetup { announce: Some("scan-service"), seeds: None, signing };
    let state_dir = settings.deployment.state_dir.clone();
    let setup = DurableSetup { expectation, init: Init::Never, keyring, state_dir };
    DurableStorage::new(pools, setup, clock, audit, metrics)
}

fn regional_global(
    settings: &ScanSettings,
    pool: RedisPool,
    global: Option<RedisPool>,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> RegionalGlobalLimiter {
    let limits = &settings.limits;
    let metrics = LimiterMetrics::register(registry);
    let regional =
        Limiter::new(pool, limits.region.clone(), limits.cold_start, metrics.clone(), Arc::clone(clock));
    let global = global.map(|pool| {
        GlobalLimiter::new(pool, limits.per_ip, limits.per_key, metrics.clone(), Arc::clone(clock))
    });
    RegionalGlobalLimiter::new(regional, global, limits.on_redis_down, metrics, Arc::clone(clock))
}

/// Returns the policies of paths. Any web page may read a scan, only allowed origins may read the response to
/// a report, and below `/t` errors are HTML pages.
fn path_policies(settings: &ScanSettings) -> Vec<PathPolicy> {
    let reporting = settings.origins.reporting.iter();
    let reporting =
        reporting.map(|origin| HeaderValue::from_str(&origin.to_string()).expect("a host is ASCII"));
    vec![
        PathPolicy::new("/v1/scan")
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
            .header(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
        PathPolicy::new("/v1/report")
            .readable_from(reporting.collect())
            .header(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
        docs_policy(),
        PathPolicy::new("/t").render_problems_with(problem_page::render_problem),
    ]
}

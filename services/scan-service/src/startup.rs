//! Puts the service together and runs it until it is told to stop.

use std::io;
use std::sync::Arc;

use ambient::{Clock, SystemClock};
use audit_chain::AuditMetrics;
use axum::http::HeaderValue;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS};
use catalog::{Expectation, Init};
use http_edge::{App, Area, Edge, EdgeConfig, docs_area};
use prometheus_client::registry::Registry;
use rate_limiter::{GlobalLimiter, Layered, Limiter, LimiterMetrics};
use redis_pool::{PoolMetrics, RedisPool};
use service_kit::durable::{Durable, DurableMetrics};

use crate::config::Settings;
use crate::domain::limits::Limits;
use crate::domain::report::Reporter;
use crate::domain::scan::Scanner;
use crate::handlers::page;
use crate::metrics::ScanMetrics;
use crate::router;
use crate::state::{AppState, Inner, OtherPool};

/// Headers that a page of another origin may read.
const EXPOSED: &str = "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When an address cannot be listened on, or the process has no means to be told to stop.
pub fn run(settings: Settings) -> io::Result<()> {
    let (bind, metrics_bind) = (settings.web.bind, settings.web.metrics_bind);
    let assemble = || assemble(&settings, Arc::new(SystemClock::new()));
    http_edge::run("scan-service", env!("CARGO_PKG_VERSION"), bind, metrics_bind, assemble)
}

/// Assembles the service. Must be called inside a tokio runtime: the pools begin to connect at once.
#[must_use]
pub fn assemble(settings: &Settings, clock: Arc<dyn Clock>) -> App {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "scan-service", env!("CARGO_PKG_VERSION"));
    let pools = PoolMetrics::register(&mut registry);
    let pool = |name, url| RedisPool::new(settings.redis.pool(name, url), Arc::clone(&clock), &pools);
    let durable_pool = pool("durable", &settings.redis.url);
    let durable = durable(settings, durable_pool.clone(), &clock, &mut registry);
    let looking = tokio::spawn({
        let durable = Arc::clone(&durable);
        async move { durable.keep_looking().await }
    });

    let mut other_pools = Vec::new();
    let same_redis = settings.limits.shares_redis_with(&settings.redis.url);
    let limiter_pool = if same_redis { durable_pool } else { pool("limiter", &settings.limits.redis_url) };
    if !same_redis {
        let optional = settings.limits.on_redis_down == rate_limiter::OnRedisDown::Local;
        other_pools.push(OtherPool { name: "limiter_redis", pool: limiter_pool.clone(), optional });
    }
    let global_pool = settings.limits.global_redis_url.as_ref().map(|url| pool("global", url));
    if let Some(pool) = &global_pool {
        other_pools.push(OtherPool { name: "global_redis", pool: pool.clone(), optional: true });
    }
    let layered = layered(settings, limiter_pool, global_pool, &clock, &mut registry);
    let limits = Arc::new(Limits::new(layered, settings.limits.per_ip, same_redis));

    let keyring = Arc::clone(&settings.tags.keyring);
    let state = AppState::new(Inner {
        scanner: Scanner::new(Arc::clone(&keyring), Arc::clone(&durable), Arc::clone(&limits)),
        reporter: Reporter::new(keyring, Arc::clone(&durable), Arc::clone(&limits)),
        limits,
        durable,
        proxies: settings.web.proxies.clone(),
        metrics: ScanMetrics::register(&mut registry),
        other_pools,
    });
    let edge = Edge::new(EdgeConfig::default(), areas(), Arc::clone(&clock), &mut registry);
    let metrics_apart = settings.web.metrics_bind.is_some();
    App::new(&edge, router::router(state), registry, metrics_apart, looking.abort_handle())
}

fn durable(
    settings: &Settings,
    pool: RedisPool,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Arc<Durable> {
    let expectation = Expectation {
        keyring: Arc::clone(&settings.tags.keyring),
        adds_epoch: None,
        audit_origin: settings.deployment.audit_origin.clone(),
    };
    let (audit, metrics) = (AuditMetrics::register(registry), DurableMetrics::register(registry));
    Arc::new(Durable::new(pool, expectation, Init::Never, Arc::clone(clock), audit, metrics))
}

fn layered(
    settings: &Settings,
    pool: RedisPool,
    global: Option<RedisPool>,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Layered {
    let limits = &settings.limits;
    let metrics = LimiterMetrics::register(registry);
    let regional =
        Limiter::new(pool, limits.region.clone(), limits.cold_start, metrics.clone(), Arc::clone(clock));
    let global =
        global.map(|pool| GlobalLimiter::new(pool, limits.per_ip, metrics.clone(), Arc::clone(clock)));
    Layered::new(regional, global, limits.on_redis_down, metrics, Arc::clone(clock))
}

/// What differs by path: scans may be read by any web page, and pages refuse in HTML.
fn areas() -> Vec<Area> {
    vec![
        Area::new("/v1/scan")
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
            .header(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
        docs_area(),
        Area::new("/t").render_problems_with(page::render_problem),
    ]
}

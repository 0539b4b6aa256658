//! An assembled service: its routes behind the edge, its metrics, its background tasks, and its start and
//! stop.

use crate::connection_metrics::ConnectionMetrics;
use crate::descriptors::fit_connections;
use crate::error::HttpError;
use crate::layer::Edge;
use crate::metrics::Metrics;
use crate::panics;
use crate::parameters::QueryParameters;
use crate::serve::{listen, serve, shutdown_signal};
use crate::serve_config::ServeConfig;
use crate::status::StatusRoute;
use crate::tokio_metrics::TokioMetrics;
use axum::Router;
use axum::routing::MethodRouter;
use http::header::ALLOW;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Removes `HEAD` from a path, which axum would pass to the `GET` handler.
///
/// Use it where `GET` has an effect, such as a counted scan. `allow` lists the remaining methods.
pub fn without_head<S: Clone + Send + Sync + 'static>(
    routes: MethodRouter<S>,
    allow: &'static str,
) -> MethodRouter<S> {
    let reject = move || async move { ([(ALLOW, allow)], HttpError::MethodNotAllowed) };
    routes.head(reject).fallback(reject)
}

/// The time limit of the shutdown hook.
pub const SHUTDOWN_HOOK_TIMEOUT: Duration = Duration::from_secs(1);

type ShutdownHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The limit of connections on the separate address of `/metrics`.
const MAX_METRICS_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// The addresses and the bounds of a service.
#[derive(Debug, Clone)]
pub struct Listening {
    /// `BIND_ADDR`: the address of the service.
    pub bind: SocketAddr,
    /// `METRICS_BIND_ADDR`: the separate address of `/metrics`, if any.
    pub metrics_bind: Option<SocketAddr>,
    /// `METRICS_PUBLIC`: whether `bind` may serve `/metrics` although it is not a loopback address.
    pub metrics_public: bool,
    /// The bounds of connections. [`run`] replaces the metrics in it with those of the [`App`].
    pub server: ServeConfig,
}

impl Listening {
    /// Selects where `/metrics` is served. An address that others may reach serves it only if the operator
    /// allows it.
    #[must_use]
    pub fn metrics_place(&self) -> MetricsPlace {
        match self.metrics_bind {
            Some(_) => MetricsPlace::Apart,
            None if self.metrics_public || self.bind.ip().to_canonical().is_loopback() => MetricsPlace::Here,
            None => MetricsPlace::Nowhere,
        }
    }
}

/// The place of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsPlace {
    /// Among the other routes.
    Here,
    /// On a separate address.
    Apart,
    /// Nowhere, because others than the operator may reach the service's address.
    Nowhere,
}

/// A service that does not listen yet.
pub struct App {
    /// The routes on the service's address.
    pub router: Router,
    /// The routes on the separate address of `/metrics`, if there is one.
    pub metrics: Option<Router>,
    metrics_place: MetricsPlace,
    connections: ConnectionMetrics,
    background: AbortHandle,
    sampling: AbortHandle,
    shutdown_hook: Option<ShutdownHook>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Puts `routes` behind `edge`, and adds errors for unknown paths and methods, `/metrics` and `/status`.
    ///
    /// Must be called inside the tokio runtime that serves the requests. Every route rejects a query
    /// parameter that `parameters` does not list for it. Dropping the app aborts `background`.
    #[must_use]
    pub fn new(
        edge: &Edge,
        (routes, parameters): (Router, QueryParameters),
        mut registry: Registry,
        metrics_place: MetricsPlace,
        background: AbortHandle,
    ) -> Self {
        let connections = ConnectionMetrics::register(&mut registry);
        registry.register_collector(Box::new(TokioMetrics::of_this_runtime()));
        let metrics = Metrics::new(Arc::new(registry));
        let status = StatusRoute::new(metrics.clone(), edge.clock());
        let sampling = status.keep_sampling();
        let metrics = Router::new().route("/metrics", metrics.route()).route("/status", status.route());
        let (routes, metrics) = match metrics_place {
            MetricsPlace::Here => (routes.merge(metrics), None),
            MetricsPlace::Apart => (routes, Some(metrics)),
            MetricsPlace::Nowhere => (routes, None),
        };
        edge.expect_responses(&parameters);
        let edge = edge.with_parameters(Arc::new(parameters));
        let wrapped = |router: Router| edge.wrap(router.method_not_allowed_fallback(not_allowed));
        let router = wrapped(routes.fallback(not_found));
        let metrics = metrics.map(|metrics| wrapped(metrics.fallback(not_metrics)));
        Self { router, metrics, metrics_place, connections, background, sampling, shutdown_hook: None }
    }

    /// Sets a hook that runs at shutdown, after the last response and the end of the background tasks.
    ///
    /// It may take [`SHUTDOWN_HOOK_TIMEOUT`]. It does not run if the process is killed.
    #[must_use]
    pub fn with_shutdown_hook<F>(mut self, shutdown_hook: impl FnOnce() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shutdown_hook = Some(Box::new(|| Box::pin(shutdown_hook())));
        self
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.background.abort();
        self.sampling.abort();
    }
}

async fn not_found() -> HttpError {
    HttpError::NotFound("there is nothing at this path; /docs lists what there is".into())
}

async fn not_metrics() -> HttpError {
    HttpError::NotFound(
        "there is nothing at this path; /metrics and /status are all there is at this address".into(),
    )
}

async fn not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}

/// Runs a service until `SIGTERM` or `SIGINT`, then drains its connections. Calls `assemble` inside the
/// runtime, once the process listens on both addresses.
///
/// # Errors
///
/// Fails if an address is not available, or if the signal handlers cannot be installed.
pub fn run(
    service: &'static str,
    version: &'static str,
    listening: &Listening,
    assemble: impl FnOnce() -> App,
) -> io::Result<()> {
    panics::install_hook();
    let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = shutdown_signal()?;
        let listener = listen_at("BIND_ADDR", listening.bind)?;
        let metrics_listener =
            listening.metrics_bind.map(|bind| listen_at("METRICS_BIND_ADDR", bind)).transpose()?;
        let mut app = assemble();
        let mut server = ServeConfig { metrics: app.connections.clone(), ..listening.server.clone() };
        server.max_connections = fit_connections(server.max_connections);
        let max_connections = server.max_connections.get();
        tracing::info!(version, bind = %listener.local_addr()?, max_connections, "{service} is listening");
        if app.metrics_place == MetricsPlace::Nowhere {
            tracing::warn!(
                bind = %listening.bind,
                "/metrics is not served, because BIND_ADDR is not a loopback address: set METRICS_BIND_ADDR \
                 to serve it on a separate address, or METRICS_PUBLIC=true to serve it to everyone"
            );
        }
        if let (Some(listener), Some(metrics)) = (metrics_listener, app.metrics.take()) {
            let metrics_server = ServeConfig {
                max_connections: MAX_METRICS_CONNECTIONS,
                max_connections_per_client: MAX_METRICS_CONNECTIONS,
                ..ServeConfig::default()
            };
            tokio::spawn(serve(listener, metrics, metrics_server, std::future::pending()));
        }
        let drained = serve(listener, app.router.clone(), server, shutdown).await;
        app.background.abort();
        if let Some(shutdown_hook) = app.shutdown_hook.take()
            && tokio::time::timeout(SHUTDOWN_HOOK_TIMEOUT, shutdown_hook()).await.is_err()
        {
            tracing::warn!("{service}: shutdown hook timed out");
        }
        tracing::info!(cut = drained.cut, "{service} has stopped");
        Ok(())
    })
}

fn listen_at(name: &str, bind: SocketAddr) -> io::Result<TcpListener> {
    listen(bind).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{name} is {bind}, and the service cannot listen on it: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_serves_metrics_only_if_the_operator_allows_it() {
        let place = |bind: &str, metrics_bind: Option<&str>, metrics_public| {
            let metrics_bind = metrics_bind.map(|bind| bind.parse().unwrap());
            let server = ServeConfig::default();
            Listening { bind: bind.parse().unwrap(), metrics_bind, metrics_public, server }.metrics_place()
        };
        for loopback in ["127.0.0.1:8080", "127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(place(loopback, None, false), MetricsPlace::Here, "{loopback}");
        }
        for reachable in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(place(reachable, None, false), MetricsPlace::Nowhere, "{reachable}");
            assert_eq!(place(reachable, None, true), MetricsPlace::Here, "{reachable}");
            assert_eq!(place(reachable, Some("0.0.0.0:2"), false), MetricsPlace::Apart, "{reachable}");
        }
    }
}

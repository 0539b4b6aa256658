//! A service, assembled: its routes behind the edge, its metrics beside or among them, and what works in the background.

use crate::connections::ConnectionMetrics;
use crate::descriptors::fit_connections;
use crate::error::HttpError;
use crate::layer::Edge;
use crate::metrics::metrics_route;
use crate::panics;
use crate::parameters::QueryParameters;
use crate::serve::{ServeConfig, listen, serve, shutdown_signal};
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

/// A path's routes without `HEAD`, which axum would answer with the `GET` handler: for where a `GET` leaves something behind, such as a
/// scan that is counted. `allow` names the methods that are left.
pub fn without_head<S: Clone + Send + Sync + 'static>(
    routes: MethodRouter<S>,
    allow: &'static str,
) -> MethodRouter<S> {
    let refuse = move || async move { ([(ALLOW, allow)], HttpError::MethodNotAllowed) };
    routes.head(refuse).fallback(refuse)
}

/// How long a process that stops may take to say goodbye.
pub const SHUTDOWN_HOOK_TIMEOUT: Duration = Duration::from_secs(1);

type ShutdownHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Most scrapers of `/metrics` at once, where they have an address of their own.
const MAX_SCRAPERS: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// Where a service listens, and how.
#[derive(Debug, Clone)]
pub struct Listening {
    /// `BIND_ADDR`.
    pub bind: SocketAddr,
    /// `METRICS_BIND_ADDR`.
    pub metrics_bind: Option<SocketAddr>,
    /// `METRICS_PUBLIC`: whether `/metrics` may be served on an address that is not loopback.
    pub metrics_public: bool,
    /// The bounds of connections; the metrics in it are replaced by the service's own.
    pub server: ServeConfig,
}

impl Listening {
    /// Where `/metrics` is served: on an address that others may reach only if the operator says so.
    #[must_use]
    pub fn metrics_place(&self) -> MetricsPlace {
        match self.metrics_bind {
            Some(_) => MetricsPlace::Apart,
            None if self.metrics_public || self.bind.ip().to_canonical().is_loopback() => MetricsPlace::Here,
            None => MetricsPlace::Nowhere,
        }
    }
}

/// Where `/metrics` is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsPlace {
    /// Among the other routes.
    Here,
    /// On an address of its own.
    Apart,
    /// Nowhere: the service's address may be reached by others than its operator.
    Nowhere,
}

/// A service that is not listening yet.
pub struct App {
    /// Everything that is served on the service's own address.
    pub router: Router,
    /// What is served on the address of the metrics, where they have one.
    pub metrics: Option<Router>,
    metrics_place: MetricsPlace,
    connections: ConnectionMetrics,
    background: AbortHandle,
    shutdown_hook: Option<ShutdownHook>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Puts `routes` behind `edge`, with problem documents for what is not there, and `/metrics` where it belongs. A query that is
    /// not among `parameters` is refused on every route. `background` is ended when the app is dropped.
    #[must_use]
    pub fn new(
        edge: &Edge,
        (routes, parameters): (Router, QueryParameters),
        mut registry: Registry,
        metrics_place: MetricsPlace,
        background: AbortHandle,
    ) -> Self {
        let connections = ConnectionMetrics::register(&mut registry);
        let metrics = Router::new().route("/metrics", metrics_route(Arc::new(registry)));
        let (routes, metrics) = match metrics_place {
            MetricsPlace::Here => (routes.merge(metrics), None),
            MetricsPlace::Apart => (routes, Some(metrics)),
            MetricsPlace::Nowhere => (routes, None),
        };
        let edge = edge.taking(Arc::new(parameters));
        let wrapped = |router: Router| edge.wrap(router.method_not_allowed_fallback(not_allowed));
        let router = wrapped(routes.fallback(not_found));
        let metrics = metrics.map(|metrics| wrapped(metrics.fallback(not_metrics)));
        Self { router, metrics, metrics_place, connections, background, shutdown_hook: None }
    }

    /// The same service, which does `shutdown_hook` once it has answered everybody and what worked in the background has ended. It gets a
    /// second, and is not done at all where the process is killed.
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
    }
}

async fn not_found() -> HttpError {
    HttpError::NotFound("there is nothing at this path; /docs lists what there is".into())
}

async fn not_metrics() -> HttpError {
    HttpError::NotFound("there is nothing at this path; /metrics is all there is at this address".into())
}

async fn not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}

/// Serves a service until `SIGTERM` or `SIGINT`, and then drains it. `assemble` is called inside the runtime, once both
/// addresses are listened on.
///
/// # Errors
///
/// When an address cannot be listened on, or the process has no means to be told to stop.
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
                "/metrics is not served, because BIND_ADDR is not a loopback address: set METRICS_BIND_ADDR to serve it on an \
                 address of its own, or METRICS_PUBLIC=true to serve it to everybody"
            );
        }
        if let (Some(listener), Some(metrics)) = (metrics_listener, app.metrics.take()) {
            let few = ServeConfig {
                max_connections: MAX_SCRAPERS,
                max_connections_per_client: MAX_SCRAPERS,
                ..ServeConfig::default()
            };
            tokio::spawn(serve(listener, metrics, few, std::future::pending()));
        }
        let drained = serve(listener, app.router.clone(), server, shutdown).await;
        app.background.abort();
        if let Some(shutdown_hook) = app.shutdown_hook.take()
            && tokio::time::timeout(SHUTDOWN_HOOK_TIMEOUT, shutdown_hook()).await.is_err()
        {
            tracing::warn!("{service} could not say goodbye in time");
        }
        tracing::info!(cut = drained.cut, "{service} has stopped");
        Ok(())
    })
}

/// Listens on the address that the setting `name` holds.
fn listen_at(name: &str, bind: SocketAddr) -> io::Result<TcpListener> {
    listen(bind).map_err(|error| {
        io::Error::new(error.kind(), format!("{name} is {bind}, which cannot be listened on: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_beyond_loopback_only_where_the_operator_says_so() {
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

//! A service, assembled: its routes behind the edge, its metrics beside or among them, and what works in the background.

use crate::error::ApiError;
use crate::layer::{Area, Edge};
use crate::metrics::metrics_route;
use crate::parameters::QueryParameters;
use crate::serve::{ServeConfig, serve, shutdown_signal};
use axum::Router;
use axum::routing::MethodRouter;
use http::HeaderValue;
use http::header::{ALLOW, CONTENT_SECURITY_POLICY};
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

/// What the pages below `/docs` may load: their own files; Swagger UI sets styles and shows images by itself.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// The area of Swagger UI.
#[must_use]
pub fn docs_area() -> Area {
    Area::new("/docs").header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY))
}

/// A path's routes without `HEAD`, which axum would answer with the `GET` handler: for where a `GET` leaves something behind, such as a
/// scan that is counted. `allow` names the methods that are left.
pub fn without_head<S: Clone + Send + Sync + 'static>(
    routes: MethodRouter<S>,
    allow: &'static str,
) -> MethodRouter<S> {
    let refuse = move || async move { ([(ALLOW, allow)], ApiError::MethodNotAllowed) };
    routes.head(refuse).fallback(refuse)
}

/// How long a process that stops may take to say goodbye.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

type Farewell = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A service that is not listening yet.
pub struct App {
    /// Everything that is served on the service's own address.
    pub router: Router,
    /// What is served on the address of the metrics, where they have one.
    pub metrics: Option<Router>,
    background: AbortHandle,
    farewell: Option<Farewell>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Puts `routes` behind `edge`, with problem documents for what is not there. A query that is not among `parameters` is
    /// refused on every route. `/metrics` is among the routes unless `metrics_apart`. `background` is ended when the app is dropped.
    #[must_use]
    pub fn new(
        edge: &Edge,
        (routes, parameters): (Router, QueryParameters),
        registry: Registry,
        metrics_apart: bool,
        background: AbortHandle,
    ) -> Self {
        let metrics = Router::new().route("/metrics", metrics_route(Arc::new(registry)));
        let (routes, metrics) =
            if metrics_apart { (routes, Some(metrics)) } else { (routes.merge(metrics), None) };
        let edge = edge.taking(Arc::new(parameters));
        let wrapped = |router: Router| edge.wrap(router.method_not_allowed_fallback(not_allowed));
        let router = wrapped(routes.fallback(not_found));
        let metrics = metrics.map(|metrics| wrapped(metrics.fallback(not_metrics)));
        Self { router, metrics, background, farewell: None }
    }

    /// The same service, which does `farewell` once it has answered everybody and what worked in the background has ended. It gets a
    /// second, and is not done at all where the process is killed.
    #[must_use]
    pub fn with_farewell<F>(mut self, farewell: impl FnOnce() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.farewell = Some(Box::new(|| Box::pin(farewell())));
        self
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.background.abort();
    }
}

async fn not_found() -> ApiError {
    ApiError::NotFound("there is nothing at this path; /docs lists what there is".into())
}

async fn not_metrics() -> ApiError {
    ApiError::NotFound("there is nothing at this path; /metrics is all there is at this address".into())
}

async fn not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
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
    bind: SocketAddr,
    metrics_bind: Option<SocketAddr>,
    assemble: impl FnOnce() -> App,
) -> io::Result<()> {
    let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = shutdown_signal()?;
        let listener = listen("BIND_ADDR", bind).await?;
        let metrics_listener = match metrics_bind {
            Some(bind) => Some(listen("METRICS_BIND_ADDR", bind).await?),
            None => None,
        };
        let mut app = assemble();
        tracing::info!(version, bind = %listener.local_addr()?, "{service} is listening");
        if let (Some(listener), Some(metrics)) = (metrics_listener, app.metrics.take()) {
            tokio::spawn(serve(listener, metrics, ServeConfig::default(), std::future::pending()));
        }
        let drained = serve(listener, app.router.clone(), ServeConfig::default(), shutdown).await;
        app.background.abort();
        if let Some(farewell) = app.farewell.take()
            && tokio::time::timeout(FAREWELL_WITHIN, farewell()).await.is_err()
        {
            tracing::warn!("{service} could not say goodbye in time");
        }
        tracing::info!(cut = drained.cut, "{service} has stopped");
        Ok(())
    })
}

/// Listens on the address that the setting `name` holds.
async fn listen(name: &str, bind: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(bind).await;
    listener.map_err(|error| {
        io::Error::new(error.kind(), format!("{name} is {bind}, which cannot be listened on: {error}"))
    })
}

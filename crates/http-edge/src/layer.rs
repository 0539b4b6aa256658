//! The edge: one layer around every route that makes an axum router safe to expose to the internet.
//!
//! Before the handler, a request gets an id, a check of its host and query, and a bound on its body. The
//! handler runs within a time limit, and a panic becomes an error. Afterwards the edge renders errors with
//! the request id, adds the security headers and `Cache-Control` that the handler did not set, and counts the
//! request. All this is one layer, because every scan passes it: a request costs one boxed future and the
//! text of its id (see docs/adr/0007).
//!
//! The time limit covers the work up to the response's head. A streamed body may take as long as its client
//! keeps reading (see [`crate::ServeConfig::write_timeout`]).

use crate::access_log::{AccessLog, LineBudget};
use crate::body::{self, BodyBounds, Budget, TooLarge};
use crate::client_ip::TrustedProxies;
use crate::error::HttpError;
use crate::exchange::{EdgeState, Exchange};
use crate::host::InvalidHost;
use crate::http_metrics::{HttpMetrics, NO_PROBLEM, RouteMetrics, UNMATCHED};
use crate::parameters::QueryParameters;
use crate::path_policy::PathPolicy;
use ambient::Clock;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// The limits of every request.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// The time limit from the request's head to the response's head, else 503 `server-timeout`. Default: 10
    /// s.
    pub timeout: Duration,
    /// The length limit of a request body in bytes, else 413. Default: 64 KiB.
    pub body_limit: usize,
    /// The time limit for a request body to arrive, else 408. Must be shorter than `timeout`. Default: 5 s.
    pub body_timeout: Duration,
    /// The memory limit in bytes of all request bodies together, else 429 `service-overloaded`. Default: 32
    /// MiB.
    pub bodies_limit: usize,
    /// The faults of the server and of its load, each a status and a slug. `http_requests_total` has them at
    /// 0 from the start for every documented operation. Default: those of [`crate::HttpError`].
    pub counted_problems: &'static [(u16, &'static str)],
    /// The requests that are logged. Default: none.
    pub access_log: AccessLog,
    /// The proxies whose traces are continued. Default: none.
    pub proxies: TrustedProxies,
}

/// The server's own faults, and the rejections of load.
const HTTP_PROBLEMS: [(u16, &str); 4] =
    [(429, "rate-limited"), (429, "service-overloaded"), (500, "internal"), (503, "server-timeout")];

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            body_limit: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            bodies_limit: 32 * 1024 * 1024,
            counted_problems: &HTTP_PROBLEMS,
            access_log: AccessLog::Off,
            proxies: TrustedProxies::default(),
        }
    }
}

/// The layer around all routes. A process has one; clones are cheap.
///
/// ```
/// use axum::{Router, body::Body, extract::Request, routing::get};
/// use http_edge::{Edge, EdgeConfig, metrics_registry};
/// use std::sync::Arc;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = Arc::new(ambient::SystemClock::new());
/// let edge = Edge::new(EdgeConfig::default(), Vec::new(), clock, &mut metrics_registry());
/// let app = edge.wrap(Router::new().route("/items", get(|| async { "none" })));
///
/// let response = app.clone().oneshot(Request::get("/items").body(Body::empty())?).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["cache-control"], "no-store");
/// let response = app.oneshot(Request::get("/other").body(Body::empty())?).await?;
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Edge {
    state: Arc<EdgeState>,
    parameters: Option<Arc<QueryParameters>>,
}

impl Edge {
    /// Creates an edge with these limits and registers its metrics. The first policy that covers a path
    /// applies.
    pub fn new(
        config: EdgeConfig,
        path_policies: Vec<PathPolicy>,
        clock: Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Self {
        let metrics = HttpMetrics::new(registry);
        let budget = Arc::new(Budget::new(config.bodies_limit));
        let bodies = BodyBounds { limit: config.body_limit, within: config.body_timeout, budget };
        let state = EdgeState {
            timeout: config.timeout,
            bodies,
            path_policies,
            clock,
            metrics,
            counted_problems: config.counted_problems,
            access_log: config.access_log,
            access_lines: LineBudget::default(),
            proxies: config.proxies,
        };
        Self { state: Arc::new(state), parameters: None }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.state.clock)
    }

    /// Adds the series of the documented responses of all operations, with the value 0.
    pub(crate) fn expect_responses(&self, parameters: &QueryParameters) {
        for (path, method, successes) in parameters.operations() {
            let route = self.state.metrics.route(path);
            for status in successes {
                route.expect(method, *status, NO_PROBLEM);
            }
            for (status, slug) in self.state.counted_problems {
                route.expect(method, *status, slug);
            }
        }
    }

    /// Returns the same edge, which also rejects a query that the route does not take, before it reads the
    /// body.
    #[must_use]
    pub(crate) fn with_parameters(&self, parameters: Arc<QueryParameters>) -> Self {
        Self { state: Arc::clone(&self.state), parameters: Some(parameters) }
    }

    /// Puts `router` behind the edge. Call it once, on the finished router, after all routes and other
    /// layers.
    pub fn wrap<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(self.clone())
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("timeout", &self.state.timeout).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        let (state, parameters) = (Arc::clone(&self.state), self.parameters.clone());
        EdgeService { inner, state, parameters, route: Arc::default() }
    }
}

/// One route behind the [`Edge`].
#[derive(Clone)]
pub struct EdgeService<S> {
    inner: S,
    state: Arc<EdgeState>,
    parameters: Option<Arc<QueryParameters>>,
    /// The metrics of the first route served. axum wraps each route separately, so nearly every request uses
    /// them.
    route: Arc<OnceLock<Arc<RouteMetrics>>>,
}

impl<S> fmt::Debug for EdgeService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeService").finish_non_exhaustive()
    }
}

impl<S> EdgeService<S> {
    fn route_of(&self, request: &Request) -> Arc<RouteMetrics> {
        let template = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let known = self.route.get_or_init(|| self.state.metrics.route(template));
        if known.template() == template { Arc::clone(known) } else { self.state.metrics.route(template) }
    }

    /// Rejects a request before its handler runs, or bounds its body.
    fn admit(&self, request: &mut Request) -> Result<(), HttpError> {
        if let Some(InvalidHost(why)) = request.extensions().get() {
            return Err(HttpError::invalid_request(*why));
        }
        if let Some(parameters) = &self.parameters {
            parameters.check(request)?;
        }
        body::bound(request, &self.state.bodies).map_err(|TooLarge| HttpError::ContentTooLarge)
    }
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let exchange = Exchange::new(Arc::clone(&self.state), self.route_of(&request), &request);
        request.extensions_mut().insert(exchange.request_id.clone());
        if let Err(error) = self.admit(&mut request) {
            let response = exchange.finish(error.into_response());
            return Box::pin(std::future::ready(Ok(response)));
        }
        let handler = self.inner.call(request);
        Box::pin(async move {
            let response = exchange.run(handler).await;
            Ok(exchange.finish(response))
        })
    }
}

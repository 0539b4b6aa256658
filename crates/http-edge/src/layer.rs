//! The edge: one layer around every route, which turns an axum router into a service fit for the open internet.
//!
//! Going in, a request gets its id and a bound on its body. While the handler runs, it has a time limit, and a panic
//! is caught. Going out, a refusal is rendered with the request id, the security headers and `Cache-Control` are
//! filled in where the handler set none, and the metrics are counted. All of it is one layer rather than ten,
//! because it is on the path of every scan: a request costs one boxed future and the id's text.
//!
//! What differs by path is an [`PathPolicy`]: pages whose refusals are HTML, headers such as CORS that even a timeout's
//! answer must carry, a longer time limit. It goes by the path and not by the route, so it holds for refusals that
//! never reached a route.
//!
//! The time limit ends when the response's head is there; a streamed body may take as long as its reader keeps
//! reading (see [`crate::ServeConfig::write_timeout`]).

use crate::body::{self, BodyBounds, Budget, TooLarge};
use crate::error::HttpError;
use crate::host::UnfitHost;
use crate::http_metrics::{HttpMetrics, RouteMetrics, UNMATCHED, method_label};
use crate::panics;
use crate::parameters::QueryParameters;
use crate::problem::{Problem, put_in_place};
use crate::request_id::{RequestId, X_REQUEST_ID};
use ambient::Clock;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// Renders a refusal, e.g. as a page. Status and headers such as `Retry-After` are kept by the edge.
pub type RenderProblem = fn(&Problem, &RequestId) -> Response;

/// Headers that every response gets unless it set them itself.
const DEFAULT_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The limits every request is held to.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Longest time from the request's head to the response's, else 503 `server-timeout`. Default 10 s.
    pub timeout: Duration,
    /// Longest request body in bytes, else 413. Default 64 KiB.
    pub body_limit: usize,
    /// Longest time a handler waits for the whole body, else 408; shorter than `timeout`. Default 5 s.
    pub body_timeout: Duration,
    /// What the bodies of all requests may take in memory together, bytes, else 429 `service-overloaded`. Default 32 MiB.
    pub bodies_limit: usize,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            body_limit: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            bodies_limit: 32 * 1024 * 1024,
        }
    }
}

/// The paths below a prefix, and what is different there.
#[derive(Clone)]
pub struct PathPolicy {
    prefix: &'static str,
    render: Option<RenderProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whose pages may read the answers; `None` where no answer depends on `Origin`.
    origins: Option<Vec<HeaderValue>>,
    timeout: Option<Duration>,
}

impl PathPolicy {
    /// The path `prefix` itself and all below it: `/t` is `/t` and `/t/…`, not `/tags`.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, render: None, headers: Vec::new(), origins: None, timeout: None }
    }

    /// Renders every refusal here by `render` instead of as JSON: also 404, 405, timeouts and panics.
    #[must_use]
    pub fn render_problems_with(mut self, render: RenderProblem) -> Self {
        self.render = Some(render);
        self
    }

    /// Sets a header on every response here that does not have it, refusals included.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Lets pages of these origins, as browsers write them, read every answer here, refusals included, and tells caches that answers
    /// differ by `Origin`.
    #[must_use]
    pub fn readable_from(mut self, origins: Vec<HeaderValue>) -> Self {
        self.origins = Some(origins);
        self
    }

    /// Another time limit than [`EdgeConfig::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Debug for PathPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathPolicy")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The layer. One per process; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
    parameters: Option<Arc<QueryParameters>>,
}

struct Shared {
    config: EdgeConfig,
    bodies: BodyBounds,
    path_policies: Vec<PathPolicy>,
    clock: Arc<dyn Clock>,
    metrics: HttpMetrics,
}

impl Edge {
    /// An edge with these limits, whose metrics go to `registry`. Of several path_policies that hold a path the first counts.
    pub fn new(
        config: EdgeConfig,
        path_policies: Vec<PathPolicy>,
        clock: Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Self {
        let metrics = HttpMetrics::new(registry);
        let budget = Arc::new(Budget::new(config.bodies_limit));
        let bodies = BodyBounds { limit: config.body_limit, within: config.body_timeout, budget };
        Self { shared: Arc::new(Shared { config, bodies, path_policies, clock, metrics }), parameters: None }
    }

    /// The same edge, which refuses a query that a route does not take before anything else of the request is looked at.
    #[must_use]
    pub(crate) fn taking(&self, parameters: Arc<QueryParameters>) -> Self {
        Self { shared: Arc::clone(&self.shared), parameters: Some(parameters) }
    }

    /// `router` behind the edge. To be called once, on the finished router, after all routes and other layers.
    pub fn wrap<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(self.clone())
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        let (shared, parameters) = (Arc::clone(&self.shared), self.parameters.clone());
        EdgeService { inner, shared, parameters, route: Arc::default() }
    }
}

/// One route behind the [`Edge`].
#[derive(Clone)]
pub struct EdgeService<S> {
    inner: S,
    shared: Arc<Shared>,
    parameters: Option<Arc<QueryParameters>>,
    /// The handles of the route served last; axum layers each route by itself, so it is nearly always the same.
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
        let known = self.route.get_or_init(|| self.shared.metrics.route(template));
        if known.template() == template { Arc::clone(known) } else { self.shared.metrics.route(template) }
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
        let shared = Arc::clone(&self.shared);
        let path = request.uri().path();
        let mut exchange = Exchange {
            began: shared.clock.monotonic(),
            path_policy: shared.path_policies.iter().position(|path_policy| path_policy.holds(path)),
            route: self.route_of(&request),
            method: request.method().clone(),
            request_id: RequestId::of(request.headers(), || shared.clock.unix_millis()),
            shared,
            reader: None,
        };
        exchange.reader = exchange.reader_of(request.headers());
        request.extensions_mut().insert(exchange.request_id.clone());
        if let Some(UnfitHost(why)) = request.extensions().get() {
            let refused = exchange.answer(HttpError::invalid_request(*why).into_response());
            return Box::pin(std::future::ready(Ok(refused)));
        }
        if let Some(Err(refusal)) = self.parameters.as_ref().map(|taken| taken.check(&request)) {
            let refused = exchange.answer(refusal.into_response());
            return Box::pin(std::future::ready(Ok(refused)));
        }
        if let Err(TooLarge) = body::bound(&mut request, &exchange.shared.bodies) {
            let refused = exchange.answer(HttpError::ContentTooLarge.into_response());
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let handler = self.inner.call(request);
        Box::pin(async move {
            let answered = exchange.run(handler).await;
            Ok(exchange.answer(answered))
        })
    }
}

/// One request on its way through.
struct Exchange {
    shared: Arc<Shared>,
    path_policy: Option<usize>,
    began: Duration,
    route: Arc<RouteMetrics>,
    method: Method,
    request_id: RequestId,
    /// The origin whose page may read the answer, where that differs by origin.
    reader: Option<HeaderValue>,
}

impl Exchange {
    fn path_policy(&self) -> Option<&PathPolicy> {
        self.path_policy.and_then(|index| self.shared.path_policies.get(index))
    }

    fn reader_of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origins = self.path_policy()?.origins.as_ref()?;
        headers.get(ORIGIN).filter(|origin| origins.contains(origin)).cloned()
    }

    async fn run(&self, handler: impl Future<Output = Result<Response, Infallible>>) -> Response {
        let limit = self
            .path_policy()
            .and_then(|path_policy| path_policy.timeout)
            .unwrap_or(self.shared.config.timeout);
        match tokio::time::timeout(limit, panics::guard(handler)).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(panicked)) => HttpError::internal(panicked).into_response(),
            Err(_) => {
                tracing::warn!(
                    request_id = self.request_id.as_str(),
                    route = self.route.template(),
                    limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                    "a request was given up at its time limit"
                );
                HttpError::ServerTimeout.into_response()
            }
        }
    }

    /// The answer as it leaves: refusals rendered, headers filled in, counted.
    fn answer(mut self, mut response: Response) -> Response {
        if is_refusal(response.status()) {
            response = self.refusal(response);
        }
        let headers = response.headers_mut();
        headers.reserve(DEFAULT_HEADERS.len() + 1);
        headers.insert(X_REQUEST_ID, self.request_id.header_value());
        for (name, value) in self.path_policy().map_or(&[][..], |path_policy| &path_policy.headers) {
            fill_in(headers, name.clone(), || value.clone());
        }
        if let Some(reader) = self.reader.take() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        }
        if self.path_policy().is_some_and(|path_policy| path_policy.origins.is_some()) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        for (name, value) in DEFAULT_HEADERS {
            fill_in(headers, name, || value);
        }
        let took = self.shared.clock.monotonic().saturating_sub(self.began);
        self.route.answered(&self.method, response.status(), took);
        tracing::debug!(
            target: "access",
            request_id = self.request_id.as_str(),
            method = method_label(&self.method),
            route = self.route.template(),
            status = response.status().as_u16(),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    }

    fn refusal(&self, mut refused: Response) -> Response {
        let problem = match refused.extensions_mut().remove::<Problem>() {
            Some(problem) => problem,
            None if is_bare(&refused) => Problem::of_bare(refused.status()),
            None => return refused,
        };
        if let Some(cause) = problem.cause() {
            tracing::error!(
                request_id = self.request_id.as_str(),
                method = method_label(&self.method),
                route = self.route.template(),
                cause = chain_of(cause),
                "a request failed by a fault of our own"
            );
        }
        let rendered = match self.path_policy().and_then(|path_policy| path_policy.render) {
            Some(render) => render(&problem, &self.request_id),
            None => problem.to_json_response(&self.request_id),
        };
        let mut response = put_in_place(refused, &problem, rendered);
        if matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            // what is left of the body is not worth reading to keep the connection
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Whether a refusal is axum's own: nothing, or a line of plain text.
fn is_bare(refused: &Response) -> bool {
    let kind = refused.headers().get(CONTENT_TYPE);
    kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn fill_in(headers: &mut HeaderMap, name: HeaderName, value: impl FnOnce() -> HeaderValue) {
    headers.entry(name).or_insert_with(value);
}

fn chain_of(error: &(dyn Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

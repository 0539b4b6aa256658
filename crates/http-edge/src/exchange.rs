//! One request and its response inside the edge: time limit, panics, errors, headers, metrics and the access
//! log.

use crate::access_log::{AccessLog, LineBudget};
use crate::body::BodyBounds;
use crate::client_ip::TrustedProxies;
use crate::error::HttpError;
use crate::http_metrics::{HttpMetrics, NO_PROBLEM, RouteMetrics, method_label};
use crate::panics;
use crate::path_policy::PathPolicy;
use crate::problem::{Problem, put_in_place};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::request_span::RequestSpan;
use ambient::Clock;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The headers that every response gets unless the handler or the policy sets them.
const DEFAULT_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What all requests of a process share.
pub(crate) struct EdgeState {
    pub(crate) timeout: Duration,
    pub(crate) bodies: BodyBounds,
    pub(crate) path_policies: Vec<PathPolicy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: HttpMetrics,
    pub(crate) counted_problems: &'static [(u16, &'static str)],
    pub(crate) access_log: AccessLog,
    pub(crate) access_lines: LineBudget,
    pub(crate) proxies: TrustedProxies,
}

/// One request on its way through the edge.
pub(crate) struct Exchange {
    state: Arc<EdgeState>,
    /// The index of the first policy that covers the path.
    path_policy: Option<usize>,
    started: Duration,
    route: Arc<RouteMetrics>,
    method: Method,
    pub(crate) request_id: RequestId,
    /// The origin whose pages may read the response, if the policy depends on it.
    allowed_origin: Option<HeaderValue>,
    span: RequestSpan,
}

impl Exchange {
    pub(crate) fn new(state: Arc<EdgeState>, route: Arc<RouteMetrics>, request: &Request) -> Self {
        let method = method_label(request.method());
        let span = RequestSpan::start(request, method, route.template(), &state.proxies);
        let path = request.uri().path();
        let path_policy = state.path_policies.iter().position(|policy| policy.covers(path));
        let mut exchange = Self {
            path_policy,
            started: state.clock.monotonic(),
            route,
            method: request.method().clone(),
            request_id: RequestId::of(request.headers(), || state.clock.unix_millis()),
            allowed_origin: None,
            span,
            state,
        };
        exchange.allowed_origin =
            exchange.path_policy().and_then(|policy| policy.allowed_origin(request.headers()));
        exchange
    }

    fn path_policy(&self) -> Option<&PathPolicy> {
        self.path_policy.and_then(|index| self.state.path_policies.get(index))
    }

    /// Runs the handler within the time limit. A timeout and a panic become errors.
    pub(crate) async fn run(&self, handler: impl Future<Output = Result<Response, Infallible>>) -> Response {
        let limit = self.path_policy().and_then(PathPolicy::time_limit).unwrap_or(self.state.timeout);
        match self.span.within(tokio::time::timeout(limit, panics::guard(handler))).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(panicked)) => HttpError::internal(panicked).into_response(),
            Err(_) => {
                tracing::warn!(
                    request_id = self.request_id.as_str(),
                    route = self.route.template(),
                    limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                    "request exceeded its time limit"
                );
                HttpError::ServerTimeout.into_response()
            }
        }
    }

    /// Returns the response as the client gets it: errors rendered, headers added. Counts and logs it.
    pub(crate) fn finish(mut self, response: Response) -> Response {
        let span = std::mem::take(&mut self.span);
        span.end(|| {
            let (response, problem) = self.rendered(response);
            span.record(response.status(), problem);
            response
        })
    }

    /// Does the work of [`Self::finish`], and returns the slug of the problem document, or [`NO_PROBLEM`].
    fn rendered(mut self, mut response: Response) -> (Response, &'static str) {
        let mut problem = NO_PROBLEM;
        if is_error(response.status()) {
            (response, problem) = self.render_error(response);
        }
        let headers = response.headers_mut();
        headers.reserve(DEFAULT_HEADERS.len() + 1);
        headers.insert(X_REQUEST_ID, self.request_id.header_value());
        for (name, value) in self.path_policy().map_or(&[][..], PathPolicy::headers) {
            set_default(headers, name.clone(), || value.clone());
        }
        if let Some(origin) = self.allowed_origin.take() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.path_policy().is_some_and(PathPolicy::varies_by_origin) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        for (name, value) in DEFAULT_HEADERS {
            set_default(headers, name, || value);
        }
        let took = self.state.clock.monotonic().saturating_sub(self.started);
        self.route.completed(&self.method, response.status(), problem, took);
        self.log_access(response.status(), took);
        (response, problem)
    }

    fn log_access(&self, status: StatusCode, took: Duration) {
        macro_rules! log {
            ($level:ident, $($suppressed:tt)*) => {
                tracing::$level!(
                    target: "access",
                    request_id = self.request_id.as_str(),
                    method = method_label(&self.method),
                    route = self.route.template(),
                    status = status.as_u16(),
                    took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    $($suppressed)*
                    "request completed"
                )
            };
        }
        match self.state.access_log {
            AccessLog::Off => log!(debug,),
            AccessLog::Errors if !is_error(status) => {}
            AccessLog::Errors | AccessLog::All => {
                if let Some(suppressed) = self.state.access_lines.take(self.started + took) {
                    log!(info, suppressed,);
                }
            }
        }
    }

    /// Returns the rendered error, and the slug of its problem document.
    fn render_error(&self, mut response: Response) -> (Response, &'static str) {
        let problem = match response.extensions_mut().remove::<Problem>() {
            Some(problem) => problem,
            None if is_bare(&response) => HttpError::problem_of_status(response.status()),
            None => return (response, NO_PROBLEM),
        };
        if let Some(cause) = problem.cause() {
            tracing::error!(
                request_id = self.request_id.as_str(),
                method = method_label(&self.method),
                route = self.route.template(),
                cause = chain_of(cause),
                "request failed with an internal error"
            );
        }
        let mut response = match self.path_policy().and_then(PathPolicy::render) {
            Some(render) => put_in_place(response, &problem, render(&problem, &self.request_id)),
            None => problem.render_json(response, self.request_id.as_str()),
        };
        if matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            // Closing is cheaper than reading the rest of the body.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        (response, problem.slug())
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Whether axum itself made the error: its body is empty or one line of plain text.
fn is_bare(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: impl FnOnce() -> HeaderValue) {
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

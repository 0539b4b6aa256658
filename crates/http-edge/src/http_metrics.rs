//! `http_requests_total{route,method,status,problem}` and `http_request_duration_seconds{route}`.
//!
//! `route` is the template (`/v1/scan/{tag_id}`), never a path, and `method` is a known method or `other`.
//! `problem` is the slug of the response's problem document, or `none`. So a client cannot create series. A
//! request costs one comparison of the template, one counter and one histogram, because the layer keeps the
//! metrics of its route.

use http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The label of requests that match no route.
pub(crate) const UNMATCHED: &str = "unmatched";

/// Upper bounds in seconds, from less than a scan takes up to the longest time limit.
const BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "other"];

/// The statuses whose counters are cached. Others are looked up for each request.
const STATUSES: [u16; 18] =
    [200, 201, 202, 204, 303, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    status: u16,
    problem: &'static str,
}

/// The value of `problem` without a problem document.
pub(crate) const NO_PROBLEM: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

/// The label of an exemplar: the trace of a request that took as long as its bucket says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

type Durations = HistogramWithExemplars<TraceLabel>;

/// The metrics of all routes.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Durations, fn() -> Durations>,
    routes: Mutex<HashMap<Arc<str>, Arc<RouteMetrics>>>,
}

/// The metrics of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    route: Arc<str>,
    requests: Family<RequestLabels, Counter>,
    seconds: Durations,
    /// The counters by method and status. Those of the same cell differ by problem.
    counters: Box<[OnceLock<ProblemCounter>]>,
}

/// A cached counter, and those of the other problems with the same method and status. Slugs are constants of
/// the program, so the list is short.
#[derive(Debug)]
struct ProblemCounter {
    problem: &'static str,
    counter: Counter,
    next: OnceLock<Box<ProblemCounter>>,
}

impl HttpMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let requests = Family::default();
        let seconds =
            Family::new_with_constructor((|| Durations::new(BUCKETS.into_iter())) as fn() -> Durations);
        registry.register(
            "http_requests",
            "Completed requests by route template, method, status and slug of the problem document \
             (none without one)",
            requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the request's head to the response's head",
            Unit::Seconds,
            seconds.clone(),
        );
        Self { requests, seconds, routes: Mutex::new(HashMap::new()) }
    }

    /// Returns the metrics of the route with this template. Creates them at the first call.
    pub(crate) fn route(&self, template: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock();
        if let Some(known) = routes.get(template) {
            return Arc::clone(known);
        }
        let route: Arc<str> = Arc::from(template);
        let metrics = Arc::new(RouteMetrics {
            route: Arc::clone(&route),
            requests: self.requests.clone(),
            seconds: self.seconds.get_or_create_owned(&RouteLabels { route: Arc::clone(&route) }),
            counters: (0..METHODS.len() * STATUSES.len()).map(|_| OnceLock::new()).collect(),
        });
        routes.insert(route, Arc::clone(&metrics));
        metrics
    }
}

impl RouteMetrics {
    pub(crate) fn template(&self) -> &str {
        &self.route
    }

    /// Counts a response and its time. `problem` is the slug of its problem document, or [`NO_PROBLEM`].
    pub(crate) fn completed(
        &self,
        method: &Method,
        status: StatusCode,
        problem: &'static str,
        took: Duration,
    ) {
        self.with_counter(method.as_str(), status.as_u16(), problem, |counter| {
            counter.inc();
        });
        let ids = spans::current_ids().filter(|ids| ids.is_sampled);
        let exemplar = ids.map(|ids| TraceLabel { trace_id: ids.trace.to_string() });
        self.seconds.observe(took.as_secs_f64(), exemplar, None);
    }

    /// Adds the series of this response with the value 0, if it does not exist.
    pub(crate) fn expect(&self, method: &str, status: u16, problem: &'static str) {
        self.with_counter(method, status, problem, |_| ());
    }

    fn with_counter(&self, method: &str, status: u16, problem: &'static str, f: impl FnOnce(&Counter)) {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let Some(index) = STATUSES.iter().position(|known| *known == status) else {
            return f(&self.counter(method, status, problem));
        };
        let new = || ProblemCounter {
            problem,
            counter: self.counter(method, status, problem),
            next: OnceLock::new(),
        };
        let mut cached = self.counters[method * STATUSES.len() + index].get_or_init(new);
        while cached.problem != problem {
            cached = cached.next.get_or_init(|| Box::new(new()));
        }
        f(&cached.counter);
    }

    fn counter(&self, method: usize, status: u16, problem: &'static str) -> Counter {
        let labels =
            RequestLabels { route: Arc::clone(&self.route), method: METHODS[method], status, problem };
        self.requests.get_or_create_owned(&labels)
    }
}

/// Returns the label of a method: its name if it is known, else `other`.
pub(crate) fn method_label(method: &Method) -> &'static str {
    METHODS.iter().find(|known| **known == method.as_str()).unwrap_or(&METHODS[METHODS.len() - 1])
}

//! `http_requests_total{route,method,status}` and `http_request_duration_seconds{route}`.
//!
//! `route` is the template (`/v1/scan/{tag_id}`), never a path, and `method` is a known method or `other`. So
//! a client cannot create series. A request costs one comparison of the template, one counter and one
//! histogram, because the layer keeps the metrics of its route.

use http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
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
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

/// The metrics of all routes.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    routes: Mutex<HashMap<Arc<str>, Arc<RouteMetrics>>>,
}

/// The metrics of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    route: Arc<str>,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    counters: Box<[OnceLock<Counter>]>,
}

impl HttpMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let requests = Family::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register("http_requests", "Completed requests", requests.clone());
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

    pub(crate) fn completed(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        match STATUSES.iter().position(|known| *known == status.as_u16()) {
            Some(index) => {
                let cell = &self.counters[method * STATUSES.len() + index];
                cell.get_or_init(|| self.counter(method, status)).inc();
            }
            None => {
                self.counter(method, status).inc();
            }
        }
        self.seconds.observe(took.as_secs_f64());
    }

    fn counter(&self, method: usize, status: StatusCode) -> Counter {
        let labels = RequestLabels {
            route: Arc::clone(&self.route),
            method: METHODS[method],
            status: status.as_u16(),
        };
        self.requests.get_or_create_owned(&labels)
    }
}

/// Returns the label of a method: its name if it is known, else `other`.
pub(crate) fn method_label(method: &Method) -> &'static str {
    METHODS.iter().find(|known| **known == method.as_str()).unwrap_or(&METHODS[METHODS.len() - 1])
}

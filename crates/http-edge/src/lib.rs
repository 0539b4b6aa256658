//! The HTTP server of both services: limits, errors, metrics, client addresses and shutdown.
//!
//! A service builds an [`axum::Router`], wraps it once with [`Edge::wrap`] and passes it to [`serve`]. Then
//! every request has an id, a time limit, a bounded body and metrics. Every error is a problem document (RFC
//! 9457), a panic is an opaque 500, and no client can hold a connection without making progress. Handlers
//! return [`HttpError`] and read their input with [`ApiJson`], [`ApiQuery`], [`ApiPath`] and [`ApiForm`].
//!
//! The crate depends on nothing of the product: it gets quotas and the like as numbers. Only this crate and
//! the services depend on axum directly.
//!
//! ```no_run
//! use axum::{Json, Router, routing::get};
//! use http_edge::{
//!     HttpError, ApiPath, Edge, EdgeConfig, PathPolicy, ServeConfig, metrics_registry, metrics_route, serve,
//!     shutdown_signal,
//! };
//! use std::{error::Error, sync::Arc};
//!
//! async fn item(ApiPath(id): ApiPath<u32>) -> Result<Json<u32>, HttpError> {
//!     if id == 0 { Err(HttpError::invalid_request("id takes a number above 0")) } else { Ok(Json(id)) }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn Error>> {
//!     let mut registry = metrics_registry();
//!     let clock = Arc::new(ambient::SystemClock::new());
//!     let items = PathPolicy::new("/items").header("access-control-allow-origin".parse()?, "*".parse()?);
//!     let edge = Edge::new(EdgeConfig::default(), vec![items], clock, &mut registry);
//!     let router = Router::new().route("/items/{id}", get(item));
//!     let app = edge.wrap(router.route("/metrics", metrics_route(Arc::new(registry))));
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(listener, app, ServeConfig::default(), shutdown_signal()?).await;
//!     Ok(())
//! }
//! ```

mod access_log;
pub mod api_doc;
pub mod api_values;
mod app;
mod body;
mod client_ip;
mod connection;
mod connection_metrics;
mod connections;
mod credentials;
mod descriptors;
mod docs;
mod error;
mod exchange;
mod exposition;
mod extract;
mod field_help;
mod framing;
mod healthcheck;
mod host;
mod http_metrics;
mod layer;
mod metrics;
mod panics;
mod parameters;
mod path_policy;
mod peer;
mod phase;
mod problem;
mod process_metrics;
mod rate_headers;
mod readiness;
mod request_id;
mod request_span;
mod serve;
mod serve_config;
mod status;
mod stream;
mod tokio_metrics;

pub use access_log::AccessLog;
pub use app::{App, Listening, MetricsPlace, SHUTDOWN_HOOK_TIMEOUT, run, without_head};
/// For crates that define problems without naming the web framework.
pub use axum::response::{IntoResponse, Response};
pub use client_ip::{TrustedProxies, limit_subject};
pub use connection_metrics::ConnectionMetrics;
pub use credentials::{UnusableKey, X_API_KEY, shown_key};
pub use docs::{docs_policy, docs_routes};
pub use error::HttpError;
pub use extract::{ApiBytes, ApiForm, ApiJson, ApiPath, ApiQuery, as_name, header_text};
pub use healthcheck::healthcheck;
pub use http::StatusCode;
pub use layer::{Edge, EdgeConfig, EdgeService};
pub use metrics::{METRIC_PREFIX, metrics_registry, metrics_route, register_build_info};
pub use parameters::{IGNORES_UNKNOWN_QUERY, QueryParameters};
pub use path_policy::{PathPolicy, RenderProblem};
pub use peer::PeerAddr;
pub use problem::Problem;
pub use rate_headers::{QuotaStatus, RATE_LIMIT, RATE_LIMIT_POLICY, rate_limit_headers};
pub use readiness::{Check, Readiness};
pub use request_id::{RequestId, X_REQUEST_ID};
pub use serve::{Drained, listen, serve, shutdown_signal};
pub use serve_config::ServeConfig;

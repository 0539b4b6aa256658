//! Everything the two services share about being on the web, and the only shared crate that knows axum.
//!
//! A service builds its [`axum::Router`], wraps it once with [`Edge::wrap`] and hands it to [`serve`]. From then on
//! every request has an id, a time limit, a bounded body and a metric, every refusal is a problem document
//! (RFC 9457), a panic is an opaque 500, and no client can hold a connection without making progress.
//! Handlers answer with [`HttpError`] and read their input through [`ApiJson`], [`ApiQuery`], [`ApiPath`] and
//! [`ApiForm`]. The crate knows no Redis, no tag and no limiter: what it carries of them arrives as numbers.
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
//!     let path_policies = vec![PathPolicy::new("/items").header("access-control-allow-origin".parse()?, "*".parse()?)];
//!     let edge = Edge::new(EdgeConfig::default(), path_policies, clock, &mut registry);
//!     let router = Router::new().route("/items/{id}", get(item));
//!     let app = edge.wrap(router.route("/metrics", metrics_route(Arc::new(registry))));
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(listener, app, ServeConfig::default(), shutdown_signal()?).await;
//!     Ok(())
//! }
//! ```

pub mod api_doc;
pub mod api_values;
mod app;
mod body;
mod client_ip;
mod connection;
mod connections;
mod credentials;
mod descriptors;
mod docs;
mod error;
mod exposition;
mod extract;
mod field_help;
mod framing;
mod host;
mod http_metrics;
mod layer;
mod metrics;
mod panics;
mod parameters;
mod phase;
mod problem;
mod process_metrics;
mod rate_headers;
mod readiness;
mod request_id;
mod serve;
mod stream;

pub use app::{App, Listening, MetricsPlace, SHUTDOWN_HOOK_TIMEOUT, run, without_head};
/// For crates that define problems without naming the web framework.
pub use axum::response::{IntoResponse, Response};
pub use client_ip::{TrustedProxies, limit_subject};
pub use connections::ConnectionMetrics;
pub use credentials::{UnusableKey, X_API_KEY, shown_key};
pub use docs::{docs_policy, docs_routes};
pub use error::HttpError;
pub use extract::{ApiBytes, ApiForm, ApiJson, ApiPath, ApiQuery, as_name, header_text};
pub use http::StatusCode;
pub use layer::{Edge, EdgeConfig, EdgeService, PathPolicy, RenderProblem};
pub use metrics::{METRIC_PREFIX, metrics_registry, metrics_route, register_build_info};
pub use parameters::{IGNORES_UNKNOWN_QUERY, QueryParameters};
pub use problem::Problem;
pub use rate_headers::{QuotaStatus, RATE_LIMIT, RATE_LIMIT_POLICY, rate_limit_headers};
pub use readiness::{Check, Readiness};
pub use request_id::{RequestId, X_REQUEST_ID};
pub use serve::{Drained, PeerAddr, ServeConfig, listen, serve, shutdown_signal};

//! The process's registry of metrics and the route that shows it.
//!
//! One registry per process, filled at start-up by whoever owns a metric, then shared and only read. Names get the
//! prefix `voketag_`; a counter is registered without `_total`, which the encoder appends.

use crate::error::ApiError;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// What every metric's name begins with.
pub const METRIC_PREFIX: &str = "voketag";

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// An empty registry with the prefix `voketag_`.
#[must_use]
pub fn metrics_registry() -> Registry {
    Registry::with_prefix(METRIC_PREFIX)
}

/// Registers `voketag_build_info{service,version} 1`.
pub fn register_build_info(registry: &mut Registry, service: &'static str, version: &'static str) {
    let info = Info::new([("service", service), ("version", version)]);
    registry.register("build", "The running program and its version", info);
}

/// `GET`: all metrics as OpenMetrics text 1.0.0.
pub fn metrics_route<S: Clone + Send + Sync + 'static>(registry: Arc<Registry>) -> MethodRouter<S> {
    get(move || std::future::ready(shown(&registry)))
}

fn shown(registry: &Registry) -> Response {
    let mut text = String::with_capacity(16 * 1024);
    match encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => ApiError::internal(error).into_response(),
    }
}

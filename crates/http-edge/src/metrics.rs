//! The metrics registry of the process and the route that serves it.
//!
//! Each process has one registry. The owner of a metric registers it at startup. Names get the prefix
//! `voketag_`. Register a counter without `_total`, because the encoder appends it. The route adds the
//! metrics of the process itself, and responds in OpenMetrics if the client prefers it, else in Prometheus's
//! text format.

use crate::error::HttpError;
use crate::exposition::{self, ExpositionFormat};
use crate::process_metrics::process_registry;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// The prefix of every metric's name, without the underscore.
pub const METRIC_PREFIX: &str = "voketag";

/// Creates an empty registry with the prefix `voketag_`.
#[must_use]
pub fn metrics_registry() -> Registry {
    Registry::with_prefix(METRIC_PREFIX)
}

/// Registers `voketag_build_info{service,version} 1`.
pub fn register_build_info(registry: &mut Registry, service: &'static str, version: &'static str) {
    let info = Info::new([("service", service), ("version", version)]);
    registry.register("build", "Name and version of the program", info);
}

/// Returns a `GET` route with all metrics, as `text/plain; version=0.0.4` or as OpenMetrics 1.0.0 by
/// `Accept`.
pub fn metrics_route<S: Clone + Send + Sync + 'static>(registry: Arc<Registry>) -> MethodRouter<S> {
    Metrics::new(registry).route()
}

/// All metrics: those of the service, and those of the process.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    process: Arc<Registry>,
}

impl Metrics {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, process: Arc::new(process_registry()) }
    }

    pub(crate) fn route<S: Clone + Send + Sync + 'static>(self) -> MethodRouter<S> {
        get(move |headers: HeaderMap| std::future::ready(render(&self, &headers)))
    }

    /// Returns all metrics as OpenMetrics.
    pub(crate) fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        encode_registry(&mut text, &self.process)?;
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn render(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = ExpositionFormat::preferred_by(accept);
    match metrics.open_metrics() {
        Ok(text) => {
            let text = match format {
                ExpositionFormat::OpenMetrics => text,
                ExpositionFormat::Text => exposition::to_text(&text),
            };
            ([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], text).into_response()
        }
        Err(error) => HttpError::internal(error).into_response(),
    }
}

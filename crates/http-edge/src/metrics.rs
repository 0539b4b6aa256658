//! The process's registry of metrics and the route that shows it.
//!
//! One registry per process, filled at start-up by whoever owns a metric, then shared and only read. Names get the
//! prefix `voketag_`; a counter is registered without `_total`, which the encoder appends. The route adds the metrics of
//! the process itself, and answers in the format that is asked for: OpenMetrics, or Prometheus's own text format, which
//! every scraper reads.

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

/// What every metric's name begins with.
pub const METRIC_PREFIX: &str = "voketag";

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

/// `GET`: all metrics, as `text/plain; version=0.0.4`, or as OpenMetrics 1.0.0 where `Accept` asks for it.
pub fn metrics_route<S: Clone + Send + Sync + 'static>(registry: Arc<Registry>) -> MethodRouter<S> {
    let process = Arc::new(process_registry());
    get(move |headers: HeaderMap| std::future::ready(shown(&registry, &process, &headers)))
}

fn shown(registry: &Registry, process: &Registry, headers: &HeaderMap) -> Response {
    let asked = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = ExpositionFormat::asked_for(asked);
    match written(registry, process) {
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

fn written(registry: &Registry, process: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(32 * 1024);
    encode_registry(&mut text, process)?;
    encode(&mut text, registry)?;
    Ok(text)
}

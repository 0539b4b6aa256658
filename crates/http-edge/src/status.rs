//! The route `/status`: the main curves of the last 15 minutes, beside `/metrics`.

use crate::error::HttpError;
use crate::metrics::Metrics;
use ambient::Clock;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use status_page::{History, SAMPLE_EVERY, STYLE, render};
use std::sync::Arc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// The samples of the metrics, and what takes them.
pub(crate) struct StatusRoute {
    history: Mutex<History>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    policy: HeaderValue,
}

impl StatusRoute {
    pub(crate) fn new(metrics: Metrics, clock: Arc<dyn Clock>) -> Arc<Self> {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        let policy =
            format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
        let policy = HeaderValue::from_str(&policy).expect("base64 is valid in a header");
        Arc::new(Self { history: Mutex::default(), metrics, clock, policy })
    }

    /// Takes a sample every [`SAMPLE_EVERY`], the first one at once. Aborting the handle ends it.
    pub(crate) fn keep_sampling(self: &Arc<Self>) -> AbortHandle {
        let status = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match status.metrics.open_metrics() {
                    Ok(text) => status.history.lock().record(status.clock.monotonic(), &text),
                    Err(error) => tracing::error!(%error, "the metrics cannot be encoded"),
                }
            }
        });
        task.abort_handle()
    }

    pub(crate) fn route<S: Clone + Send + Sync + 'static>(self: &Arc<Self>) -> MethodRouter<S> {
        let status = Arc::clone(self);
        get(move || std::future::ready(status.show()))
    }

    /// Shows the samples, and the values of this moment.
    fn show(&self) -> Response {
        let now = self.clock.monotonic();
        let text = match self.metrics.open_metrics() {
            Ok(text) => text,
            Err(error) => return HttpError::internal(error).into_response(),
        };
        let history = self.history.lock().with(now, &text);
        let page = render(&history, now);
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
        ];
        (headers, page).into_response()
    }
}

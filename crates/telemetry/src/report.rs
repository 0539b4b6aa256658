//! Says in the metrics and the log whether spans arrive.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How often a failure that lasts is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The export is of the process, and so are its counters.
static SPANS: LazyLock<SpanCounters> = LazyLock::new(SpanCounters::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug)]
struct SpanCounters {
    family: Family<OutcomeLabel, Counter>,
    exported: Counter,
    failed: Counter,
}

impl Default for SpanCounters {
    fn default() -> Self {
        let family = Family::<OutcomeLabel, Counter>::default();
        let of = |outcome| family.get_or_create_owned(&OutcomeLabel { outcome });
        Self { exported: of("exported"), failed: of("failed"), family }
    }
}

/// The metric `trace_spans_total{outcome}`.
#[derive(Debug)]
pub struct TraceMetrics;

impl TraceMetrics {
    /// Registers the metric of this process's export.
    pub fn register(registry: &mut Registry) {
        registry.register(
            "trace_spans",
            "Sampled spans that a receiver took (exported), and those of exports that failed (failed)",
            SPANS.family.clone(),
        );
    }
}

/// Counts the spans that an exporter sends, and logs when it begins to fail and when it succeeds again.
#[derive(Debug)]
pub(crate) struct ReportingExporter<E> {
    inner: E,
    /// When a failure was logged, if the last export failed.
    failing: Mutex<Option<Instant>>,
}

impl<E> ReportingExporter<E> {
    pub(crate) fn new(inner: E) -> Self {
        Self { inner, failing: Mutex::new(None) }
    }

    #[allow(clippy::disallowed_methods, reason = "the thread that exports has no clock of the service")]
    fn report(&self, count: u64, result: &OTelSdkResult) {
        let mut failing = self.failing.lock();
        match result {
            Ok(()) => {
                SPANS.exported.inc_by(count);
                if failing.take().is_some() {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                SPANS.failed.inc_by(count);
                if failing.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                    *failing = Some(Instant::now());
                    tracing::warn!(spans = count, %error, "spans cannot be exported");
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for ReportingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.report(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    #[test]
    fn spans_are_counted_by_what_became_of_them() {
        let exporter = ReportingExporter::new(InMemorySpanExporter::default());
        let (exported, failed) = (SPANS.exported.get(), SPANS.failed.get());
        exporter.report(3, &Ok(()));
        exporter.report(2, &Err(OTelSdkError::InternalFailure("gone".to_owned())));
        assert!(exporter.failing.lock().is_some());
        exporter.report(1, &Ok(()));
        assert!(exporter.failing.lock().is_none());
        assert_eq!((SPANS.exported.get(), SPANS.failed.get()), (exported + 4, failed + 2));
    }
}

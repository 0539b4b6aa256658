//! The exporting thread and the layer that feeds it.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::client::BlockingClient;
use crate::report::ReportingExporter;
use crate::settings::{Sampling, TraceSettings};

/// How long the process waits at its end for the last spans to be exported.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason why spans cannot be exported. No receiver is needed to start.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The exporter cannot be made.
    #[error("the trace exporter cannot be made: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// The export of spans. Dropping it exports what is queued, within two seconds.
#[derive(Debug)]
pub struct TraceExport {
    provider: SdkTracerProvider,
}

impl TraceExport {
    /// Starts the export.
    ///
    /// # Errors
    /// Fails if the exporter cannot be made.
    pub fn start(settings: &TraceSettings) -> Result<Self, TraceError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(BlockingClient::new(settings.timeout, &settings.authorities))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_timeout(settings.timeout)
            .with_headers(settings.headers.iter().cloned().collect())
            .build()?;
        let processor = BatchSpanProcessor::builder(ReportingExporter::new(exporter)).build();
        let attributes = settings.resource.iter().cloned().map(|(name, value)| KeyValue::new(name, value));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(settings))
            .with_resource(Resource::builder().with_attributes(attributes).build())
            .build();
        spans::turn_on();
        Ok(Self { provider })
    }

    /// Returns the layer that makes spans of the target [`spans::TARGET`] into spans of OpenTelemetry.
    /// Log events do not become part of a span, because they may say more than an attribute may.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("voketag"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::TARGET))
    }
}

impl Drop for TraceExport {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_EXPORT_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn sampler(settings: &TraceSettings) -> Sampler {
    let root = match settings.sampling {
        Sampling::All => Sampler::AlwaysOn,
        Sampling::None => Sampler::AlwaysOff,
        Sampling::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
    };
    if settings.follows_parent { Sampler::ParentBased(Box::new(root)) } else { root }
}

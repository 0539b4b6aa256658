//! Exports the spans of the crate `spans` with OTLP over HTTP, as protobuf.
//!
//! [`TraceExport::start`] starts a thread that sends spans in batches. The queue before it holds a bounded
//! number of spans (`OTEL_BSP_MAX_QUEUE_SIZE`, 2,048); while a receiver is slow or away, further spans are
//! dropped, and nothing else of the process waits for it.

mod client;
mod export;
mod report;
mod settings;

pub use client::authorities_of_pem;
pub use export::{TraceError, TraceExport};
pub use report::TraceMetrics;
pub use settings::{Sampling, TraceSettings};

//! Spans of OpenTelemetry as this project makes them: through `tracing`, with the target [`TARGET`].
//!
//! While no traces are exported, there are no spans: ask [`is_on`] before one is made, which costs one load.
//! While they are, the span of a request or job always exists, so that its log lines carry its ids. Spans
//! below it exist only if it is sampled: ask [`is_sampled`] before one is made.
//!
//! No span has an attribute with a tag, a key, an address or a secret.

mod deferred;
mod group;
mod remote;

pub use deferred::{DeferredSpan, continue_trace};
pub use group::group;
pub use remote::{RemoteParent, continue_from, link_to};

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId};
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};

/// The target of every span. The log's filter enables it if traces are exported.
pub const TARGET: &str = "voketag_span";

static ON: AtomicBool = AtomicBool::new(false);

/// Says that this process exports traces from now on.
pub fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Returns whether this process exports traces.
#[inline]
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Returns whether the span that this code runs in is sampled.
#[inline]
#[must_use]
pub fn is_sampled() -> bool {
    is_on() && Context::map_current(|context| context.span().span_context().is_sampled())
}

/// The ids of a span. They are shown as hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// The id of the trace: 16 bytes.
    pub trace: TraceId,
    /// The id of the span: 8 bytes.
    pub span: SpanId,
    /// Whether the span is exported.
    pub is_sampled: bool,
}

impl SpanIds {
    fn of(context: &SpanContext) -> Option<Self> {
        let is_sampled = context.is_sampled();
        context.is_valid().then(|| Self { trace: context.trace_id(), span: context.span_id(), is_sampled })
    }
}

/// Returns the ids of the span that this code runs in, if there is one.
#[must_use]
pub fn current_ids() -> Option<SpanIds> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| SpanIds::of(context.span().span_context()))
}

/// Runs one round of the background job `name` within a span. It starts a trace. Log lines and spans of the
/// round belong to it.
pub fn in_job<F: Future>(name: &'static str, round: F) -> Instrumented<F> {
    round.instrument(if is_on() { job(name) } else { Span::none() })
}

fn job(name: &'static str) -> Span {
    tracing::info_span!(target: TARGET, parent: None, "job", otel.name = name, voketag.job = name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::exporting;

    #[test]
    fn the_ids_are_those_of_the_span_that_the_code_runs_in() {
        let spans = exporting(|| {
            assert!(is_on() && !is_sampled());
            job("refresh").in_scope(|| {
                assert!(is_sampled());
                assert!(current_ids().unwrap().is_sampled);
            });
            assert_eq!(current_ids(), None);
        });
        assert_eq!(spans[0].name, "refresh");
        assert!(spans[0].attributes.iter().any(|one| one.key.as_str() == "voketag.job"));
    }
}

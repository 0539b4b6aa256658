//! The span of work that is done for several callers at once.

use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` the span of work for all `members`: a child of the first member that is sampled, with links
/// to the others. Returns a disabled span if none is sampled.
///
/// A trace of a member then has the work, unless another member of the group came first: that one has it, and
/// the link leads there. `span` is built only if a member is sampled.
pub fn group<'a>(members: impl IntoIterator<Item = &'a Span>, span: impl FnOnce() -> Span) -> Span {
    let mut sampled = members
        .into_iter()
        .filter(|member| !member.is_disabled())
        .map(OpenTelemetrySpanExt::context)
        .filter(|context| context.span().span_context().is_sampled());
    let Some(first) = sampled.next() else { return Span::none() };
    let span = span();
    // It fails only if the span is disabled.
    drop(span.set_parent(first));
    for other in sampled {
        span.add_link(other.span().span_context().clone());
    }
    span
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::TARGET;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
    use tracing_subscriber::layer::SubscriberExt;

    /// Runs `work` with an exporter and returns the spans that were exported.
    pub(crate) fn exporting(work: impl FnOnce()) -> Vec<SpanData> {
        crate::turn_on();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        exporter.get_finished_spans().unwrap()
    }

    fn root(name: &'static str) -> Span {
        tracing::info_span!(target: TARGET, parent: None, "root", otel.name = name)
    }

    #[test]
    fn the_first_sampled_member_is_the_parent_and_the_others_are_linked() {
        let spans = exporting(|| {
            let members = [Span::none(), root("a"), root("b"), root("c")];
            group(&members, || tracing::info_span!(target: TARGET, "work")).in_scope(|| ());
        });
        let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let work = named("work");
        assert_eq!(work.parent_span_id, named("a").span_context.span_id());
        let linked: Vec<_> = work.links.iter().map(|link| link.span_context.span_id()).collect();
        assert_eq!(linked, ["b", "c"].map(|name| named(name).span_context.span_id()));
    }

    #[test]
    fn work_for_nobody_who_is_sampled_has_no_span() {
        let never = || panic!("no span is built");
        assert!(group(&[], never).is_disabled());
        assert!(group(&[Span::none(), root("a")], never).is_disabled(), "nothing is exported");
    }
}

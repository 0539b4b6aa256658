//! The trace context that a caller sends, as W3C Trace Context (`traceparent`) defines it.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The length of version 00: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
const LENGTH: usize = 55;

/// The span of a caller in another process.
#[derive(Debug, Clone)]
pub struct RemoteParent(SpanContext);

impl RemoteParent {
    /// Parses a `traceparent`. Anything that the standard tells a receiver to ignore is `None`: another
    /// length, capital letters, an id of zeros, or the version `ff`. A later version may have more fields.
    #[must_use]
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(traceparent).ok()?;
        let (known, more) = text.split_at_checked(LENGTH)?;
        let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut fields = known.split('-');
        let mut field = |length| fields.next().filter(|text| text.len() == length && lower_hex(text));
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let fits = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let parent = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        (version != "ff" && fits && parent.is_valid()).then_some(Self(parent))
    }
}

/// Makes the caller's span the parent of `span`, which has not been entered yet. So the trace and its
/// sampling continue: trust the caller first.
pub fn continue_from(span: &Span, parent: RemoteParent) {
    // It fails only if the span is disabled or was entered.
    drop(span.set_parent(Context::new().with_remote_span_context(parent.0)));
}

/// Links `span` to the caller's. The trace and its sampling do not depend on the caller.
pub fn link_to(span: &Span, caller: RemoteParent) {
    span.add_link(caller.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGET;
    use crate::group::tests::exporting;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_what_the_standard_allows_is_a_parent() {
        let longer = format!("01{}-more", &SENT[2..]);
        for good in [SENT, longer.as_str(), &format!("00-{}-{}-00", "a".repeat(32), "1".repeat(16))] {
            assert!(RemoteParent::parse(good.as_bytes()).is_some(), "{good}");
        }
        let wrong = [
            String::new(),
            SENT.to_uppercase(),
            SENT[..54].to_owned(),
            format!("{SENT}-more"),
            format!("{SENT}0"),
            format!("01{}0", &SENT[2..]),
            format!("ff{}", &SENT[2..]),
            SENT.replace('-', "_"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16)),
            SENT.replace("7169", "71g9"),
            "\u{e9}".repeat(40),
        ];
        for text in wrong {
            assert!(RemoteParent::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(RemoteParent::parse(&[0xff; 55]).is_none());
    }

    #[test]
    fn a_span_continues_a_trace_or_is_linked_to_it() {
        let remote = || RemoteParent::parse(SENT.as_bytes()).unwrap();
        let spans = exporting(|| {
            let span = tracing::info_span!(target: TARGET, "continued");
            continue_from(&span, remote());
            span.in_scope(|| ());
            drop(span);
            let span = tracing::info_span!(target: TARGET, "linked");
            link_to(&span, remote());
            span.in_scope(|| ());
        });
        let (trace, parent) = (remote().0.trace_id(), remote().0.span_id());
        assert_eq!((spans[0].span_context.trace_id(), spans[0].parent_span_id), (trace, parent));
        assert_ne!(spans[1].span_context.trace_id(), trace);
        assert_eq!(spans[1].parent_span_id, SpanId::INVALID);
        assert_eq!(spans[1].links[0].span_context.span_id(), parent);
    }

    #[test]
    fn an_unsampled_parent_that_is_continued_is_not_exported_and_a_linked_one_does_not_matter() {
        let remote = || RemoteParent::parse(SENT.replace("-01", "-00").as_bytes()).unwrap();
        let spans = exporting(|| {
            let span = tracing::info_span!(target: TARGET, "continued");
            continue_from(&span, remote());
            span.in_scope(|| assert!(!crate::is_sampled()));
            let span = tracing::info_span!(target: TARGET, "linked");
            link_to(&span, remote());
            span.in_scope(|| assert!(crate::is_sampled()));
        });
        assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["linked"]);
    }
}

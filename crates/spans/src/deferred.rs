//! A span whose parent is decided after its work has begun.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Span;

use crate::remote::{RemoteParent, continue_from, link_to};

tokio::task_local! {
    static OF_THIS_REQUEST: DeferredSpan;
}

/// Continues the trace that the caller of this request sent, because the caller was authenticated. Returns
/// whether that was open. The request runs within its span from its next poll on.
pub fn continue_trace() -> bool {
    OF_THIS_REQUEST.try_with(DeferredSpan::continue_trace).unwrap_or(false)
}

/// The span of a request whose caller sent a trace context and has yet to prove who it is.
///
/// The parent of a span is fixed once the span is entered. So the work runs outside the span until the caller
/// is known, and spans below it are not made until then.
#[derive(Debug, Clone)]
pub struct DeferredSpan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    span: Span,
    caller: Mutex<Option<RemoteParent>>,
}

impl DeferredSpan {
    /// Defers the decision on `span`, which has not been entered, until `caller` is known.
    #[must_use]
    pub fn new(span: Span, caller: RemoteParent) -> Self {
        Self(Arc::new(Inner { span, caller: Mutex::new(Some(caller)) }))
    }

    /// Polls the work of this request, in which [`continue_trace`] refers to this span.
    pub fn scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        OF_THIS_REQUEST.sync_scope(self.clone(), || {
            let _entered = self.decided().map(Span::enter);
            poll()
        })
    }

    fn continue_trace(&self) -> bool {
        let caller = self.0.caller.lock().take();
        let Some(caller) = caller else { return false };
        continue_from(&self.0.span, caller);
        true
    }

    /// Starts a trace of its own with a link to the caller's, unless the caller's is continued.
    pub fn start_trace(&self) {
        if let Some(caller) = self.0.caller.lock().take() {
            link_to(&self.0.span, caller);
        }
    }

    /// Returns the span once its parent is decided.
    #[must_use]
    pub fn decided(&self) -> Option<&Span> {
        self.0.caller.lock().is_none().then_some(&self.0.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGET;
    use crate::group::tests::exporting;

    const SENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn deferred() -> DeferredSpan {
        let span = tracing::info_span!(target: TARGET, parent: None, "request");
        DeferredSpan::new(span, RemoteParent::parse(SENT).unwrap())
    }

    #[test]
    fn the_first_decision_holds() {
        let spans = exporting(|| {
            let authenticated = deferred();
            assert!(authenticated.decided().is_none());
            assert!(authenticated.continue_trace());
            authenticated.start_trace();
            assert!(authenticated.decided().is_some() && !authenticated.continue_trace());
            authenticated.decided().unwrap().in_scope(|| ());
            drop(authenticated);
            let stranger = deferred();
            stranger.start_trace();
            assert!(!stranger.continue_trace());
            stranger.decided().unwrap().in_scope(|| ());
        });
        let linked: Vec<usize> = spans.iter().map(|span| span.links.len()).collect();
        assert_eq!(linked, [0, 1]);
        assert!(spans[0].parent_span_is_remote && !spans[1].parent_span_is_remote);
    }

    #[test]
    fn outside_of_a_request_there_is_nothing_to_continue() {
        assert!(!continue_trace());
    }
}

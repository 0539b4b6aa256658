//! The span of a request: its parent, its attributes, and the work within it.
//!
//! A trusted proxy's trace is continued. A caller that presents a key is a partner once the key was verified;
//! until then the parent is open (see [`DeferredSpan`]). The trace of anybody else becomes a link, so that a
//! stranger selects neither the trace nor whether it is exported.
//!
//! The attributes follow OpenTelemetry's conventions for HTTP. The path, the query, the addresses and all
//! headers are left out, because they may hold a tag, a key or an address.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use pin_project_lite::pin_project;
use spans::{DeferredSpan, RemoteParent, continue_from, link_to};
use tracing::Span;
use tracing::field::Empty;

use crate::client_ip::TrustedProxies;
use crate::credentials::X_API_KEY;
use crate::http_metrics::{NO_PROBLEM, UNMATCHED};
use crate::peer::PeerAddr;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pin_project! {
    /// Work within the span of a request.
    pub(crate) struct WithinSpan<'a, F> {
        span: &'a RequestSpan,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for WithinSpan<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.span {
            RequestSpan::Off => this.work.poll(context),
            RequestSpan::Decided(span) => span.in_scope(|| this.work.poll(context)),
            RequestSpan::Deferred(span) => span.scope(|| this.work.poll(context)),
        }
    }
}

/// The span of a request, if traces are exported.
#[derive(Debug, Clone, Default)]
pub(crate) enum RequestSpan {
    #[default]
    Off,
    Decided(Span),
    Deferred(DeferredSpan),
}

impl RequestSpan {
    /// Starts the span.
    pub(crate) fn start(
        request: &Request,
        method: &'static str,
        route: &str,
        proxies: &TrustedProxies,
    ) -> Self {
        if !spans::is_on() {
            return Self::Off;
        }
        let method = if method == "other" { "_OTHER" } else { method };
        let route = Some(route).filter(|route| *route != UNMATCHED);
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let span = tracing::info_span!(
            target: spans::TARGET,
            parent: None,
            "request",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let headers = request.headers();
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let caller = sent.next().and_then(|value| RemoteParent::parse(value.as_bytes()));
        let Some(caller) = caller.filter(|_| sent.next().is_none()) else { return Self::Decided(span) };
        let peer = request.extensions().get::<PeerAddr>();
        if peer.is_some_and(|peer| proxies.trusts(peer.0.ip().to_canonical())) {
            continue_from(&span, caller);
        } else if headers.contains_key(AUTHORIZATION) || headers.contains_key(X_API_KEY) {
            return Self::Deferred(DeferredSpan::new(span, caller));
        } else {
            link_to(&span, caller);
        }
        Self::Decided(span)
    }

    fn decided(&self) -> Option<&Span> {
        match self {
            Self::Off => None,
            Self::Decided(span) => Some(span),
            Self::Deferred(span) => span.decided(),
        }
    }

    /// Runs `work` within the span, from the moment on at which its parent is decided.
    pub(crate) fn within<F: Future>(&self, work: F) -> WithinSpan<'_, F> {
        WithinSpan { span: self, work }
    }

    /// Runs `end`, which makes the response, within the span. The parent of a span that is still open was not
    /// proven, so it becomes a link.
    pub(crate) fn end<T>(&self, end: impl FnOnce() -> T) -> T {
        if let Self::Deferred(span) = self {
            span.start_trace();
        }
        let _entered = self.decided().map(Span::enter);
        end()
    }

    /// Records the response. Only the server's own faults are errors.
    pub(crate) fn record(&self, status: StatusCode, problem: &'static str) {
        let Some(span) = self.decided() else { return };
        span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
            if problem == NO_PROBLEM {
                span.record("error.type", status.as_str());
            } else {
                span.record("error.type", problem);
            }
        }
    }
}

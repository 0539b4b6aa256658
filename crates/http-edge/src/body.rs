//! A bound on the request body, in bytes and in time.
//!
//! A body whose announced length is over the limit is refused before the handler runs. Any other is cut off when
//! it grows past the limit ([`http_body_util::LengthLimitError`], which axum's own extractors know as 413) or when
//! the client is still sending at the deadline ([`TooSlow`]). The clock starts at the first wait, so a body that
//! arrived together with its head costs no timer.

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The client was still sending its body at the deadline.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(crate) struct TooSlow;

/// The announced length is over the limit.
pub(crate) struct TooLarge;

/// Puts the bound on the body of `request`.
pub(crate) fn bound(request: &mut Request, limit: usize, within: Duration) -> Result<(), TooLarge> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    if announced_length(request).is_some_and(|length| length > limit as u64) {
        return Err(TooLarge);
    }
    DefaultBodyLimit::disable().apply(request);
    let inner = Limited::new(std::mem::take(request.body_mut()), limit);
    *request.body_mut() = Body::new(BoundedBody { inner, within, deadline: None });
    Ok(())
}

fn announced_length(request: &Request) -> Option<u64> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    declared.or_else(|| request.body().size_hint().exact())
}

struct BoundedBody {
    inner: Limited<Body>,
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let within = self.within;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(within)));
        deadline.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! A bound on the request body, in bytes, in time and in memory.
//!
//! A body whose announced length is over the limit is rejected before the handler runs. Any other is cut off when it
//! grows past the limit ([`http_body_util::LengthLimitError`], which axum's own extractors know as 413), when the
//! client is still sending at the deadline ([`TooSlow`]), or when the bodies of all requests together would take more
//! than the process allows ([`TooManyBodies`]). The clock starts at the first wait, so a body that arrived together
//! with its head costs no timer.
//!
//! The handler gets the body as one frame, once it is complete. Each frame from hyper is a part of hyper's read
//! buffer and keeps that buffer (8 KiB or more) in memory: a body sent one byte per segment would hold a buffer per
//! byte. Frames are therefore copied into one buffer as they come, which holds the body and little more.

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The least that the buffer of a body grows by, bytes.
const GROWTH: usize = 4 * 1024;

/// The client was still sending its body at the deadline.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(crate) struct TooSlow;

/// The bodies of all requests together take as much memory as they may.
#[derive(Debug, thiserror::Error)]
#[error("the request bodies in flight take as much memory as they may")]
pub(crate) struct TooManyBodies;

/// The announced length is over the limit.
pub(crate) struct TooLarge;

/// The bounds of every request body.
#[derive(Debug, Clone)]
pub(crate) struct BodyBounds {
    /// Longest body, bytes.
    pub(crate) limit: usize,
    /// Longest wait for the whole body.
    pub(crate) within: Duration,
    /// What all bodies may take together.
    pub(crate) budget: Arc<Budget>,
}

/// Bytes that all bodies of the process may take together.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    fn take(&self, bytes: usize) -> Result<(), TooManyBodies> {
        let take = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map(drop)
            .map_err(|_| TooManyBodies)
    }
}

/// Puts the bounds on the body of `request`.
pub(crate) fn bound(request: &mut Request, bounds: &BodyBounds) -> Result<(), TooLarge> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    let announced = announced_length(request);
    if announced.is_some_and(|length| length > bounds.limit as u64) {
        return Err(TooLarge);
    }
    DefaultBodyLimit::disable().apply(request);
    let inner = Limited::new(std::mem::take(request.body_mut()), bounds.limit);
    let buffer = Buffer { bytes: Vec::new(), taken: 0, budget: Arc::clone(&bounds.budget) };
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let body = BoundedBody {
        inner,
        announced,
        limit: bounds.limit,
        within: bounds.within,
        deadline: None,
        buffer: Some(buffer),
    };
    *request.body_mut() = Body::new(body);
    Ok(())
}

fn announced_length(request: &Request) -> Option<u64> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    declared.or_else(|| request.body().size_hint().exact())
}

/// What has come of a body so far. It gives its share of the budget back when the last reader of the bytes is gone.
struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
    budget: Arc<Budget>,
}

impl Buffer {
    /// Adds `data` of a body that has at most `most` bytes.
    fn add(&mut self, data: &[u8], most: usize) -> Result<(), TooManyBodies> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            // Twice as much each time, so that a byte is moved twice on average, and never more than the body can have.
            let capacity = needed.max(GROWTH).max(self.bytes.capacity() * 2).min(most.max(needed));
            self.budget.take(capacity - self.taken)?;
            self.taken = capacity;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

/// A body that is read to its end and then given as one frame.
struct BoundedBody {
    inner: Limited<Body>,
    announced: Option<usize>,
    limit: usize,
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` once it was given or has failed.
    buffer: Option<Buffer>,
}

type BodyError = Box<dyn Error + Send + Sync>;

impl BoundedBody {
    fn add(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        Ok(buffer.add(data, self.announced.unwrap_or(self.limit))?)
    }

    /// The whole body; trailers are not kept.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.add(data)?;
                    }
                }
                Poll::Pending => {
                    let within = self.within;
                    let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(within)));
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Err(TooSlow.into()));
                }
            }
        }
    }
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.buffer.is_none() {
            return Poll::Ready(None);
        }
        let whole = ready!(self.poll_whole(cx));
        let buffer = self.buffer.take().filter(|buffer| !buffer.bytes.is_empty());
        Poll::Ready(match whole {
            Ok(()) => buffer.map(|buffer| Ok(Frame::data(Bytes::from_owner(buffer)))),
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.buffer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

//! Bounds on the request body: length, time and memory.
//!
//! A body whose declared length is over the limit is rejected before the handler runs. Other bodies fail when
//! they exceed the limit ([`http_body_util::LengthLimitError`], for which axum's extractors return 413), when
//! they are incomplete at the deadline ([`TooSlow`]), or when all request bodies together exceed the memory
//! limit ([`TooManyBodies`]). The deadline counts from the first wait, so a body that arrives with its head
//! needs no timer.
//!
//! The handler gets the complete body as one frame. Each frame from hyper keeps hyper's read buffer (8 KiB or
//! more) in memory, so a body sent in one-byte segments would hold one buffer per byte. Therefore this module
//! copies frames into one buffer, which is little larger than the body.

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

/// The smallest buffer of a body, in bytes.
const GROWTH: usize = 4 * 1024;

/// The body was incomplete at the deadline.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(crate) struct TooSlow;

/// All request bodies together would exceed the memory limit.
#[derive(Debug, thiserror::Error)]
#[error("the request bodies in flight reached the memory limit")]
pub(crate) struct TooManyBodies;

/// The declared length is over the limit.
pub(crate) struct TooLarge;

/// The bounds of every request body.
#[derive(Debug, Clone)]
pub(crate) struct BodyBounds {
    /// The length limit of a body, in bytes.
    pub(crate) limit: usize,
    /// The time limit of a body.
    pub(crate) within: Duration,
    /// The memory of all bodies together.
    pub(crate) budget: Arc<Budget>,
}

/// The memory that all request bodies of the process may still take, in bytes.
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

/// Bounds the body of `request`.
pub(crate) fn bound(request: &mut Request, bounds: &BodyBounds) -> Result<(), TooLarge> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    let declared = declared_length(request);
    if declared.is_some_and(|length| length > bounds.limit as u64) {
        return Err(TooLarge);
    }
    DefaultBodyLimit::disable().apply(request);
    let inner = Limited::new(std::mem::take(request.body_mut()), bounds.limit);
    let buffer = Buffer { bytes: Vec::new(), taken: 0, budget: Arc::clone(&bounds.budget) };
    let declared = declared.and_then(|length| usize::try_from(length).ok());
    let body = BoundedBody {
        inner,
        declared,
        limit: bounds.limit,
        within: bounds.within,
        deadline: None,
        buffer: Some(buffer),
    };
    *request.body_mut() = Body::new(body);
    Ok(())
}

fn declared_length(request: &Request) -> Option<u64> {
    let header = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    header.or_else(|| request.body().size_hint().exact())
}

/// The received part of a body. It returns its share of the budget when the last user of the bytes drops it.
struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
    budget: Arc<Budget>,
}

impl Buffer {
    /// Appends `data`. `limit` is the length limit of the body.
    fn add(&mut self, data: &[u8], limit: usize) -> Result<(), TooManyBodies> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            // Doubling moves each byte about twice. The body never needs more than its limit.
            let capacity = needed.max(GROWTH).max(self.bytes.capacity() * 2).min(limit.max(needed));
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

/// A body that is read to its end and then returned as one frame.
struct BoundedBody {
    inner: Limited<Body>,
    declared: Option<usize>,
    limit: usize,
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` after the frame was returned or the body failed.
    buffer: Option<Buffer>,
}

type BodyError = Box<dyn Error + Send + Sync>;

impl BoundedBody {
    fn add(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        Ok(buffer.add(data, self.declared.unwrap_or(self.limit))?)
    }

    /// Reads the whole body. Discards trailers.
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

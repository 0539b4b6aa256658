//! A TCP stream that times out if the client makes no progress.
//!
//! It bounds three waits. *Idle*: between requests, until the first byte of the next one. *Head*: from that
//! byte, or from the connection's start for the first request, until the head is complete. *Write*: while the
//! client reads no byte of a response. Each ends in a `TimedOut` error, and hyper closes the connection.
//! While a request is being handled, the edge bounds the handler and the body instead.
//!
//! hyper's own timer is off, because it bounds idle time and heads together: a slow head would be as cheap as
//! an idle connection. [`Phase`] tells whether a request is being handled. [`Framing`] tells whether a head
//! is incomplete, also while an earlier request is being handled.
//!
//! Closing lingers: after the shutdown of our side, the stream reads and discards what the client still
//! sends, for a short time. Otherwise the kernel would send a reset, which may destroy the response before
//! the client has read it. Only a connection that ends in the middle of a response is reset, so that a client
//! notices the missing part.

use crate::framing::Framing;
use crate::phase::Phase;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// The time limit of lingering.
const LINGER: Duration = Duration::from_secs(1);

/// The limit of bytes that lingering discards.
const LINGER_BYTES: usize = 256 * 1024;

/// The time limits of the three waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    pub(crate) write: Duration,
}

/// A TCP stream with bounded waits.
#[derive(Debug)]
pub(crate) struct BoundedStream {
    tcp: TcpStream,
    bounds: Bounds,
    phase: Phase,
    framing: Framing,
    /// The wait that `read` bounds.
    wait: Wait,
    read: Timer,
    write: Timer,
    lingered: Option<usize>,
}

/// A wait for bytes: its position among the requests, and whether it is for the rest of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    changes: u32,
    in_head: bool,
}

impl BoundedStream {
    pub(crate) fn new(tcp: TcpStream, bounds: Bounds, phase: Phase) -> Self {
        let wait = Wait { changes: phase.changes(), in_head: true };
        Self {
            tcp,
            bounds,
            phase,
            framing: Framing::default(),
            wait,
            read: Timer::default(),
            write: Timer::default(),
            lingered: None,
        }
    }

    /// Handles a read that returned no bytes: an error once the time limit of this wait has passed.
    fn wait_for_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let changes = self.phase.changes();
        // The time limit of the first head counts from the connection's start.
        let wait = Wait { changes, in_head: changes == 0 || self.framing.in_head() };
        if wait != self.wait {
            self.wait = wait;
            self.read.stop();
        }
        if self.phase.is_busy() {
            return Poll::Pending;
        }
        let bound = if wait.in_head { self.bounds.head } else { self.bounds.idle };
        self.read.poll(bound, cx)
    }

    /// Starts the wait for the next request at the flush that ends a response. hyper does not poll a pending
    /// read again until bytes arrive, so the read cannot start it.
    fn start_wait_after_response(&mut self, cx: &mut Context<'_>) {
        if self.phase.changes() != self.wait.changes {
            // The timer starts here, so it cannot have expired.
            let _ = self.wait_for_bytes(cx);
        }
    }

    /// Records the outcome of a write of `offered` bytes, and bounds the wait if the client reads none.
    fn wrote(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        offered: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.phase.set_unsent(!matches!(outcome, Poll::Ready(Ok(taken)) if taken >= offered));
        if outcome.is_ready() {
            self.write.stop();
            return outcome;
        }
        match self.write.poll(self.bounds.write, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                self.framing.follow(&mut buf.filled_mut()[before..]);
                Poll::Ready(outcome)
            }
            Poll::Pending => self.wait_for_bytes(cx),
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(outcome, buf.len(), cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote(outcome, bufs.iter().map(|buf| buf.len()).sum(), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.start_wait_after_response(cx);
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            self.lingered = Some(0);
            self.read.stop();
        }
        let mut dropped = [0_u8; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut dropped);
            let Poll::Ready(outcome) = Pin::new(&mut self.tcp).poll_read(cx, &mut buf) else {
                return self.read.poll(LINGER, cx).map(|_| Ok(()));
            };
            let lingered = self.lingered.unwrap_or_default() + buf.filled().len();
            self.lingered = Some(lingered);
            if outcome.is_err() || buf.filled().is_empty() || lingered > LINGER_BYTES {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Drop for BoundedStream {
    /// Resets the connection if the client has only a part of a response. With HTTP/1.0, a reset is the only
    /// sign that a response without a length was cut: a proxy would otherwise forward the part as complete.
    fn drop(&mut self) {
        if self.phase.is_unsent() || self.phase.is_response_incomplete() {
            // If this fails, the close is an ordinary one, which clients with HTTP/1.1 notice.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

/// A timer that is created at its first use and then only reset, because tokio resets a timer to later
/// cheaply.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Timer {
    fn stop(&mut self) {
        self.running = false;
    }

    /// Starts the timer with `bound` unless it is running. Returns `TimedOut` when it expires.
    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline for a tokio timer, which also follows the paused time of a test"
    )]
    fn poll(&mut self, bound: Duration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(bound)));
        if !self.running {
            sleep.as_mut().reset(Instant::now() + bound);
            self.running = true;
        }
        ready!(sleep.as_mut().poll(cx));
        self.running = false;
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client made no progress")))
    }
}

//! A TCP stream on which no client can linger without making progress.
//!
//! Three waits are bounded. *Idle*: between requests, until the first byte of the next one. *Head*: from that byte
//! (or from the connection's opening, for the first request) until the head is complete. *Write*: while the client
//! takes none of the bytes offered to it. Each ends in a `TimedOut` error, upon which hyper drops the connection.
//! While a request is being handled nothing is bounded here: the edge holds the handler and the body to time.
//!
//! hyper has one timer for idle and head together, which would make slow heads as cheap as idle connections; so it
//! is switched off in favour of these two. Whether a request is being handled the stream learns from [`Phase`], and
//! whether a head has begun from [`Framing`], also behind a request that is still being handled.
//!
//! Closing lingers: after our side is shut, what the client is still sending is read and dropped for a moment.
//! Otherwise the kernel would answer it with a reset, which may destroy the refusal before the client has read it.
//! Only a connection that ends in the middle of a response is reset, so that no client takes the part for the whole.

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

/// Longest time closing lingers.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes that are read and dropped while closing lingers.
const LINGER_BYTES: usize = 256 * 1024;

/// The bounds of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    pub(crate) write: Duration,
}

/// The stream.
#[derive(Debug)]
pub(crate) struct BoundedStream {
    tcp: TcpStream,
    bounds: Bounds,
    phase: Phase,
    framing: Framing,
    /// What the wait that `read` bounds is for.
    wait: Wait,
    read: Timer,
    write: Timer,
    lingered: Option<usize>,
}

/// A wait for bytes: between which requests, and whether for the rest of a head.
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

    /// The read that found nothing: an error once the bound of this wait is passed.
    fn wait_for_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let changes = self.phase.changes();
        // The first head is waited for from the connection's opening.
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

    /// Starts the wait for the next request at the flush that ends a response: a read that was pending while the request
    /// was handled is not tried again by hyper until bytes come, so nothing else would.
    fn response_may_be_over(&mut self, cx: &mut Context<'_>) {
        if self.phase.changes() != self.wait.changes {
            // it begins here and cannot have run out
            let _ = self.wait_for_bytes(cx);
        }
    }

    /// Notes a write of `offered` bytes.
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
        self.response_may_be_over(cx);
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
    /// Resets the connection if the client has got a part of a response: of a response without a length, HTTP/1.0 has no
    /// other sign that it was cut, and a proxy that speaks it would pass the part on as the whole.
    fn drop(&mut self) {
        if self.phase.is_unsent() || self.phase.is_response_incomplete() {
            // without it the close is an ordinary one, which other clients notice too
            let _ = self.tcp.set_zero_linger();
        }
    }
}

/// A timer that is made at its first use and then only moved: moving one to later is cheap in tokio.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Timer {
    fn stop(&mut self) {
        self.running = false;
    }

    /// Starts the timer at `bound` unless it runs; `Ready` with `TimedOut` when it has run out.
    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline of tokio's own timers, which a test's paused time moves too"
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

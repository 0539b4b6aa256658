//! The state of one connection, which its stream, its requests and the table of connections share.

use ambient::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Shared {
    /// Counts starts and ends of requests. Odd while a request is being handled.
    changes: AtomicU32,
    /// When the last request ended, in microseconds of `clock`.
    idle_since: AtomicU64,
    /// The body of the current response is incomplete.
    incomplete: AtomicBool,
    /// The socket did not accept all bytes of the last write.
    unsent: AtomicBool,
    clock: Arc<SystemClock>,
}

/// The state of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

impl Phase {
    /// Creates the state of a connection that was just accepted.
    pub(crate) fn begun(clock: &Arc<SystemClock>) -> Self {
        let phase = Self(Arc::new(Shared { clock: Arc::clone(clock), ..Shared::default() }));
        phase.set_idle_since();
        phase
    }

    /// Marks the start of a request. It ends when the returned value is dropped.
    pub(crate) fn begin(&self) -> Handling {
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        Handling(self.clone())
    }

    /// Returns a number that changes when a request starts or ends. It is 0 before the first request.
    pub(crate) fn changes(&self) -> u32 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Whether a request is being handled, including the body of its response.
    pub(crate) fn is_busy(&self) -> bool {
        self.changes() % 2 == 1
    }

    /// Returns when the connection became idle, in microseconds. `None` while a request or response is in
    /// progress.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let since = self.0.idle_since.load(Ordering::Relaxed);
        (!self.is_busy() && !self.is_unsent()).then_some(since)
    }

    /// Whether the client would get a part of a response if the connection closed now.
    pub(crate) fn is_response_incomplete(&self) -> bool {
        self.0.incomplete.load(Ordering::Relaxed)
    }

    /// Whether the socket did not accept all bytes of the last write.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.unsent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unsent(&self, unsent: bool) {
        if self.is_unsent() != unsent {
            self.0.unsent.store(unsent, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_response_incomplete(&self, incomplete: bool) {
        self.0.incomplete.store(incomplete, Ordering::Relaxed);
    }

    fn set_idle_since(&self) {
        let now = u64::try_from(self.0.clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        self.0.idle_since.store(now, Ordering::Relaxed);
    }
}

/// Marks a request as being handled until it is dropped.
#[derive(Debug)]
pub(crate) struct Handling(Phase);

impl Handling {
    pub(crate) fn phase(&self) -> &Phase {
        &self.0
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.set_idle_since();
        self.0.0.changes.fetch_add(1, Ordering::Relaxed);
    }
}

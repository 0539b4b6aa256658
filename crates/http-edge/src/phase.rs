//! What a connection is doing, as its stream, its requests and the table of all connections share it.

use ambient::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Shared {
    /// Odd while a request is being handled, and another number for each change.
    changes: AtomicU32,
    /// Since when no request is being handled, microseconds of `clock`.
    idle_since: AtomicU64,
    /// A response has begun whose body is not complete.
    incomplete: AtomicBool,
    /// The socket did not take all that was offered last.
    unsent: AtomicBool,
    clock: Arc<SystemClock>,
}

/// The state of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

impl Phase {
    /// A connection that was accepted now.
    pub(crate) fn begun(clock: &Arc<SystemClock>) -> Self {
        let phase = Self(Arc::new(Shared { clock: Arc::clone(clock), ..Shared::default() }));
        phase.rest();
        phase
    }

    /// A request's head is complete; it is being handled until the returned mark is dropped.
    pub(crate) fn begin(&self) -> Handling {
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        Handling(self.clone())
    }

    /// A number that changes when handling a request begins or ends, 0 before the first.
    pub(crate) fn changes(&self) -> u32 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Whether a request is being handled, its response's body included.
    pub(crate) fn is_busy(&self) -> bool {
        self.changes() % 2 == 1
    }

    /// Since when the connection is idle, in microseconds; `None` while a request is being handled or its response is sent.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let since = self.0.idle_since.load(Ordering::Relaxed);
        (!self.is_busy() && !self.is_unsent()).then_some(since)
    }

    /// Whether closing now would leave the client with a part of a response.
    pub(crate) fn is_response_incomplete(&self) -> bool {
        self.0.incomplete.load(Ordering::Relaxed)
    }

    /// Whether the socket did not take all that was offered last.
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

    fn rest(&self) {
        let now = u64::try_from(self.0.clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        self.0.idle_since.store(now, Ordering::Relaxed);
    }
}

/// A request is being handled.
#[derive(Debug)]
pub(crate) struct Handling(Phase);

impl Handling {
    pub(crate) fn phase(&self) -> &Phase {
        &self.0
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.rest();
        self.0.0.changes.fetch_add(1, Ordering::Relaxed);
    }
}

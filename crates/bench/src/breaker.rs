//! The cost of the circuit breaker per call without reading the clock, and the cost of one reading of the
//! clock.

use std::hint::black_box;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use circuit_breaker::{Breaker, BreakerConfig};

const NOW: Duration = Duration::from_secs(1);
const BATCHES: usize = 31;
const CALLS: u32 = 100_000;

/// Nanoseconds per call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// Closed: acquire a permit and report success.
    pub(crate) closed: f64,
    /// Open: a rejection.
    pub(crate) rejecting: f64,
    /// One reading of the monotonic clock.
    pub(crate) clock: f64,
}

/// Measures all three, in some tens of milliseconds.
pub(crate) fn measure() -> Costs {
    let clock = SystemClock::new();
    let closed = Breaker::new(BreakerConfig::new(Duration::from_millis(200)), 1);
    let open = opened();
    Costs {
        closed: per_call(&clock, || {
            if let Ok(permit) = black_box(&closed).try_acquire(black_box(NOW)) {
                permit.success(black_box(NOW));
            }
        }),
        rejecting: per_call(&clock, || {
            black_box(black_box(&open).try_acquire(black_box(NOW))).err();
        }),
        clock: per_call(&clock, || {
            black_box(black_box(&clock).monotonic());
        }),
    }
}

fn opened() -> Breaker {
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_millis(200)), 1);
    while let Ok(permit) = breaker.try_acquire(NOW) {
        permit.failure(NOW);
    }
    breaker
}

/// Returns the median of the batches, which ignores batches with an interruption.
fn per_call(clock: &SystemClock, mut call: impl FnMut()) -> f64 {
    let mut batches: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let began = clock.monotonic();
            for _ in 0..CALLS {
                call();
            }
            clock.monotonic() - began
        })
        .collect();
    batches.sort_unstable();
    batches[BATCHES / 2].as_nanos() as f64 / f64::from(CALLS)
}

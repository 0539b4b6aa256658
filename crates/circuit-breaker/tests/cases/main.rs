//! The statements of docs/contract.md §7, on one thread and with times that the test chooses.

use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState, Permit, Rejected};

mod closed;
mod half_open;
mod late_reports;
mod open;
mod transitions;
mod trip_and_reset;

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_OPEN: Duration = Duration::from_secs(8);
const LONGEST_OPEN: Duration = Duration::from_secs(12);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Reports one outcome on a permit.
type Report = fn(Permit<'_>, Duration);
const OUTCOMES: [Report; 2] = [|permit, now| permit.success(now), |permit, now| permit.failure(now)];
const ENDINGS: [Report; 3] = [OUTCOMES[0], OUTCOMES[1], |permit, _| drop(permit)];

fn breaker() -> Breaker {
    Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), 7)
}

fn pass(breaker: &Breaker, now: Duration) -> Permit<'_> {
    breaker.try_acquire(now).expect("the breaker lets a call through")
}

fn rejection(breaker: &Breaker, now: Duration) -> Duration {
    let Rejected { retry_after } = breaker.try_acquire(now).expect_err("the breaker rejects the call");
    retry_after
}

fn fail(breaker: &Breaker, times: u32, now: Duration) {
    for _ in 0..times {
        pass(breaker, now).failure(now);
    }
}

/// Opens a closed breaker at `now`. Returns the time at which the first probe may start.
fn open(breaker: &Breaker, now: Duration) -> Duration {
    fail(breaker, 5, now);
    assert_eq!(breaker.state(), BreakerState::Open);
    now + rejection(breaker, now)
}

fn succeed(breaker: &Breaker, times: u32, now: Duration) {
    for _ in 0..times {
        pass(breaker, now).success(now);
    }
}

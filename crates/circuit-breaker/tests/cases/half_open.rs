//! A half-open breaker lets one probe at a time pass.

use std::time::Duration;

use circuit_breaker::BreakerState;

use crate::{ENDINGS, NANOSECOND, OUTCOMES, PROBE_TIMEOUT, breaker, fail, open, pass, rejection, succeed};

#[test]
fn three_successful_probes_in_a_row_close_it() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert!(!pass(&breaker, now).is_probe());
}

#[test]
fn a_failed_probe_opens_it_again_after_two_successful_ones() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 2, now);
    fail(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Open);
    let now = now + rejection(&breaker, now);
    succeed(&breaker, 2, now);
    assert_eq!(
        breaker.state(),
        BreakerState::HalfOpen,
        "the successful probes of the last period do not count"
    );
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_cancelled_probe_counts_as_neither_and_another_may_start() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 2, now);
    for _ in 0..10 {
        drop(pass(&breaker, now));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn calls_during_a_probe_are_rejected_until_its_timeout() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    let probe = pass(&breaker, now);
    assert_eq!(rejection(&breaker, now), PROBE_TIMEOUT);
    assert_eq!(rejection(&breaker, now + PROBE_TIMEOUT - NANOSECOND), NANOSECOND);
    probe.success(now);
    assert!(pass(&breaker, now).is_probe());
}

#[test]
fn a_probe_that_times_out_is_replaced_and_its_report_changes_nothing() {
    for report in ENDINGS {
        let breaker = breaker();
        let mut now = open(&breaker, Duration::ZERO);
        succeed(&breaker, 2, now);
        let timed_out = pass(&breaker, now);
        now += PROBE_TIMEOUT;
        let next = pass(&breaker, now);
        report(timed_out, now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(rejection(&breaker, now), PROBE_TIMEOUT, "the second probe is still in flight");
        next.success(now);
        assert_eq!(breaker.state(), BreakerState::Closed, "the two successful probes before still count");
    }
}

#[test]
fn a_report_after_the_probe_timeout_counts_as_neither_and_another_may_start() {
    for report in OUTCOMES {
        let breaker = breaker();
        let now = open(&breaker, Duration::ZERO);
        succeed(&breaker, 2, now);
        let late = now + PROBE_TIMEOUT + NANOSECOND;
        report(pass(&breaker, now), late);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        succeed(&breaker, 1, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn a_report_exactly_at_the_probe_timeout_counts() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    pass(&breaker, now).failure(now + PROBE_TIMEOUT);
    assert_eq!(breaker.state(), BreakerState::Open);
}

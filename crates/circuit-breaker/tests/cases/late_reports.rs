//! Reports on permits of an earlier generation change nothing.

use std::time::Duration;

use circuit_breaker::BreakerState;

use crate::{ENDINGS, PROBE_TIMEOUT, breaker, fail, open, pass, rejection, succeed};

#[test]
fn reports_from_an_earlier_closed_period_change_no_later_state() {
    let breaker = breaker();
    let mut before: Vec<_> = (0..40).map(|_| pass(&breaker, Duration::ZERO)).collect();
    let mut report_late = |now| {
        for permit in before.drain(..5) {
            permit.failure(now);
        }
        for permit in before.drain(..5) {
            permit.success(now);
        }
    };
    let now = open(&breaker, Duration::ZERO);

    report_late(Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(rejection(&breaker, Duration::ZERO), now, "a late failure does not extend the open time");

    let probe = pass(&breaker, now);
    report_late(now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(rejection(&breaker, now), PROBE_TIMEOUT, "a late report does not end the probe");
    probe.success(now);

    report_late(now);
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "late successes do not count as a probe");
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);

    fail(&breaker, 4, now);
    report_late(now);
    assert_eq!(breaker.state(), BreakerState::Closed, "late failures do not count");
    fail(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Open, "late successes do not reset the count");
}

#[test]
fn a_report_from_an_earlier_half_open_period_changes_nothing_in_the_next() {
    for report in ENDINGS {
        let breaker = breaker();
        let mut now = open(&breaker, Duration::ZERO);
        let timed_out = pass(&breaker, now);
        now += PROBE_TIMEOUT;
        fail(&breaker, 1, now);
        now += rejection(&breaker, now);
        succeed(&breaker, 1, now);
        let probe = pass(&breaker, now);
        report(timed_out, now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(rejection(&breaker, now), PROBE_TIMEOUT);
        probe.success(now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        succeed(&breaker, 1, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

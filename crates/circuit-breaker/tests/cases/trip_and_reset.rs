//! A caller can open and close a breaker.

use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState};

#[test]
fn a_trip_opens_a_closed_breaker_and_changes_no_other_state() {
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_secs(1)), 3);
    let before = breaker.try_acquire(Duration::ZERO).unwrap();
    breaker.try_acquire(Duration::ZERO).unwrap().success(Duration::ZERO);
    breaker.trip(Duration::ZERO);
    assert_eq!((breaker.state(), breaker.transitions().opened), (BreakerState::Open, 1));
    before.success(Duration::ZERO);
    breaker.trip(Duration::from_secs(7));
    let wakes = Duration::from_secs(12);
    let probe = breaker.try_acquire(wakes).expect("the second trip does not extend the open time");
    breaker.trip(wakes);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.success(wakes);
    assert_eq!(breaker.transitions().opened, 1);
}

#[test]
fn a_reset_closes_it_from_every_state_and_earlier_reports_change_nothing() {
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_secs(1)), 3);
    let fail =
        |times| (0..times).for_each(|_| breaker.try_acquire(Duration::ZERO).unwrap().failure(Duration::ZERO));
    fail(4);
    assert!(breaker.try_reset());
    fail(4);
    assert_eq!(breaker.state(), BreakerState::Closed, "the reset clears the failure count");
    let late = breaker.try_acquire(Duration::ZERO).unwrap();
    fail(1);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(breaker.try_reset());
    assert_eq!((breaker.state(), breaker.transitions().closed), (BreakerState::Closed, 1));
    late.failure(Duration::ZERO);
    fail(4);
    assert_eq!(breaker.state(), BreakerState::Closed, "the late report does not count");
    breaker.trip(Duration::ZERO);
    let probe = breaker.try_acquire(Duration::from_secs(12)).unwrap();
    assert!(breaker.try_reset());
    probe.failure(Duration::from_secs(12));
    assert_eq!(breaker.state(), BreakerState::Closed, "a report on a probe before the reset does not count");
    breaker.trip(Duration::ZERO);
    breaker.try_acquire(Duration::from_secs(12)).unwrap().success(Duration::from_secs(12));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.try_reset());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

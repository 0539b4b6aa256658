//! A closed breaker counts failures in a row.

use std::time::Duration;

use circuit_breaker::BreakerState;

use crate::{breaker, fail, open, pass, succeed};

#[test]
fn the_fifth_failure_in_a_row_opens_it() {
    let breaker = breaker();
    fail(&breaker, 4, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_success_resets_the_failure_count() {
    let breaker = breaker();
    for _ in 0..10 {
        fail(&breaker, 4, Duration::ZERO);
        succeed(&breaker, 1, Duration::ZERO);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 5, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn concurrent_calls_count_in_the_order_of_their_reports() {
    let breaker = breaker();
    let permits: Vec<_> = (0..6).map(|_| pass(&breaker, Duration::ZERO)).collect();
    for (reported, permit) in permits.into_iter().enumerate() {
        assert_eq!(breaker.state(), if reported < 5 { BreakerState::Closed } else { BreakerState::Open });
        permit.failure(Duration::ZERO);
    }
    assert_eq!(breaker.transitions().opened, 1);
}

#[test]
fn a_cancelled_call_counts_as_neither_success_nor_failure() {
    let breaker = breaker();
    fail(&breaker, 4, Duration::ZERO);
    drop(pass(&breaker, Duration::ZERO));
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn closing_resets_the_failure_count() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 3, now);
    fail(&breaker, 4, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

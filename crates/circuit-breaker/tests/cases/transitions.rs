//! The breaker counts its transitions and names its states.

use std::time::Duration;

use circuit_breaker::{BreakerState, Transitions};

use crate::{breaker, fail, open, pass, rejection, succeed};

#[test]
fn each_transition_is_counted_once() {
    let breaker = breaker();
    assert_eq!(breaker.transitions(), Transitions::default());
    let mut now = open(&breaker, Duration::ZERO);
    assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 0, closed: 0 });
    drop(pass(&breaker, now));
    drop(pass(&breaker, now));
    assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 0 });
    fail(&breaker, 1, now);
    now += rejection(&breaker, now);
    assert_eq!(breaker.transitions(), Transitions { opened: 2, half_opened: 1, closed: 0 });
    succeed(&breaker, 3, now);
    assert_eq!(breaker.transitions(), Transitions { opened: 2, half_opened: 2, closed: 1 });
}

#[test]
fn states_have_the_names_that_the_metrics_use() {
    let names = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen].map(BreakerState::as_str);
    assert_eq!(names, ["closed", "open", "half_open"]);
}

//! The races of the breaker, under every interleaving and every reordering that the memory model allows.
//!
//! This test compiles the sources of the crate a second time, with loom's atomics as `crate::sync`. So it
//! needs no compiler flag and runs with every `cargo test`.

#![allow(dead_code, unreachable_pub, reason = "this test uses only a part of the library that it compiles")]

#[path = "../src/breaker.rs"]
mod breaker;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/limits.rs"]
mod limits;
#[path = "../src/state.rs"]
mod state;
#[path = "../src/word.rs"]
mod word;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

use std::num::NonZeroU32;
use std::time::Duration;

use breaker::{Breaker, Permit};
use config::BreakerConfig;
use loom::thread;
use state::{BreakerState, Rejected, Transitions};

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_OPEN: Duration = Duration::from_secs(8);
const LONGEST_OPEN: Duration = Duration::from_secs(12);
/// When the first probe of a breaker that opened at zero may start, whatever its jitter.
const WAKES: Duration = LONGEST_OPEN;

/// Leaks the breaker, because loom's threads cannot borrow: a few hundred bytes per interleaving.
fn breaker(failures: u32, successes: u32) -> &'static Breaker {
    let mut config = BreakerConfig::new(PROBE_TIMEOUT);
    config.failure_threshold = NonZeroU32::new(failures).expect("the test passes a positive number");
    config.success_threshold = NonZeroU32::new(successes).expect("the test passes a positive number");
    Box::leak(Box::new(Breaker::new(config, 9)))
}

fn pass(breaker: &'static Breaker, now: Duration) -> Permit<'static> {
    breaker.try_acquire(now).expect("the breaker lets a call through")
}

/// Returns a breaker that failures at time zero have opened.
fn opened(failures: u32, successes: u32) -> &'static Breaker {
    let breaker = breaker(failures, successes);
    for _ in 0..failures {
        pass(breaker, Duration::ZERO).failure(Duration::ZERO);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn an_open_breaker_always_announces_a_wait_within_its_bounds() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let permit = pass(breaker, Duration::ZERO);
        let failing = thread::spawn(move || permit.failure(Duration::ZERO));
        for _ in 0..2 {
            match breaker.try_acquire(Duration::ZERO) {
                Ok(permit) => assert!(!permit.is_probe()),
                Err(Rejected { retry_after }) => {
                    assert!((SHORTEST_OPEN..=LONGEST_OPEN).contains(&retry_after), "{retry_after:?}");
                }
            }
        }
        failing.join().expect("reports");
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

#[test]
fn a_second_open_time_never_ends_with_the_first() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let probe = pass(breaker, WAKES);
        let failing = thread::spawn(move || probe.failure(WAKES));
        // At `now`, the first open time and the probe timeout are over, and the second open time has just
        // begun.
        let now = WAKES + Duration::from_secs(1);
        let early = WAKES + PROBE_TIMEOUT / 2;
        if let Err(Rejected { retry_after }) = breaker.try_acquire(early) {
            assert!(
                retry_after == PROBE_TIMEOUT / 2 || retry_after >= SHORTEST_OPEN - PROBE_TIMEOUT,
                "{retry_after:?}"
            );
        } else {
            panic!("a call passed during a probe or during the open time");
        }
        failing.join().expect("reports");
        assert_eq!(breaker.transitions().opened, 2);
        assert!(breaker.try_acquire(now).is_err());
    });
}

#[test]
fn exactly_one_of_two_callers_passes_at_the_end_of_the_open_time() {
    loom::model(exactly_one_of_several_passes::<1>);
}

#[test]
fn exactly_one_of_three_callers_passes_at_the_end_of_the_open_time() {
    // Without a bound on forced switches, loom needs minutes for this test.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(exactly_one_of_several_passes::<2>);
}

fn exactly_one_of_several_passes<const OTHERS: usize>() {
    let breaker = opened(1, 1);
    let callers = [(); OTHERS].map(|()| thread::spawn(move || breaker.try_acquire(WAKES)));
    let mut answers = vec![breaker.try_acquire(WAKES)];
    answers.extend(callers.map(|caller| caller.join().expect("answers")));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for Rejected { retry_after } in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(*retry_after, PROBE_TIMEOUT);
    }
    assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 0 });
}

#[test]
fn concurrent_failures_are_all_counted_and_open_it_once() {
    loom::model(|| {
        let breaker = breaker(3, 1);
        let permits = [(); 2].map(|()| pass(breaker, Duration::ZERO));
        let last = pass(breaker, Duration::ZERO);
        let callers = permits.map(|permit| thread::spawn(move || permit.failure(Duration::ZERO)));
        last.failure(Duration::ZERO);
        for caller in callers {
            caller.join().expect("reports");
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 0, closed: 0 });
    });
}

#[test]
fn a_concurrent_failure_beyond_the_threshold_does_not_open_it_twice() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let permits = [(); 2].map(|()| pass(breaker, Duration::ZERO));
        let callers = permits.map(|permit| thread::spawn(move || permit.failure(Duration::ZERO)));
        for caller in callers {
            caller.join().expect("reports");
        }
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 0, closed: 0 });
    });
}

#[test]
fn a_concurrent_success_and_failure_count_in_one_order_or_the_other() {
    loom::model(|| {
        let breaker = breaker(2, 1);
        pass(breaker, Duration::ZERO).failure(Duration::ZERO);
        let [good, bad] = [(); 2].map(|()| pass(breaker, Duration::ZERO));
        let failing = thread::spawn(move || bad.failure(Duration::ZERO));
        good.success(Duration::ZERO);
        failing.join().expect("reports");
        if breaker.state() == BreakerState::Closed {
            // The success came first. So the failure counts as the first, and the next failure as the second.
            pass(breaker, Duration::ZERO).failure(Duration::ZERO);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.transitions().opened, 1);
    });
}

#[test]
fn a_probe_either_reports_in_time_or_is_replaced_but_not_both() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let timed_out = pass(breaker, WAKES);
        let now = WAKES + PROBE_TIMEOUT;
        let reporting = thread::spawn(move || timed_out.success(now));
        let next = pass(breaker, now);
        reporting.join().expect("reports");
        if next.is_probe() {
            assert_eq!(
                breaker.state(),
                BreakerState::HalfOpen,
                "the probe was replaced, so its success does not count"
            );
            assert!(breaker.try_acquire(now).is_err(), "its report does not end the next probe");
            next.success(now);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 1 });
    });
}

#[test]
fn one_of_two_callers_replaces_a_timed_out_probe_that_is_cancelled_at_the_same_time() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let timed_out = pass(breaker, WAKES);
        let now = WAKES + PROBE_TIMEOUT;
        let taking = thread::spawn(move || breaker.try_acquire(now));
        let cancelling = thread::spawn(move || drop(timed_out));
        let mine = breaker.try_acquire(now);
        let other = taking.join().expect("answers");
        cancelling.join().expect("drops");
        assert_ne!(mine.is_ok(), other.is_ok());
        assert!(breaker.try_acquire(now).is_err());
    });
}

#[test]
fn after_a_cancelled_probe_another_can_always_start() {
    loom::model(|| {
        let breaker = opened(1, 2);
        pass(breaker, WAKES).success(WAKES);
        let probe = pass(breaker, WAKES);
        let cancelling = thread::spawn(move || drop(probe));
        let other = breaker.try_acquire(WAKES);
        cancelling.join().expect("drops");
        let probe = match other {
            Ok(probe) => probe,
            Err(Rejected { retry_after }) => {
                assert_eq!(retry_after, PROBE_TIMEOUT);
                pass(breaker, WAKES)
            }
        };
        probe.success(WAKES);
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "the success before the cancelled probe still counts"
        );
    });
}

#[test]
fn a_failure_from_an_earlier_closed_period_never_reopens_it() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let late = pass(breaker, Duration::ZERO);
        pass(breaker, Duration::ZERO).failure(Duration::ZERO);
        let reporting = thread::spawn(move || late.failure(WAKES));
        pass(breaker, WAKES).success(WAKES);
        reporting.join().expect("reports");
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 1 });
    });
}

#[test]
fn a_caller_that_sees_a_probe_close_the_breaker_gets_a_permit_of_the_new_generation() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let probe = pass(breaker, WAKES);
        let closing = thread::spawn(move || probe.success(WAKES));
        match breaker.try_acquire(WAKES) {
            Ok(permit) => {
                assert!(!permit.is_probe());
                permit.failure(WAKES);
                assert_eq!(breaker.state(), BreakerState::Open);
            }
            Err(Rejected { retry_after }) => assert_eq!(retry_after, PROBE_TIMEOUT),
        }
        closing.join().expect("reports");
    });
}

#[test]
fn a_reset_that_races_an_opening_does_not_corrupt_a_later_deadline() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let opening = thread::spawn(move || pass(breaker, Duration::ZERO).failure(Duration::ZERO));
        let reset = breaker.try_reset();
        opening.join().expect("no panic");
        if !reset {
            assert_eq!(breaker.state(), BreakerState::Open, "it changed nothing");
            assert!(breaker.try_reset(), "the deadline is stored");
        }
        let later = Duration::from_secs(100);
        if breaker.state() == BreakerState::Closed {
            breaker.trip(later);
            let Err(Rejected { retry_after }) = breaker.try_acquire(later) else { panic!("it is open") };
            assert!(retry_after >= SHORTEST_OPEN && retry_after <= LONGEST_OPEN, "{retry_after:?}");
            assert!(breaker.try_acquire(later + WAKES).is_ok());
        }
    });
}

#[test]
fn a_trip_that_races_failures_opens_once() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let permit = pass(breaker, Duration::ZERO);
        let failing = thread::spawn(move || permit.failure(Duration::ZERO));
        breaker.trip(Duration::ZERO);
        failing.join().expect("no panic");
        assert_eq!((breaker.state(), breaker.transitions().opened), (BreakerState::Open, 1));
    });
}

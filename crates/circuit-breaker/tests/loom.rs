//! Every interleaving, and every reordering the memory model allows, of the breaker's races, walked through by loom.
//!
//! The crate's sources are compiled here a second time, with loom's atomics for `crate::sync`. So this needs no flag
//! of its own: it runs with every `cargo test`.

#![allow(dead_code, unreachable_pub, reason = "the sources are a library's, of which this uses a part")]

#[path = "../src/breaker.rs"]
mod breaker;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/permit.rs"]
mod permit;
#[path = "../src/word.rs"]
mod word;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

use std::num::NonZeroU32;
use std::time::Duration;

use breaker::{Breaker, BreakerState, Rejected, Transitions};
use config::BreakerConfig;
use loom::thread;
use permit::Permit;

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_OPEN: Duration = Duration::from_secs(8);
const LONGEST_OPEN: Duration = Duration::from_secs(12);
/// When a breaker that opened at zero lets its first probe through, whatever its jitter.
const WAKES: Duration = LONGEST_OPEN;

/// Leaked, since loom's threads cannot borrow: a few hundred bytes an interleaving.
fn breaker(failures: u32, successes: u32) -> &'static Breaker {
    let mut config = BreakerConfig::new(PROBE_TIMEOUT);
    config.failure_threshold = NonZeroU32::new(failures).expect("a test's own number");
    config.success_threshold = NonZeroU32::new(successes).expect("a test's own number");
    Box::leak(Box::new(Breaker::new(config, 9)))
}

fn pass(breaker: &'static Breaker, now: Duration) -> Permit<'static> {
    breaker.try_acquire(now).expect("the breaker lets a call through")
}

/// A breaker that failures at zero have opened.
fn opened(failures: u32, successes: u32) -> &'static Breaker {
    let breaker = breaker(failures, successes);
    for _ in 0..failures {
        pass(breaker, Duration::ZERO).failure(Duration::ZERO);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn nobody_sees_an_opening_without_its_deadline() {
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
fn a_second_opening_is_never_seen_with_the_deadline_of_the_first() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let probe = pass(breaker, WAKES);
        let failing = thread::spawn(move || probe.failure(WAKES));
        // By then the first opening is long over, and so is the probe's time; the second opening has hardly begun.
        let now = WAKES + Duration::from_secs(1);
        let early = WAKES + PROBE_TIMEOUT / 2;
        if let Err(Rejected { retry_after }) = breaker.try_acquire(early) {
            assert!(
                retry_after == PROBE_TIMEOUT / 2 || retry_after >= SHORTEST_OPEN - PROBE_TIMEOUT,
                "{retry_after:?}"
            );
        } else {
            panic!("neither a probe's place nor an opening lets anybody in");
        }
        failing.join().expect("reports");
        assert_eq!(breaker.transitions().opened, 2);
        assert!(breaker.try_acquire(now).is_err());
    });
}

#[test]
fn of_two_callers_at_the_end_of_an_opening_exactly_one_passes() {
    loom::model(exactly_one_of_several_passes::<1>);
}

#[test]
fn of_three_callers_at_the_end_of_an_opening_exactly_one_passes() {
    // Without a bound on the switches it forces, loom takes minutes over this one.
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
fn failures_at_once_are_all_counted_and_open_it_once() {
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
fn one_failure_too_many_at_once_opens_it_no_second_time() {
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
fn a_success_and_a_failure_at_once_count_in_one_order_or_the_other() {
    loom::model(|| {
        let breaker = breaker(2, 1);
        pass(breaker, Duration::ZERO).failure(Duration::ZERO);
        let [good, bad] = [(); 2].map(|()| pass(breaker, Duration::ZERO));
        let failing = thread::spawn(move || bad.failure(Duration::ZERO));
        good.success(Duration::ZERO);
        failing.join().expect("reports");
        if breaker.state() == BreakerState::Closed {
            // The success came first, so the failure is the first of a new row and the next is the second.
            pass(breaker, Duration::ZERO).failure(Duration::ZERO);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.transitions().opened, 1);
    });
}

#[test]
fn a_hung_probe_either_reports_in_time_or_loses_its_place_but_not_both() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let hung = pass(breaker, WAKES);
        let now = WAKES + PROBE_TIMEOUT;
        let reporting = thread::spawn(move || hung.success(now));
        let next = pass(breaker, now);
        reporting.join().expect("reports");
        if next.is_probe() {
            assert_eq!(
                breaker.state(),
                BreakerState::HalfOpen,
                "its place was taken, so its success does not count"
            );
            assert!(breaker.try_acquire(now).is_err(), "nor does it free the place of the next");
            next.success(now);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 1 });
    });
}

#[test]
fn of_two_that_take_a_hung_probes_place_and_its_own_cancellation_one_holds_it() {
    loom::model(|| {
        let breaker = opened(1, 1);
        let hung = pass(breaker, WAKES);
        let now = WAKES + PROBE_TIMEOUT;
        let taking = thread::spawn(move || breaker.try_acquire(now));
        let cancelling = thread::spawn(move || drop(hung));
        let mine = breaker.try_acquire(now);
        let other = taking.join().expect("answers");
        cancelling.join().expect("drops");
        assert_ne!(mine.is_ok(), other.is_ok());
        assert!(breaker.try_acquire(now).is_err());
    });
}

#[test]
fn a_cancelled_probes_place_is_never_lost() {
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
fn a_failure_of_an_earlier_closed_period_never_reopens_it() {
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
fn whoever_sees_a_change_of_state_made_by_a_probe_goes_by_the_new_one() {
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
fn a_reset_that_races_an_opening_spoils_no_later_deadline() {
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

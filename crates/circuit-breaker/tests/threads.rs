//! What must hold under real threads in any order. `tests/loom.rs` checks every order of a few operations;
//! this test has more threads and longer runs.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState, Transitions};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_OPEN: Duration = Duration::from_secs(12);

#[test]
fn a_breaker_is_shared_between_threads_and_a_permit_moves_between_them() {
    fn shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    shared::<Breaker>();
    moves::<circuit_breaker::Permit<'static>>();
}

#[test]
fn exactly_one_of_sixteen_callers_passes_a_half_open_breaker() {
    const CALLERS: usize = 16;
    for round in 0..200 {
        let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), round);
        for _ in 0..5 {
            breaker.try_acquire(Duration::ZERO).expect("closed").failure(Duration::ZERO);
        }
        let start = Barrier::new(CALLERS);
        let answers: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        breaker.try_acquire(LONGEST_OPEN)
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
        });
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for answer in answers {
            match answer {
                Ok(probe) => probe.success(LONGEST_OPEN),
                Err(rejected) => assert_eq!(rejected.retry_after, PROBE_TIMEOUT),
            }
        }
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 0 });
    }
}

#[test]
fn failures_from_many_threads_open_it_once() {
    const CALLERS: usize = 8;
    for round in 0..200 {
        let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), round);
        let start = Barrier::new(CALLERS);
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    let permit = breaker.try_acquire(Duration::ZERO).expect("closed until all have passed");
                    start.wait();
                    permit.failure(Duration::ZERO);
                });
            }
        });
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 0, closed: 0 });
    }
}

#[test]
fn under_load_at_most_one_probe_runs_and_a_probe_can_always_start_later() {
    const CALLERS: u64 = 4;
    const CALLS: u64 = 100_000;
    // No probe times out here, so at most one is in flight at any time.
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_secs(1_000_000)), 3);
    let clock_ms = AtomicU64::new(0);
    let probes = AtomicUsize::new(0);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (breaker, clock_ms, probes) = (&breaker, &clock_ms, &probes);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(caller);
                for _ in 0..CALLS {
                    let now = Duration::from_millis(
                        clock_ms.fetch_add(rng.random_range(0..200), Ordering::Relaxed),
                    );
                    let permit = match breaker.try_acquire(now) {
                        Ok(permit) => permit,
                        Err(rejected) => {
                            assert!(rejected.retry_after > Duration::ZERO);
                            continue;
                        }
                    };
                    if permit.is_probe() {
                        assert_eq!(probes.fetch_add(1, Ordering::AcqRel), 0, "two probes at once");
                        thread::yield_now();
                        // Before the report, because the report lets the next probe start.
                        probes.fetch_sub(1, Ordering::AcqRel);
                    }
                    match rng.random_range(0..10) {
                        0..5 => permit.failure(now),
                        5..9 => permit.success(now),
                        _ => drop(permit),
                    }
                }
            });
        }
    });
    let Transitions { opened, half_opened, closed } = breaker.transitions();
    assert!(
        opened > 100 && half_opened > 100 && closed > 10,
        "too few transitions: {opened} {half_opened} {closed}"
    );
    match breaker.state() {
        BreakerState::Closed => assert!(closed <= half_opened && half_opened <= opened),
        BreakerState::Open => assert!(closed <= half_opened && half_opened < opened),
        BreakerState::HalfOpen => assert!(closed < half_opened && half_opened <= opened),
    }
    let later = Duration::from_secs(2_000_000_000);
    assert!(breaker.try_acquire(later).is_ok(), "no probe can start");
}

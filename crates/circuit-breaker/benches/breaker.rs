//! The cost of a call through a closed breaker and of a rejection, compared with `recloser` and `failsafe`.
//!
//! Each is measured alone, and with a second thread that makes the same calls to the same breaker. The other
//! crates read the clock themselves. This breaker takes the time as an argument, so it has a row with a
//! constant time and one that reads the clock. A short run: `cargo bench -p circuit-breaker -- --quick`.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use circuit_breaker::{Breaker, BreakerConfig};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use failsafe::{CircuitBreaker, StateMachine, backoff, failure_policy};
use recloser::Recloser;

const NOW: Duration = Duration::from_secs(1);
/// Longer than any run, so that an open breaker stays open.
const DAY: Duration = Duration::from_secs(86_400);

fn ours() -> Breaker {
    let mut config = BreakerConfig::new(Duration::from_millis(200));
    config.open_for = DAY;
    Breaker::new(config, 1)
}

fn ours_open() -> Breaker {
    let breaker = ours();
    for _ in 0..5 {
        breaker.try_acquire(NOW).expect("closed").failure(NOW);
    }
    assert!(breaker.try_acquire(NOW).is_err());
    breaker
}

fn recloser_closed() -> Recloser {
    Recloser::custom().error_rate(0.5).closed_len(5).half_open_len(3).open_wait(DAY).build()
}

fn recloser_open() -> Recloser {
    let breaker = recloser_closed();
    for _ in 0..10 {
        let _ = breaker.call(|| Err::<(), ()>(()));
    }
    assert!(matches!(breaker.call(|| Ok::<(), ()>(())), Err(recloser::Error::Rejected)));
    breaker
}

type Failsafe = StateMachine<failure_policy::ConsecutiveFailures<backoff::Constant>, ()>;

fn failsafe_closed() -> Failsafe {
    let policy = failure_policy::consecutive_failures(5, backoff::constant(DAY));
    failsafe::Config::new().failure_policy(policy).build()
}

fn failsafe_open() -> Failsafe {
    let breaker = failsafe_closed();
    for _ in 0..5 {
        let _ = breaker.call(|| Err::<(), ()>(()));
    }
    assert!(!breaker.is_call_permitted());
    breaker
}

/// Measures `call` alone, then with a second thread that makes the same calls.
fn row<T: Sync>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, breaker: T, call: impl Fn(&T) + Sync) {
    group.bench_function(format!("{name}/1 thread"), |bencher| bencher.iter(|| call(black_box(&breaker))));
    group.bench_function(format!("{name}/2 threads"), |bencher| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    call(black_box(&breaker));
                }
            });
            bencher.iter(|| call(black_box(&breaker)));
            done.store(true, Ordering::Relaxed);
        });
    });
}

fn closed(criterion: &mut Criterion) {
    let clock = SystemClock::new();
    let mut group = criterion.benchmark_group("closed, success");
    row(&mut group, "ours", ours(), |breaker| {
        if let Ok(permit) = breaker.try_acquire(black_box(NOW)) {
            permit.success(black_box(NOW));
        }
    });
    row(&mut group, "ours, clock read twice", ours(), |breaker| {
        if let Ok(permit) = breaker.try_acquire(clock.monotonic()) {
            permit.success(clock.monotonic());
        }
    });
    row(&mut group, "recloser", recloser_closed(), |breaker| {
        black_box(breaker.call(|| Ok::<(), Infallible>(()))).ok();
    });
    row(&mut group, "failsafe", failsafe_closed(), |breaker| {
        black_box(breaker.call(|| Ok::<(), Infallible>(()))).ok();
    });
    group.finish();
}

fn rejecting(criterion: &mut Criterion) {
    let clock = SystemClock::new();
    let mut group = criterion.benchmark_group("open, rejecting");
    row(&mut group, "ours", ours_open(), |breaker| {
        black_box(breaker.try_acquire(black_box(NOW))).err();
    });
    row(&mut group, "ours, clock read", ours_open(), |breaker| {
        black_box(breaker.try_acquire(NOW + clock.monotonic())).err();
    });
    row(&mut group, "recloser", recloser_open(), |breaker| {
        black_box(breaker.call(|| Ok::<(), Infallible>(()))).ok();
    });
    row(&mut group, "failsafe", failsafe_open(), |breaker| {
        black_box(breaker.call(|| Ok::<(), Infallible>(()))).ok();
    });
    group.finish();
}

criterion_group!(benches, closed, rejecting);
criterion_main!(benches);

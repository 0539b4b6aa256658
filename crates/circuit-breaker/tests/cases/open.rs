//! An open breaker rejects calls until its open time has ended.

use std::collections::HashSet;
use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState};

use crate::{LONGEST_OPEN, NANOSECOND, PROBE_TIMEOUT, SHORTEST_OPEN, breaker, fail, open, pass, rejection};

#[test]
fn it_rejects_calls_until_exactly_the_announced_time() {
    let breaker = breaker();
    let opened = Duration::from_secs(100);
    let wakes = open(&breaker, opened);
    assert_eq!(rejection(&breaker, opened - Duration::from_secs(1)), wakes - opened + Duration::from_secs(1));
    assert_eq!(rejection(&breaker, wakes - NANOSECOND), NANOSECOND);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(pass(&breaker, wakes).is_probe());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn open_times_differ_and_lie_between_8_and_12_seconds() {
    let breaker = breaker();
    let mut now = Duration::ZERO;
    fail(&breaker, 4, now);
    let lengths: Vec<Duration> = (0..200)
        .map(|_| {
            fail(&breaker, 1, now);
            let length = rejection(&breaker, now);
            now += length;
            length
        })
        .collect();
    assert!(lengths.iter().all(|length| (SHORTEST_OPEN..=LONGEST_OPEN).contains(length)), "{lengths:?}");
    assert_eq!(lengths.iter().collect::<HashSet<_>>().len(), lengths.len(), "two open times are equal");
    for second in 8..12 {
        let within = lengths.iter().filter(|length| length.as_secs() == second).count();
        assert!((25..=75).contains(&within), "{within} of 200 open times begin with second {second}");
    }
}

#[test]
fn instances_that_open_at_the_same_time_wake_at_different_times() {
    let mut wakes: Vec<Duration> = (0..10)
        .map(|seed| {
            let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), seed);
            open(&breaker, Duration::ZERO)
        })
        .collect();
    wakes.sort();
    let closest =
        wakes.windows(2).map(|pair| pair[1] - pair[0]).min().expect("ten wake times have nine gaps");
    assert!(closest > Duration::from_millis(5), "{wakes:?}");
    assert!(wakes[9] - wakes[0] > Duration::from_secs(2), "{wakes:?}");
}

#[test]
fn neighbouring_seeds_never_draw_the_same_open_time() {
    let mut lengths = HashSet::new();
    for seed in 0..10 {
        let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), seed);
        let mut now = open(&breaker, Duration::ZERO);
        for _ in 0..20 {
            fail(&breaker, 1, now);
            let length = rejection(&breaker, now);
            assert!(lengths.insert(length), "{length:?} was drawn twice");
            now += length;
        }
    }
}

#[test]
fn extreme_configurations_never_announce_a_wait_of_zero() {
    let mut config = BreakerConfig::new(Duration::ZERO);
    config.open_for = Duration::MAX;
    config.jitter_permille = u16::MAX;
    let breaker = Breaker::new(config, 1);
    fail(&breaker, 5, Duration::ZERO);
    assert!(rejection(&breaker, Duration::ZERO) > Duration::ZERO);

    config.open_for = Duration::ZERO;
    let breaker = Breaker::new(config, 1);
    fail(&breaker, 5, Duration::ZERO);
    let probe = pass(&breaker, Duration::ZERO);
    assert_eq!(rejection(&breaker, Duration::ZERO), NANOSECOND);
    probe.success(Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

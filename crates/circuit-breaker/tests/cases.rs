//! One test per sentence of the public contract's §7 (docs/contract.md), on one thread, by hand-turned time.

use std::collections::HashSet;
use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState, Permit, Rejected, Transitions};

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_OPEN: Duration = Duration::from_secs(8);
const LONGEST_OPEN: Duration = Duration::from_secs(12);
const NANOSECOND: Duration = Duration::from_nanos(1);

type Report = fn(Permit<'_>, Duration);
const OUTCOMES: [Report; 2] = [|permit, now| permit.success(now), |permit, now| permit.failure(now)];
const ENDINGS: [Report; 3] = [OUTCOMES[0], OUTCOMES[1], |permit, _| drop(permit)];

fn breaker() -> Breaker {
    Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), 7)
}

fn pass(breaker: &Breaker, now: Duration) -> Permit<'_> {
    breaker.try_acquire(now).expect("the breaker lets a call through")
}

fn refusal(breaker: &Breaker, now: Duration) -> Duration {
    let Rejected { retry_after } = breaker.try_acquire(now).expect_err("the breaker lets nobody through");
    retry_after
}

fn fail(breaker: &Breaker, times: u32, now: Duration) {
    for _ in 0..times {
        pass(breaker, now).failure(now);
    }
}

/// Opens a closed breaker at `now` and gives the instant its first probe may pass.
fn open(breaker: &Breaker, now: Duration) -> Duration {
    fail(breaker, 5, now);
    assert_eq!(breaker.state(), BreakerState::Open);
    now + refusal(breaker, now)
}

fn succeed(breaker: &Breaker, times: u32, now: Duration) {
    for _ in 0..times {
        pass(breaker, now).success(now);
    }
}

#[test]
fn four_failures_leave_it_closed_and_the_fifth_opens_it() {
    let breaker = breaker();
    fail(&breaker, 4, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_success_in_between_begins_the_row_of_failures_anew() {
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
fn calls_under_way_together_count_in_the_order_they_report() {
    let breaker = breaker();
    let permits: Vec<_> = (0..6).map(|_| pass(&breaker, Duration::ZERO)).collect();
    for (reported, permit) in permits.into_iter().enumerate() {
        assert_eq!(breaker.state(), if reported < 5 { BreakerState::Closed } else { BreakerState::Open });
        permit.failure(Duration::ZERO);
    }
    assert_eq!(breaker.transitions().opened, 1);
}

#[test]
fn a_cancelled_call_while_closed_is_neither_success_nor_failure() {
    let breaker = breaker();
    fail(&breaker, 4, Duration::ZERO);
    drop(pass(&breaker, Duration::ZERO));
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1, Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn open_refuses_until_exactly_the_promised_instant() {
    let breaker = breaker();
    let opened = Duration::from_secs(100);
    let wakes = open(&breaker, opened);
    assert_eq!(refusal(&breaker, opened - Duration::from_secs(1)), wakes - opened + Duration::from_secs(1));
    assert_eq!(refusal(&breaker, wakes - NANOSECOND), NANOSECOND);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(pass(&breaker, wakes).is_probe());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn one_or_two_probes_do_not_close_it_and_three_do() {
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
fn one_failed_probe_opens_it_again_even_after_two_good_ones() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 2, now);
    fail(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Open);
    let now = now + refusal(&breaker, now);
    succeed(&breaker, 2, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "the two good probes of last time are forgotten");
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_closed_breaker_has_forgotten_the_failures_that_opened_it() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    succeed(&breaker, 3, now);
    fail(&breaker, 4, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn each_opening_draws_its_own_length_within_eight_to_twelve_seconds() {
    let breaker = breaker();
    let mut now = Duration::ZERO;
    fail(&breaker, 4, now);
    let lengths: Vec<Duration> = (0..200)
        .map(|_| {
            fail(&breaker, 1, now);
            let length = refusal(&breaker, now);
            now += length;
            length
        })
        .collect();
    assert!(lengths.iter().all(|length| (SHORTEST_OPEN..=LONGEST_OPEN).contains(length)), "{lengths:?}");
    assert_eq!(lengths.iter().collect::<HashSet<_>>().len(), lengths.len(), "no length comes twice");
    for second in 8..12 {
        let within = lengths.iter().filter(|length| length.as_secs() == second).count();
        assert!((25..=75).contains(&within), "{within} of 200 lengths lie in second {second}");
    }
}

#[test]
fn ten_instances_that_open_together_do_not_wake_together() {
    let mut wakes: Vec<Duration> = (0..10)
        .map(|seed| {
            let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), seed);
            open(&breaker, Duration::ZERO)
        })
        .collect();
    wakes.sort();
    let closest = wakes.windows(2).map(|pair| pair[1] - pair[0]).min().expect("ten have nine gaps");
    assert!(closest > Duration::from_millis(5), "{wakes:?}");
    assert!(wakes[9] - wakes[0] > Duration::from_secs(2), "{wakes:?}");
}

#[test]
fn neighbouring_seeds_share_no_lengths_at_any_opening() {
    let mut lengths = HashSet::new();
    for seed in 0..10 {
        let breaker = Breaker::new(BreakerConfig::new(PROBE_TIMEOUT), seed);
        let mut now = open(&breaker, Duration::ZERO);
        for _ in 0..20 {
            fail(&breaker, 1, now);
            let length = refusal(&breaker, now);
            assert!(lengths.insert(length), "{length:?} comes twice");
            now += length;
        }
    }
}

#[test]
fn a_cancelled_probe_frees_its_place_and_counts_as_neither() {
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
fn while_a_probe_is_under_way_others_are_told_when_its_place_would_be_free() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    let probe = pass(&breaker, now);
    assert_eq!(refusal(&breaker, now), PROBE_TIMEOUT);
    assert_eq!(refusal(&breaker, now + PROBE_TIMEOUT - NANOSECOND), NANOSECOND);
    probe.success(now);
    assert!(pass(&breaker, now).is_probe());
}

#[test]
fn a_hung_probe_loses_its_place_and_its_later_report_changes_nothing() {
    for report in ENDINGS {
        let breaker = breaker();
        let mut now = open(&breaker, Duration::ZERO);
        succeed(&breaker, 2, now);
        let hung = pass(&breaker, now);
        now += PROBE_TIMEOUT;
        let next = pass(&breaker, now);
        report(hung, now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(refusal(&breaker, now), PROBE_TIMEOUT, "the second probe still has its place");
        next.success(now);
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "the two good probes before the hung one still count"
        );
    }
}

#[test]
fn a_probe_reported_on_after_its_time_frees_its_place_and_counts_as_neither() {
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
fn a_probe_reported_on_at_the_last_instant_counts() {
    let breaker = breaker();
    let now = open(&breaker, Duration::ZERO);
    pass(&breaker, now).failure(now + PROBE_TIMEOUT);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn results_of_an_earlier_closed_period_change_nothing_in_any_later_state() {
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
    assert_eq!(refusal(&breaker, Duration::ZERO), now, "a late failure does not lengthen the opening");

    let probe = pass(&breaker, now);
    report_late(now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(refusal(&breaker, now), PROBE_TIMEOUT, "a late result does not free the probe's place");
    probe.success(now);

    report_late(now);
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "five late successes are not a third good probe");
    succeed(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Closed);

    fail(&breaker, 4, now);
    report_late(now);
    assert_eq!(breaker.state(), BreakerState::Closed, "late failures are not the fifth in a row");
    fail(&breaker, 1, now);
    assert_eq!(breaker.state(), BreakerState::Open, "and late successes do not begin the row anew");
}

#[test]
fn a_result_of_an_earlier_half_open_period_changes_nothing_in_the_next() {
    for report in ENDINGS {
        let breaker = breaker();
        let mut now = open(&breaker, Duration::ZERO);
        let hung = pass(&breaker, now);
        now += PROBE_TIMEOUT;
        fail(&breaker, 1, now);
        now += refusal(&breaker, now);
        succeed(&breaker, 1, now);
        let probe = pass(&breaker, now);
        report(hung, now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(refusal(&breaker, now), PROBE_TIMEOUT);
        probe.success(now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        succeed(&breaker, 1, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn transitions_are_counted_once_each() {
    let breaker = breaker();
    assert_eq!(breaker.transitions(), Transitions::default());
    let mut now = open(&breaker, Duration::ZERO);
    assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 0, closed: 0 });
    drop(pass(&breaker, now));
    drop(pass(&breaker, now));
    assert_eq!(breaker.transitions(), Transitions { opened: 1, half_opened: 1, closed: 0 });
    fail(&breaker, 1, now);
    now += refusal(&breaker, now);
    assert_eq!(breaker.transitions(), Transitions { opened: 2, half_opened: 1, closed: 0 });
    succeed(&breaker, 3, now);
    assert_eq!(breaker.transitions(), Transitions { opened: 2, half_opened: 2, closed: 1 });
}

#[test]
fn extreme_configurations_refuse_for_some_time_and_never_for_zero() {
    let mut config = BreakerConfig::new(Duration::ZERO);
    config.open_for = Duration::MAX;
    config.jitter_permille = u16::MAX;
    let breaker = Breaker::new(config, 1);
    fail(&breaker, 5, Duration::ZERO);
    assert!(refusal(&breaker, Duration::ZERO) > Duration::ZERO);

    config.open_for = Duration::ZERO;
    let breaker = Breaker::new(config, 1);
    fail(&breaker, 5, Duration::ZERO);
    let probe = pass(&breaker, Duration::ZERO);
    assert_eq!(refusal(&breaker, Duration::ZERO), NANOSECOND);
    probe.success(Duration::ZERO);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn states_have_the_names_the_metrics_use() {
    let names = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen].map(BreakerState::as_str);
    assert_eq!(names, ["closed", "open", "half_open"]);
}

#[test]
fn a_trip_opens_a_closed_breaker_whatever_succeeds_and_changes_no_other() {
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_secs(1)), 3);
    let before = breaker.try_acquire(Duration::ZERO).unwrap();
    breaker.try_acquire(Duration::ZERO).unwrap().success(Duration::ZERO);
    breaker.trip(Duration::ZERO);
    assert_eq!((breaker.state(), breaker.transitions().opened), (BreakerState::Open, 1));
    before.success(Duration::ZERO);
    breaker.trip(Duration::from_secs(7));
    let wakes = Duration::from_secs(12);
    let probe = breaker.try_acquire(wakes).expect("the second trip made it no longer");
    breaker.trip(wakes);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.success(wakes);
    assert_eq!(breaker.transitions().opened, 1);
}

#[test]
fn a_reset_closes_the_breaker_in_every_state_and_earlier_reports_change_nothing() {
    let breaker = Breaker::new(BreakerConfig::new(Duration::from_secs(1)), 3);
    let fail =
        |times| (0..times).for_each(|_| breaker.try_acquire(Duration::ZERO).unwrap().failure(Duration::ZERO));
    fail(4);
    assert!(breaker.try_reset());
    fail(4);
    assert_eq!(breaker.state(), BreakerState::Closed, "the failures before are forgotten");
    let late = breaker.try_acquire(Duration::ZERO).unwrap();
    fail(1);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(breaker.try_reset());
    assert_eq!((breaker.state(), breaker.transitions().closed), (BreakerState::Closed, 1));
    late.failure(Duration::ZERO);
    fail(4);
    assert_eq!(breaker.state(), BreakerState::Closed, "the late report counted for nothing");
    breaker.trip(Duration::ZERO);
    let probe = breaker.try_acquire(Duration::from_secs(12)).unwrap();
    assert!(breaker.try_reset());
    probe.failure(Duration::from_secs(12));
    assert_eq!(breaker.state(), BreakerState::Closed, "a probe of the former says nothing");
    breaker.trip(Duration::ZERO);
    breaker.try_acquire(Duration::from_secs(12)).unwrap().success(Duration::from_secs(12));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.try_reset());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

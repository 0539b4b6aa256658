//! The promises of the rule, kept by the script at instants of the test's choosing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rate_limiter::{Decision, DeniedCache, DimensionName, RegionStatus, Report, Status};

use crate::model::Stepped;
use crate::support::{COLD_MS, ip};

const NOW: u64 = 1_771_243_200_000;
const LOST: i64 = 4;
const COLD: i64 = 1;
/// What Redis's clock, read in whole milliseconds, may leave out.
const TICK: Duration = Duration::from_millis(1);

fn run<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&mut Stepped, S::Value) -> Result<(), TestCaseError>,
) {
    let stepped = RefCell::new(Stepped::new());
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&strategy, |value| check(&mut stepped.borrow_mut(), value))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_window_admits_more_than_the_limit_even_when_the_clock_steps_back_a_minute() {
    let steps =
        prop::collection::vec(prop_oneof![8 => 0i64..3_000, 2 => 0i64..61_000, 1 => -60_000i64..0], 1..500);
    run(80, (1u32..80, steps), |stepped, (limit, steps)| {
        let mut now = i64::try_from(NOW).expect("a time");
        let instants: Vec<u64> = steps
            .iter()
            .map(|step| {
                now += step;
                u64::try_from(now).expect("a time")
            })
            .collect();
        let mut caller = stepped.newcomer(&[(limit, limit)]);
        // The oracle keeps every timestamp. A clock that has stepped back stands still for the caller until
        // it catches up.
        let mut kept: Vec<u64> = Vec::new();
        for (at, reply) in instants.iter().zip(caller.ask(&instants)) {
            if reply[4] & LOST != 0 {
                kept.clear();
            }
            let at = kept.last().map_or(*at, |newest| *newest.max(at));
            if reply[0] == 1 {
                kept.push(at);
            }
            let within = kept.iter().filter(|kept| **kept + 60_000 > at).count();
            prop_assert!(within <= limit as usize, "{within} of {limit} at {at}");
        }
        Ok(())
    });
}

#[test]
fn denied_at_every_instant_before_the_promised_one_and_admitted_at_it() {
    let limits = prop::collection::vec((1u32..12).prop_flat_map(|full| (Just(full), 1..=full)), 1..3);
    let steps = prop::collection::vec(prop_oneof![8 => 0u64..2_000, 1 => 0u64..100_000], 1..60);
    run(60, (limits, steps, any::<u64>()), |stepped, (limits, steps, seed)| {
        let mut caller = stepped.newcomer(&limits);
        let mut now = NOW;
        for step in steps {
            now += step;
            let reply = caller.ask_at(now);
            if reply[0] == 1 {
                prop_assert_eq!(reply[1], 0);
                continue;
            }
            let promised = now + u64::try_from(reply[1]).expect("a wait");
            prop_assert!(promised > now);
            for before in [now + seed % (promised - now), now + (promised - now) / 2, promised - 1] {
                prop_assert_eq!(
                    caller.ask_at(before)[0],
                    0,
                    "denied until {}, admitted at {}",
                    promised,
                    before
                );
            }
            prop_assert_eq!(caller.ask_at(promised)[0], 1, "not admitted at the promised {}", promised);
            now = promised;
        }
        Ok(())
    });
}

#[test]
fn the_promise_is_true_in_real_time_after_the_clock_stepped_back() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(1, 1)]);
    assert_eq!(caller.ask_at(NOW)[0], 1);
    let denied = caller.ask_at(NOW - 30_000);
    assert_eq!((denied[0], denied[1]), (0, 90_000));
    assert_eq!(caller.ask_at(NOW + 59_999)[0], 0);
    assert_eq!(caller.ask_at(NOW + 60_000)[0], 1);
}

#[test]
fn an_evenly_spaced_caller_gets_95_percent_through() {
    let mut stepped = Stepped::new();
    for limit in [1, 2, 3, 5, 10, 31, 32, 33, 34, 50, 63, 64, 65, 99, 100, 101, 250, 500, 993, 999, 1_000] {
        let asked = 4 * u64::from(limit);
        let instants: Vec<u64> = (0..asked).map(|i| NOW + i * 60_000 / u64::from(limit)).collect();
        let mut caller = stepped.newcomer(&[(limit, limit)]);
        let admitted = caller.ask(&instants).iter().filter(|reply| reply[0] == 1).count() as u64;
        assert!(admitted * 100 >= asked * 95, "limit {limit}: {admitted} of {asked}");
    }
}

#[test]
fn a_state_stays_under_400_bytes_whatever_the_limit() {
    let mut stepped = Stepped::new();
    for limit in [100, 1_000_000] {
        let mut caller = stepped.newcomer(&[(limit, limit)]);
        let instants: Vec<u64> = (0..4_000).map(|i| NOW + i * 50).collect();
        caller.ask(&instants);
        assert!(caller.state_bytes().len() < 400, "{} bytes", caller.state_bytes().len());
    }
}

#[test]
fn the_cold_phase_ends_by_itself_at_its_millisecond_and_a_denied_caller_is_told_so() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(100, 50)]);
    assert_eq!(caller.ask_at(NOW)[7], 50);
    let late = NOW + COLD_MS - 20_000;
    let burst = caller.ask(&[late; 60]);
    assert_eq!(burst.iter().filter(|reply| reply[0] == 1).count(), 50);
    assert_eq!(burst[59][1], 20_000, "the end of the cold phase comes before the first unit leaves");
    assert_eq!(caller.ask_at(NOW + COLD_MS - 1)[0], 0);
    let warm = caller.ask(&[NOW + COLD_MS; 60]);
    assert_eq!(warm.iter().filter(|reply| reply[0] == 1).count(), 50);
    assert_eq!((warm[0][7], warm[0][4]), (100, 0));
}

#[test]
fn what_remains_and_when_more_does_is_told_for_each_dimension() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(4, 2), (10, 5)]);
    caller.born_at(NOW - COLD_MS);
    assert_eq!(caller.ask_at(NOW)[6..], [1, 4, 3, 60_000, NOW as i64, 1, 10, 9, 60_000, NOW as i64]);
    let later = caller.ask_at(NOW + 5_000);
    assert_eq!(later[6..], [1, 4, 2, 55_000, NOW as i64 + 5_000, 1, 10, 8, 55_000, NOW as i64 + 5_000]);
}

#[test]
fn a_birth_record_from_the_far_future_is_lost_state_and_one_from_the_near_future_is_not() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(100, 50)]);
    caller.born_at(NOW + 60_000);
    let near = caller.ask_at(NOW);
    assert_eq!((near[2], near[4]), (NOW as i64 + 60_000, COLD));
    caller.born_at(NOW + 60_001);
    let far = caller.ask_at(NOW);
    assert_eq!((far[2], far[4]), (NOW as i64, COLD | LOST));
}

#[test]
fn a_callers_stamp_from_the_far_future_drops_that_caller_and_makes_the_region_cold() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(2, 1)]);
    caller.born_at(NOW - 2 * COLD_MS);
    assert_eq!(caller.ask_at(NOW)[0], 1);
    assert_eq!(caller.ask_at(NOW)[0], 1);
    let back = caller.ask_at(NOW - 60_000);
    assert_eq!((back[0], back[4]), (0, 0), "60 s ahead still stands, and the region is warm");
    let far_back = caller.ask_at(NOW - 60_001);
    assert_eq!((far_back[0], far_back[2], far_back[4]), (1, NOW as i64 - 60_001, COLD | LOST));
    assert_eq!(caller.ask_at(NOW - 60_001)[0], 0, "dropped, not unlimited");
}

#[test]
fn lost_state_is_dropped_even_when_another_dimension_denies() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(5, 5), (1, 1)]);
    assert_eq!(caller.ask_at(NOW)[0], 1);
    // Ten years ahead: 1 unit, the newest group, no others.
    let ahead = NOW + 315_360_000_000;
    let mut state = vec![0, 0, 1];
    state.extend(&ahead.to_be_bytes()[2..]);
    state.extend([0, 0, 0, 0, 1]);
    caller.write_state(&state);
    let denied = caller.ask_at(NOW + 1);
    assert_eq!((denied[0], denied[4]), (0, COLD | LOST));
    let again = caller.ask_at(NOW + 2);
    assert_eq!(
        (again[0], again[4], again[2]),
        (0, COLD, NOW as i64 + 1),
        "reborn once, not at every request"
    );
}

#[test]
fn unreadable_state_is_lost_state() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(5, 5)]);
    assert_eq!(caller.ask_at(NOW)[0], 1);
    for rubbish in [&b"x"[..], &[0; 15], &[7; 400]] {
        caller.write_state(rubbish);
        let reply = caller.ask_at(NOW + 1);
        assert_eq!((reply[0], reply[4]), (1, COLD | LOST), "{rubbish:?}");
    }
}

#[test]
fn a_birth_record_gone_by_itself_makes_the_region_cold_and_callers_keep_what_they_used() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(4, 2)]);
    caller.born_at(NOW - COLD_MS);
    assert!(caller.ask(&[NOW; 3]).iter().all(|reply| reply[0] == 1));
    caller.forget_birth();
    let denied = caller.ask_at(NOW + 1);
    assert_eq!((denied[0], denied[4]), (0, COLD | 2));
    assert_eq!(denied[1], 59_999);
}

/// Allowed, birth and flags of one reply.
fn birth(reply: &[i64]) -> (i64, u64, i64) {
    (reply[0], u64::try_from(reply[2]).expect("a birth"), reply[4])
}

#[test]
fn a_region_born_while_the_clock_was_back_is_cold_again_once_when_it_is_mended() {
    let mut stepped = Stepped::new();
    let mut caller = stepped.newcomer(&[(4, 2)]);
    caller.deployment_created(NOW);
    // 1970, long before the deployment: the region is born then, and warms up by the clock that there is.
    let wrong = 5_000_000;
    assert_eq!(birth(&caller.ask_at(wrong)), (1, wrong, COLD | 2));
    assert_eq!(
        birth(&caller.ask_at(wrong + COLD_MS)),
        (1, wrong, 0),
        "no second birth while the clock is back"
    );
    let mended = NOW + 86_400_000;
    assert_eq!(birth(&caller.ask_at(mended)), (1, mended, COLD | LOST));
    assert_eq!(birth(&caller.ask_at(mended + 1_000)), (1, mended, COLD), "once");
    assert_eq!(birth(&caller.ask_at(mended + 2_000)).0, 0, "of the cold size");
    assert_eq!(birth(&caller.ask_at(mended + COLD_MS)), (1, mended, 0));
}

#[test]
fn a_birth_up_to_a_minute_before_the_deployment_stands() {
    let mut stepped = Stepped::new();
    for (before, stands) in [(0, true), (59_999, true), (60_000, true), (60_001, false), (NOW, false)] {
        let mut caller = stepped.newcomer(&[(4, 2)]);
        caller.born_at(NOW - before);
        let now = NOW + COLD_MS;
        assert_eq!(birth(&caller.ask_at(now)), (1, NOW - before, 0), "no deployment is known");
        caller.deployment_created(NOW);
        let expected = if stands { (1, NOW - before, 0) } else { (1, now, COLD | LOST) };
        assert_eq!(birth(&caller.ask_at(now)), expected, "{before} ms before");
    }
}

/// A reply about one dimension, as a decision.
fn decision(reply: &[i64]) -> Decision {
    let number = |at: usize| u64::try_from(reply[at]).expect("a number");
    let (limit, remaining) =
        (u32::try_from(reply[7]).expect("a limit"), u32::try_from(reply[8]).expect("a rest"));
    let reset_after = (reply[9] > 0).then(|| Duration::from_millis(number(9)));
    let status = Status { name: "ip", allows: reply[6] == 1, limit, remaining, reset_after };
    let (born_at_ms, age) = (number(2), Duration::from_millis(number(3) - number(2)));
    let region = RegionStatus { born_at_ms, age, cold: reply[4] & COLD != 0, made: false, lost: false };
    let report = Report { statuses: vec![status], region: Some(region) };
    Decision::Denied { retry_after: Duration::from_millis(number(1)), report }
}

#[test]
fn a_remembered_denial_never_denies_what_the_limiter_would_admit() {
    let limits = (1u32..12).prop_flat_map(|full| (Just(full), 1..=full));
    // In microseconds: Redis's clock is read in whole milliseconds.
    let span = prop_oneof![8 => 0u64..2_000_000, 2 => 0u64..20_000_000, 1 => 0u64..120_000_000];
    let lag = prop_oneof![1 => 0u64..1_000, 1 => 0u64..400_000];
    let steps = prop::collection::vec((span, lag), 1..80);
    let hits = Cell::new(0_u32);
    run(60, (limits, steps), |stepped, (limits, steps)| {
        let mut caller = stepped.newcomer(&[limits]);
        let (cache, ip) = (DeniedCache::default(), ip("a", 1));
        let (mut now, mut born) = (0, 0);
        let redis_at = |now: u64| NOW + now / 1_000;
        // The process's clock begins elsewhere than Redis's.
        let here_at = Duration::from_micros;
        let remembered = |now: u64, born| cache.get(DimensionName::Ip, "a", b"", here_at(now), born);
        for (step, lag) in steps {
            now += step;
            if let Some(denial) = remembered(now, born) {
                hits.set(hits.get() + 1);
                let reply = caller.ask_at(redis_at(now));
                prop_assert_eq!(reply[0], 0, "the limiter would admit at {} us", now);
                let Decision::Denied { retry_after, report } = decision(&reply) else { unreachable!() };
                prop_assert!(
                    denial.retry_after <= retry_after + TICK,
                    "{denial:?} is more than {retry_after:?}"
                );
                prop_assert!(denial.retry_after + Duration::from_millis(401) >= retry_after);
                let (told, true_one) = (&denial.statuses[0], &report.statuses[0]);
                prop_assert_eq!((told.limit, told.remaining), (true_one.limit, true_one.remaining));
                prop_assert_eq!(told.reset_after, Some(denial.retry_after));
                continue;
            }
            // The limiter looks at its clock some time after the question was sent.
            let sent = here_at(now);
            now += lag;
            let reply = caller.ask_at(redis_at(now));
            born = u64::try_from(reply[2]).expect("a birth");
            if reply[0] == 0 {
                cache.put(&ip, b"", &decision(&reply), sent, false);
                // The first instant at which the limiter would admit.
                let promised = (redis_at(now) - NOW + u64::try_from(reply[1]).expect("a wait")) * 1_000;
                // A cache of its own, because a look at an expired denial forgets it.
                let other = DeniedCache::default();
                other.put(&ip, b"", &decision(&reply), sent, false);
                let still = other.get(DimensionName::Ip, "a", b"", here_at(promised), born);
                prop_assert_eq!(still, None, "asked at {} us", now);
            }
        }
        Ok(())
    });
    assert!(hits.get() > 100, "{} denials were remembered", hits.get());
}

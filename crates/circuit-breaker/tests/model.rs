//! The breaker against a plain sequential model of the public contract's §7: any operations at any times, and after
//! each of them both must have given the same answer and be in the same state.
//!
//! The model shares nothing with the breaker: it has an enum for its state and a list of the permits still out, no
//! generations and no packed words. What it cannot know is the jitter, so it takes each opening's end from the first
//! refusal after it, and checks that it lies within the bounds and that every later refusal agrees.

use std::num::NonZeroU32;
use std::time::Duration;

use circuit_breaker::{Breaker, BreakerConfig, BreakerState, Permit, Transitions};
use proptest::prelude::*;

const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_OPEN: Duration = Duration::from_secs(8);
const LONGEST_OPEN: Duration = Duration::from_secs(12);

#[derive(Debug, Clone, Copy)]
enum Operation {
    Acquire,
    Succeed(prop::sample::Index),
    Fail(prop::sample::Index),
    Drop(prop::sample::Index),
    Wait(Duration),
    /// Exactly as long as the last refusal said, or one nanosecond less.
    WaitAsTold {
        short: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen { successes: u32, probe: Option<Probe> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    reservation: usize,
    expires: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Success,
    Failure,
    Cancelled,
}

struct Model {
    config: BreakerConfig,
    doing: Doing,
    /// Tickets given since it last closed; none of an earlier closed period is among them.
    reservations_of_this_period: Vec<usize>,
    reservations: usize,
    transitions: Transitions,
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            doing: Doing::Closed { failures: 0 },
            reservations_of_this_period: Vec::new(),
            reservations: 0,
            transitions: Transitions::default(),
        }
    }

    fn acquire(&mut self, now: Duration) -> Result<usize, Duration> {
        let reservation = self.reservations;
        let probe = Some(Probe { reservation, expires: now + PROBE_TIMEOUT });
        match self.doing {
            Doing::Closed { .. } => self.reservations_of_this_period.push(reservation),
            Doing::Open { until } if now < until => return Err(until - now),
            Doing::Open { .. } => {
                self.transitions.half_opened += 1;
                self.doing = Doing::HalfOpen { successes: 0, probe };
            }
            Doing::HalfOpen { probe: Some(Probe { expires, .. }), .. } if now < expires => {
                return Err(expires - now);
            }
            Doing::HalfOpen { successes, .. } => self.doing = Doing::HalfOpen { successes, probe },
        }
        self.reservations += 1;
        Ok(reservation)
    }

    /// Gives true if the breaker has opened, and so drawn a length.
    fn report(&mut self, reservation: usize, report: Report, now: Duration) -> bool {
        match (self.doing, report) {
            (Doing::Closed { failures }, _) if self.reservations_of_this_period.contains(&reservation) => {
                match report {
                    Report::Success => self.doing = Doing::Closed { failures: 0 },
                    Report::Failure if failures + 1 == self.config.failure_threshold.get() => {
                        return self.open();
                    }
                    Report::Failure => self.doing = Doing::Closed { failures: failures + 1 },
                    Report::Cancelled => {}
                }
            }
            (Doing::HalfOpen { successes, probe: Some(probe) }, _) if probe.reservation == reservation => {
                self.doing = Doing::HalfOpen { successes, probe: None };
                match report {
                    Report::Cancelled => {}
                    _ if now > probe.expires => {}
                    Report::Failure => return self.open(),
                    Report::Success if successes + 1 == self.config.success_threshold.get() => {
                        self.reservations_of_this_period.clear();
                        self.transitions.closed += 1;
                        self.doing = Doing::Closed { failures: 0 };
                    }
                    Report::Success => self.doing = Doing::HalfOpen { successes: successes + 1, probe: None },
                }
            }
            _ => {}
        }
        false
    }

    fn open(&mut self) -> bool {
        self.reservations_of_this_period.clear();
        self.transitions.opened += 1;
        true
    }

    fn state(&self) -> BreakerState {
        match self.doing {
            Doing::Closed { .. } => BreakerState::Closed,
            Doing::Open { .. } => BreakerState::Open,
            Doing::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

/// The two side by side, with the permits still out and the model's reservations for them.
struct Pair<'a> {
    breaker: &'a Breaker,
    model: Model,
    out: Vec<(usize, Permit<'a>)>,
    now: Duration,
    told: Duration,
}

impl<'a> Pair<'a> {
    fn new(breaker: &'a Breaker, config: BreakerConfig) -> Self {
        Self {
            breaker,
            model: Model::new(config),
            out: Vec::new(),
            now: Duration::ZERO,
            told: Duration::ZERO,
        }
    }

    fn step(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Acquire => self.acquire()?,
            Operation::Succeed(index) => self.report(index, Report::Success)?,
            Operation::Fail(index) => self.report(index, Report::Failure)?,
            Operation::Drop(index) => self.report(index, Report::Cancelled)?,
            Operation::Wait(time) => self.now += time,
            Operation::WaitAsTold { short } => {
                self.now += self.told.saturating_sub(Duration::from_nanos(u64::from(short)));
                self.told = Duration::ZERO;
            }
        }
        prop_assert_eq!(self.breaker.state(), self.model.state());
        prop_assert_eq!(self.breaker.transitions(), self.model.transitions);
        Ok(())
    }

    fn acquire(&mut self) -> Result<(), TestCaseError> {
        let checked = self.breaker.check(self.now);
        prop_assert_eq!(self.breaker.state(), self.model.state(), "looking changes nothing");
        let asked = self.breaker.try_acquire(self.now);
        prop_assert_eq!(checked, asked.as_ref().map(|_| ()).map_err(|rejected| *rejected));
        match (asked, self.model.acquire(self.now)) {
            (Ok(permit), Ok(reservation)) => {
                prop_assert_eq!(permit.is_probe(), self.model.state() == BreakerState::HalfOpen);
                self.out.push((reservation, permit));
            }
            (Err(rejected), Err(retry_after)) => {
                prop_assert_eq!(rejected.retry_after, retry_after);
                prop_assert!(retry_after > Duration::ZERO);
                self.told = retry_after;
            }
            (real, model) => prop_assert!(false, "the breaker said {real:?}, the model {model:?}"),
        }
        Ok(())
    }

    fn report(&mut self, index: prop::sample::Index, report: Report) -> Result<(), TestCaseError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (reservation, permit) = self.out.swap_remove(index.index(self.out.len()));
        match report {
            Report::Success => permit.success(self.now),
            Report::Failure => permit.failure(self.now),
            Report::Cancelled => drop(permit),
        }
        if self.model.report(reservation, report, self.now) {
            let Err(rejected) = self.breaker.try_acquire(self.now) else {
                return Err(TestCaseError::fail("the breaker should have opened"));
            };
            prop_assert!((SHORTEST_OPEN..=LONGEST_OPEN).contains(&rejected.retry_after));
            self.model.doing = Doing::Open { until: self.now + rejected.retry_after };
            self.told = rejected.retry_after;
        }
        Ok(())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => Just(Operation::Acquire),
        4 => index().prop_map(Operation::Succeed),
        4 => index().prop_map(Operation::Fail),
        1 => index().prop_map(Operation::Drop),
        2 => any::<bool>().prop_map(|short| Operation::WaitAsTold { short }),
        1 => (0..400_000_000u64).prop_map(|nanos| Operation::Wait(Duration::from_nanos(nanos))),
        1 => (0..15_000u64).prop_map(|millis| Operation::Wait(Duration::from_millis(millis))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_at_any_times_go_as_the_model_says(
        seed: u64,
        failures in 1u32..=5,
        successes in 1u32..=3,
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut config = BreakerConfig::new(PROBE_TIMEOUT);
        config.failure_threshold = NonZeroU32::new(failures).expect("drawn from 1 on");
        config.success_threshold = NonZeroU32::new(successes).expect("drawn from 1 on");
        let breaker = Breaker::new(config, seed);
        let mut pair = Pair::new(&breaker, config);
        for operation in operations {
            pair.step(operation)?;
        }
    }
}

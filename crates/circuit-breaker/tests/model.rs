//! A property test: the breaker behaves like a sequential model of docs/contract.md §7.
//!
//! Any operations run at any times. After each, breaker and model must have returned the same result and be
//! in the same state. The model has no generations and no packed words, only an enum for its state and a list
//! of the permits that are still valid. It cannot know the jitter. So it takes the end of each open time from
//! the first rejection, checks that it lies within the bounds, and expects all later rejections to agree with
//! it.

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
    /// Waits exactly as long as the last rejection said, or one nanosecond less.
    WaitAsAnnounced {
        short: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelState {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen { successes: u32, probe: Option<Probe> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    permit_no: usize,
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
    state: ModelState,
    /// The permits issued in the current closed period.
    permits_of_this_period: Vec<usize>,
    issued: usize,
    transitions: Transitions,
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: ModelState::Closed { failures: 0 },
            permits_of_this_period: Vec::new(),
            issued: 0,
            transitions: Transitions::default(),
        }
    }

    fn acquire(&mut self, now: Duration) -> Result<usize, Duration> {
        let permit_no = self.issued;
        let probe = Some(Probe { permit_no, expires: now + PROBE_TIMEOUT });
        match self.state {
            ModelState::Closed { .. } => self.permits_of_this_period.push(permit_no),
            ModelState::Open { until } if now < until => return Err(until - now),
            ModelState::Open { .. } => {
                self.transitions.half_opened += 1;
                self.state = ModelState::HalfOpen { successes: 0, probe };
            }
            ModelState::HalfOpen { probe: Some(Probe { expires, .. }), .. } if now < expires => {
                return Err(expires - now);
            }
            ModelState::HalfOpen { successes, .. } => self.state = ModelState::HalfOpen { successes, probe },
        }
        self.issued += 1;
        Ok(permit_no)
    }

    /// Returns whether the breaker has opened, and so has drawn an open time.
    fn report(&mut self, permit_no: usize, report: Report, now: Duration) -> bool {
        match (self.state, report) {
            (ModelState::Closed { failures }, _) if self.permits_of_this_period.contains(&permit_no) => {
                match report {
                    Report::Success => self.state = ModelState::Closed { failures: 0 },
                    Report::Failure if failures + 1 == self.config.failure_threshold.get() => {
                        return self.open();
                    }
                    Report::Failure => self.state = ModelState::Closed { failures: failures + 1 },
                    Report::Cancelled => {}
                }
            }
            (ModelState::HalfOpen { successes, probe: Some(probe) }, _) if probe.permit_no == permit_no => {
                self.state = ModelState::HalfOpen { successes, probe: None };
                match report {
                    Report::Cancelled => {}
                    _ if now > probe.expires => {}
                    Report::Failure => return self.open(),
                    Report::Success if successes + 1 == self.config.success_threshold.get() => {
                        self.permits_of_this_period.clear();
                        self.transitions.closed += 1;
                        self.state = ModelState::Closed { failures: 0 };
                    }
                    Report::Success => {
                        self.state = ModelState::HalfOpen { successes: successes + 1, probe: None }
                    }
                }
            }
            _ => {}
        }
        false
    }

    fn open(&mut self) -> bool {
        self.permits_of_this_period.clear();
        self.transitions.opened += 1;
        true
    }

    fn state(&self) -> BreakerState {
        match self.state {
            ModelState::Closed { .. } => BreakerState::Closed,
            ModelState::Open { .. } => BreakerState::Open,
            ModelState::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

/// Breaker and model side by side, with the permits that are not reported yet and their numbers in the model.
struct Pair<'a> {
    breaker: &'a Breaker,
    model: Model,
    out: Vec<(usize, Permit<'a>)>,
    now: Duration,
    announced: Duration,
}

impl<'a> Pair<'a> {
    fn new(breaker: &'a Breaker, config: BreakerConfig) -> Self {
        Self {
            breaker,
            model: Model::new(config),
            out: Vec::new(),
            now: Duration::ZERO,
            announced: Duration::ZERO,
        }
    }

    fn step(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Acquire => self.acquire()?,
            Operation::Succeed(index) => self.report(index, Report::Success)?,
            Operation::Fail(index) => self.report(index, Report::Failure)?,
            Operation::Drop(index) => self.report(index, Report::Cancelled)?,
            Operation::Wait(time) => self.now += time,
            Operation::WaitAsAnnounced { short } => {
                self.now += self.announced.saturating_sub(Duration::from_nanos(u64::from(short)));
                self.announced = Duration::ZERO;
            }
        }
        prop_assert_eq!(self.breaker.state(), self.model.state());
        prop_assert_eq!(self.breaker.transitions(), self.model.transitions);
        Ok(())
    }

    fn acquire(&mut self) -> Result<(), TestCaseError> {
        let checked = self.breaker.check(self.now);
        prop_assert_eq!(self.breaker.state(), self.model.state(), "check changed the state");
        let asked = self.breaker.try_acquire(self.now);
        prop_assert_eq!(checked, asked.as_ref().map(|_| ()).map_err(|rejected| *rejected));
        match (asked, self.model.acquire(self.now)) {
            (Ok(permit), Ok(permit_no)) => {
                prop_assert_eq!(permit.is_probe(), self.model.state() == BreakerState::HalfOpen);
                self.out.push((permit_no, permit));
            }
            (Err(rejected), Err(retry_after)) => {
                prop_assert_eq!(rejected.retry_after, retry_after);
                prop_assert!(retry_after > Duration::ZERO);
                self.announced = retry_after;
            }
            (real, model) => prop_assert!(false, "breaker: {real:?}, model: {model:?}"),
        }
        Ok(())
    }

    fn report(&mut self, index: prop::sample::Index, report: Report) -> Result<(), TestCaseError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (permit_no, permit) = self.out.swap_remove(index.index(self.out.len()));
        match report {
            Report::Success => permit.success(self.now),
            Report::Failure => permit.failure(self.now),
            Report::Cancelled => drop(permit),
        }
        if self.model.report(permit_no, report, self.now) {
            let Err(rejected) = self.breaker.try_acquire(self.now) else {
                return Err(TestCaseError::fail("the breaker should have opened"));
            };
            prop_assert!((SHORTEST_OPEN..=LONGEST_OPEN).contains(&rejected.retry_after));
            self.model.state = ModelState::Open { until: self.now + rejected.retry_after };
            self.announced = rejected.retry_after;
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
        2 => any::<bool>().prop_map(|short| Operation::WaitAsAnnounced { short }),
        1 => (0..400_000_000u64).prop_map(|nanos| Operation::Wait(Duration::from_nanos(nanos))),
        1 => (0..15_000u64).prop_map(|millis| Operation::Wait(Duration::from_millis(millis))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_operations_behaves_like_the_model(
        seed: u64,
        failures in 1u32..=5,
        successes in 1u32..=3,
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut config = BreakerConfig::new(PROBE_TIMEOUT);
        config.failure_threshold = NonZeroU32::new(failures).expect("the strategy draws from 1");
        config.success_threshold = NonZeroU32::new(successes).expect("the strategy draws from 1");
        let breaker = Breaker::new(config, seed);
        let mut pair = Pair::new(&breaker, config);
        for operation in operations {
            pair.step(operation)?;
        }
    }
}

//! The script against a model of it in Rust, step by step, integer by integer.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rate_limiter::{LUA_LIB, SlidingWindow};
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;
use tokio::runtime::Runtime;

use crate::support::COLD_MS;

/// A limit and what it is in the cold phase.
pub(crate) type Limits = (u32, u32);

/// Runs `limiter_decide` and `limiter_commit` in Redis at chosen instants.
pub(crate) struct Stepped {
    runtime: Runtime,
    connection: MultiplexedConnection,
    script: redis::Script,
    callers: u32,
    _server: RedisServer,
}

impl Stepped {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (server, connection) = runtime.block_on(async {
            let server = RedisServer::start().await;
            let connection = server.connection().await;
            (server, connection)
        });
        let script = redis::Script::new(&[LUA_LIB, include_str!("lua/stepped_main.lua")].concat());
        Self { runtime, connection, script, callers: 0, _server: server }
    }

    /// A caller in a region that nobody has met.
    pub(crate) fn newcomer(&mut self, limits: &[Limits]) -> Caller<'_> {
        self.callers += 1;
        let region = format!("{{t{}}}", self.callers);
        Caller { stepped: self, region, limits: limits.to_vec(), created_ms: 0 }
    }
}

pub(crate) struct Caller<'a> {
    stepped: &'a mut Stepped,
    region: String,
    limits: Vec<Limits>,
    created_ms: u64,
}

impl Caller<'_> {
    /// The replies at each instant.
    pub(crate) fn ask(&mut self, instants: &[u64]) -> Vec<Vec<i64>> {
        let width = 6 + 5 * self.limits.len();
        let mut replies = Vec::new();
        for some in instants.chunks(500) {
            let mut call = self.stepped.script.key(format!("{}:born", self.region));
            for i in 0..self.limits.len() {
                call.key(self.state_key(i));
            }
            call.arg(self.limits.len()).arg(COLD_MS).arg(self.created_ms);
            for (limit, cold) in &self.limits {
                call.arg(limit).arg(cold);
            }
            for at in some {
                call.arg(at);
            }
            let ints: Vec<i64> = self
                .stepped
                .runtime
                .block_on(call.invoke_async(&mut self.stepped.connection))
                .expect("a reply");
            assert_eq!(ints.len(), some.len() * width);
            replies.extend(ints.chunks(width).map(<[i64]>::to_vec));
        }
        replies
    }

    pub(crate) fn ask_at(&mut self, now: u64) -> Vec<i64> {
        self.ask(&[now]).remove(0)
    }

    /// Gives back one unit of each dimension, named by its group's stamp; says how many groups were still
    /// there.
    fn give_back(&mut self, stamps: &[u64]) -> usize {
        let script = redis::Script::new(&[LUA_LIB, include_str!("../../src/lua/refund_main.lua")].concat());
        let mut call = script.prepare_invoke();
        for (i, stamp) in stamps.iter().enumerate() {
            call.key(self.state_key(i)).arg(stamp);
        }
        let stepped = &mut *self.stepped;
        stepped.runtime.block_on(call.invoke_async(&mut stepped.connection)).expect("a reply")
    }

    /// Tells the script when the deployment was created.
    pub(crate) fn deployment_created(&mut self, ms: u64) {
        self.created_ms = ms;
    }

    pub(crate) fn born_at(&mut self, ms: u64) {
        self.redis(redis::cmd("SET").arg(format!("{}:born", self.region)).arg(ms));
    }

    pub(crate) fn forget_birth(&mut self) {
        self.redis(redis::cmd("DEL").arg(format!("{}:born", self.region)));
    }

    pub(crate) fn write_state(&mut self, bytes: &[u8]) {
        let key = self.state_key(0);
        self.redis(redis::cmd("SET").arg(key).arg(bytes));
    }

    pub(crate) fn state_bytes(&mut self) -> Vec<u8> {
        let mut get = redis::cmd("GET");
        get.arg(self.state_key(0));
        let stepped = &mut *self.stepped;
        stepped.runtime.block_on(get.query_async(&mut stepped.connection)).expect("GET")
    }

    fn state_key(&self, i: usize) -> String {
        format!("{}:{i}", self.region)
    }

    fn redis(&mut self, cmd: &redis::Cmd) {
        self.stepped.runtime.block_on(cmd.exec_async(&mut self.stepped.connection)).expect("redis does it");
    }
}

/// What `limiter.lua` is to do, told in Rust.
struct Model {
    born: Option<u64>,
    sketches: Vec<SlidingWindow>,
    limits: Vec<Limits>,
}

impl Model {
    fn new(limits: &[Limits]) -> Self {
        Self { born: None, sketches: vec![SlidingWindow::default(); limits.len()], limits: limits.to_vec() }
    }

    fn ask_at(&mut self, now: u64) -> Vec<i64> {
        let mut lost = false;
        for sliding_window in &mut self.sketches {
            if sliding_window.newest().is_some_and(|newest| newest > now + 60_000) {
                (*sliding_window, lost) = (SlidingWindow::default(), true);
            }
            sliding_window.expire(now);
        }
        let made = self.born.is_none();
        lost |= self.born.is_some_and(|born| born > now + 60_000);
        let born = self.born.filter(|_| !lost).unwrap_or(now);
        self.born = Some(born);
        let rise = (now < born + COLD_MS).then_some(born + COLD_MS);

        let in_force = |(full, cold): &Limits| if rise.is_some() { *cold } else { *full };
        let limits: Vec<u32> = self.limits.iter().map(in_force).collect();
        let allows: Vec<bool> =
            self.sketches.iter().zip(&limits).map(|(s, limit)| s.total() < *limit).collect();
        let allowed = allows.iter().all(|allows| *allows);
        let mut retry_after = 0;
        let mut dimensions = Vec::new();
        for (i, sliding_window) in self.sketches.iter_mut().enumerate() {
            let stamp = if allowed { sliding_window.count(now) } else { 0 };
            let grows = reset_after(sliding_window, now, limits[i], rise.map(|at| (at, self.limits[i].0)));
            if !allows[i] {
                retry_after = retry_after.max(grows);
            }
            let remaining = limits[i].saturating_sub(sliding_window.total());
            dimensions.extend([u64::from(allows[i]), limits[i].into(), remaining.into(), grows, stamp]);
        }
        let flags = u64::from(rise.is_some()) + 2 * u64::from(made) + 4 * u64::from(lost);
        let head = [u64::from(allowed), retry_after, born, now, flags, limits.len() as u64];
        head.into_iter().chain(dimensions).map(|int| i64::try_from(int).expect("a small number")).collect()
    }
}

/// Looks at every instant at which anything can change, and takes the first at which more remains.
fn reset_after(sliding_window: &SlidingWindow, now: u64, limit: u32, rise: Option<(u64, u32)>) -> u64 {
    let remaining = limit.saturating_sub(sliding_window.total());
    let leavings = (1..=i64::from(sliding_window.total())).filter_map(|units| sliding_window.left_at(units));
    let mut instants: Vec<u64> = leavings.chain(rise.map(|(at, _)| at)).collect();
    instants.sort_unstable();
    let more_remains = |at: &u64| {
        let mut later = sliding_window.clone();
        later.expire(*at);
        let limit = rise.filter(|(rises_at, _)| at >= rises_at).map_or(limit, |(_, full)| full);
        limit.saturating_sub(later.total()) > remaining
    };
    instants.into_iter().find(more_remains).map_or(0, |at| at - now)
}

fn limits() -> impl Strategy<Value = Vec<Limits>> {
    prop::collection::vec((1u32..40).prop_flat_map(|full| (Just(full), 1..=full)), 1..4)
}

/// Milliseconds to go forward, or back, from one request to the next.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => 0i64..40,
        12 => 0i64..2_500,
        4 => 0i64..70_000,
        2 => -60_000i64..0,
        1 => -200_000i64..400_000,
    ]
}

#[test]
fn script_and_model_reply_the_same_integers_whatever_the_clock_does() {
    let mut stepped = Stepped::new();
    let cases = (limits(), prop::collection::vec(step(), 1..400));
    let stepped = std::cell::RefCell::new(&mut stepped);
    TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() })
        .run(&cases, |(limits, steps)| {
            let mut stepped = stepped.borrow_mut();
            let mut now = 1_771_243_200_000_i64;
            let mut instants = Vec::new();
            for step in steps {
                now += step;
                instants.push(u64::try_from(now).expect("after 1970"));
            }
            let mut model = Model::new(&limits);
            let replies = stepped.newcomer(&limits).ask(&instants);
            for (at, reply) in instants.iter().zip(replies) {
                prop_assert_eq!(reply, model.ask_at(*at), "at {}", at);
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn refunds_leave_script_and_model_in_the_same_state_whichever_group_they_are_of() {
    let mut stepped = Stepped::new();
    let stepped = std::cell::RefCell::new(&mut stepped);
    // A step forward, and which of the tickets in hand to give back before it, if any.
    let steps = prop::collection::vec(
        (0u64..4_000, prop::option::weighted(0.4, any::<prop::sample::Index>())),
        1..80,
    );
    TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() })
        .run(&(limits(), steps), |(limits, steps)| {
            let mut stepped = stepped.borrow_mut();
            let mut caller = stepped.newcomer(&limits);
            let mut model = Model::new(&limits);
            let mut tickets: Vec<Vec<u64>> = Vec::new();
            let mut now = 1_771_243_200_000;
            for (step, given_back) in steps {
                now += step;
                if let Some(which) = given_back.filter(|_| !tickets.is_empty()) {
                    let stamps = tickets.swap_remove(which.index(tickets.len()));
                    let pairs = model.sketches.iter_mut().zip(&stamps);
                    let held = pairs
                        .map(|(sliding_window, stamp)| usize::from(sliding_window.give_back(*stamp)))
                        .sum::<usize>();
                    prop_assert_eq!(caller.give_back(&stamps), held);
                }
                let reply = caller.ask_at(now);
                prop_assert_eq!(&reply, &model.ask_at(now), "at {}", now);
                if reply[0] == 1 {
                    let stamps = reply[6..].chunks(5).map(|ints| u64::try_from(ints[4]).expect("a stamp"));
                    tickets.push(stamps.collect());
                }
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

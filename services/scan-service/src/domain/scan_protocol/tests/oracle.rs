//! Property test: counts and frequencies equal those of an oracle that stores every scan.

use catalog::{REVOKED_FLAG, TagState};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use test_support::RedisServer;

use super::{START, scan, scan_at};

/// The script counts recent scans exactly up to this number. The risk factors need no more.
const MOST: usize = 5;

/// How far the clock may step back, in ms, before its earlier readings are dropped.
const AHEAD: u64 = 60_000;

/// All scans of one tag.
#[derive(Debug, Default)]
struct Oracle {
    revoked: bool,
    count: u32,
    first: u64,
    /// The times of the scans that are still known.
    at: Vec<u64>,
}

impl Oracle {
    fn scan(&mut self, now: u64) -> (u32, u64, usize, usize, u8) {
        let mut now = now;
        match self.at.last() {
            Some(last) if *last > now + AHEAD && *last > now.max(START) + AHEAD => {
                now = now.max(START);
                self.at.clear();
                self.first = self.first.min(now);
            }
            Some(last) => now = now.max(*last),
            None => {
                now = now.max(START);
                self.first = now;
            }
        }
        self.at.push(now);
        self.count += 1;
        let within = |ms: u64| self.at.iter().filter(|&&at| now - at < ms).count().min(MOST);
        (self.count, self.first, within(30_000), within(60_000), u8::from(self.revoked))
    }
}

/// Steps of the clock between scans, in ms: bursts, the limits of both windows and of 16 bits, long pauses,
/// and steps back.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0_i64..3_000,
        3 => 5_000_i64..35_000,
        2 => prop::sample::select(vec![
            29_999, 30_000, 30_001, 59_999, 60_000, 60_001, 65_534, 65_535, 65_536, 15_000, 20_000,
        ]),
        1 => 60_000_i64..10_000_000,
        1 => -100_000_i64..0,
    ]
}

#[test]
fn counts_and_frequencies_equal_those_of_an_oracle_that_stores_every_scan() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(RedisServer::start());
    let connection = runtime.block_on(redis.connection());
    let script = scan_at();
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let cases = (prop::collection::vec(step(), 1..40), prop::option::of(0_usize..40));
    let outcome = runner.run(&cases, |(steps, revoked_before)| {
        let mut connection = connection.clone();
        runtime.block_on(async {
            let () = redis::cmd("DEL").arg("tag").query_async(&mut connection).await.unwrap();
            let mut oracle = Oracle::default();
            let mut now = START;
            for (number, step) in steps.into_iter().enumerate() {
                if revoked_before == Some(number) {
                    oracle.revoked = true;
                    let mut revoke = redis::cmd("SETRANGE");
                    let () = revoke
                        .arg("tag")
                        .arg(0)
                        .arg(&[REVOKED_FLAG][..])
                        .query_async(&mut connection)
                        .await
                        .unwrap();
                }
                now = now.saturating_add_signed(step);
                let (state, count, first, in_30, in_60, revoked) =
                    scan(&mut connection, &script, "tag", now).await;
                let expected = oracle.scan(now);
                prop_assert_eq!((count, first, in_30, in_60, revoked), expected);
                let stored = TagState::parse(Some(&state)).unwrap();
                let times = Some((oracle.first, *oracle.at.last().unwrap()));
                let read = TagState { revoked: oracle.revoked, scan_count: expected.0, scanned_at: times };
                prop_assert_eq!(stored, read);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

//! The Lua that counts a scan, against an oracle that keeps every scan and packs nothing.

use catalog::{Batch, REVOKED_FLAG, Record, SCAN_LUA, TagState};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Script;
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

use crate::support::{batch, product};

/// KEYS 1 state · ARGV 1 now (ms): time is the caller's, so that a test can turn it · 2 batch record · 3 whether it counts, '1' or '0' ·
/// 4 the caller's mark of today · 5 of yesterday · 6 the tag's revocation ('' for none)
const SCAN_AT: &str = "
local state, count, first_at, in_30, in_60, bits = tag_scan(tonumber(ARGV[1]), redis.call('GET', KEYS[1]),
  ARGV[6] ~= '' and ARGV[6], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5])
if state then redis.call('SET', KEYS[1], state) end
return { state or '', count, first_at, in_30, in_60, bits }";

/// KEYS 1 batch record · 2 tag state · 3 revocation · 4 numbers of minted batches
const JUDGED: &str = "
local found = redis.call('MGET', unpack(KEYS))
local status, readable = scan_judge(found[1], found[2], found[3], 3, 9, KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return { status, readable and 1 or 0 }";

/// ARGV 1 batch record ('' for none) · 2 epoch · 3 index · 4 revision the caller holds · 5 deployment record · 6 beginning expected
const OTHERS: &str = "
local record = ARGV[1] ~= '' and ARGV[1]
return {
  batch_holds(record, tonumber(ARGV[2]), tonumber(ARGV[3])) and 1 or 0,
  record and record_if_changed(record, tonumber(ARGV[4])) or '',
  is_deployment(ARGV[5] ~= '' and ARGV[5], ARGV[6]) and 1 or 0,
}";

/// The callers of these tests: today's mark and yesterday's.
const ME: [&str; 2] = ["aaaaa", "bbbbb"];
const OTHER: [&str; 2] = ["ccccc", "ddddd"];

/// When the batch of these tests was minted: the time in its id.
const START: u64 = 1_771_243_200_000;
/// What the risk factors look at; the script is exact up to here.
const MOST: usize = 5;

type Reply = (Vec<u8>, u32, u64, usize, usize, u8);

/// How far a clock may go back and its earlier readings still count.
const AHEAD: u64 = 60_000;

/// Every scan of one tag, in full.
#[derive(Debug, Default)]
struct Oracle {
    revoked: bool,
    count: u32,
    first: u64,
    /// When each was, as far as that is known.
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

async fn scan(link: &mut MultiplexedConnection, script: &Script, key: &str, now: u64) -> Reply {
    look(link, script, key, now, (true, ME, "")).await
}

async fn look(
    link: &mut MultiplexedConnection,
    script: &Script,
    key: &str,
    now: u64,
    (counts, [today, yesterday], revocation): (bool, [&str; 2], &str),
) -> Reply {
    let mut call = script.key(key);
    call.arg(now).arg(batch(7).encode(1)).arg(u8::from(counts)).arg(today).arg(yesterday).arg(revocation);
    call.invoke_async(link).await.unwrap()
}

fn scan_at() -> Script {
    Script::new(&[SCAN_LUA, SCAN_AT].concat())
}

/// Steps of the clock between scans: bursts, the edges of both windows and of 16 bits, long pauses, and steps back.
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
fn counts_and_frequencies_are_those_of_an_oracle_that_forgets_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(RedisServer::start());
    let link = runtime.block_on(redis.connection());
    let script = scan_at();
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let cases = (prop::collection::vec(step(), 1..40), prop::option::of(0_usize..40));
    let outcome = runner.run(&cases, |(steps, revoked_before)| {
        let mut link = link.clone();
        runtime.block_on(async {
            let () = redis::cmd("DEL").arg("tag").query_async(&mut link).await.unwrap();
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
                        .query_async(&mut link)
                        .await
                        .unwrap();
                }
                now = now.saturating_add_signed(step);
                let (state, count, first, in_30, in_60, revoked) = scan(&mut link, &script, "tag", now).await;
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

#[tokio::test]
async fn the_windows_end_where_the_contract_says() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    for (later, in_30, in_60) in
        [(29_999, 2, 2), (30_000, 1, 2), (59_999, 1, 2), (60_000, 1, 1), (1_000_000_000, 1, 1)]
    {
        let key = format!("tag:{later}");
        let first = scan(&mut link, &script, &key, START).await;
        assert_eq!((first.1, first.2, first.3, first.4), (1, START, 1, 1));
        let second = scan(&mut link, &script, &key, START + later).await;
        assert_eq!((second.1, second.2, second.3, second.4), (2, START, in_30, in_60), "{later} ms later");
    }
}

#[tokio::test]
async fn a_count_at_its_end_stays_there() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    let (state, ..) = scan(&mut link, &script, "tag", START).await;
    let mut full = state;
    full[1..5].copy_from_slice(&(u32::MAX - 1).to_be_bytes());
    let () = redis::cmd("SET").arg("tag").arg(full).query_async(&mut link).await.unwrap();
    for _ in 0..2 {
        let (state, count, ..) = scan(&mut link, &script, "tag", START).await;
        assert_eq!((count, state.len()), (u32::MAX, 28));
    }
}

#[tokio::test]
async fn a_flag_that_is_not_known_yet_is_kept() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    let () = redis::cmd("SET").arg("tag").arg(&[0b110_u8][..]).query_async(&mut link).await.unwrap();
    for _ in 0..2 {
        let (state, _, _, _, _, revoked) = scan(&mut link, &script, "tag", START).await;
        assert_eq!((state[0], revoked), (0b110, 0));
    }
}

async fn others(
    link: &mut MultiplexedConnection,
    batch: Option<(&Batch, u32)>,
    (epoch, index, held): (u16, u32, i64),
    (record, expected): (&str, &str),
) -> (bool, Vec<u8>, bool) {
    let script = Script::new(&[SCAN_LUA, OTHERS].concat());
    let bytes = batch.map_or_else(Vec::new, |(batch, revision)| batch.encode(revision));
    let mut call = script.prepare_invoke();
    call.arg(bytes).arg(epoch).arg(index).arg(held).arg(record).arg(expected);
    let (holds, sent, same): (u8, Vec<u8>, u8) = call.invoke_async(link).await.unwrap();
    (holds == 1, sent, same == 1)
}

#[tokio::test]
async fn a_batch_holds_what_the_record_says_for_lua_and_rust_alike() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    for size in [1, 10, 1 << 24] {
        let batch = Batch { size, ..batch(7) };
        for epoch in [2, 3] {
            for index in [0, 1, 9, 10, (1 << 24) - 1] {
                let (holds, ..) = others(&mut link, Some((&batch, 1)), (epoch, index, -1), ("", "x")).await;
                let same = batch.holds(crate::support::epoch(epoch), tag_id::TagIndex::new(index).unwrap());
                assert_eq!(holds, same, "size {size}, epoch {epoch}, index {index}");
            }
        }
    }
    assert!(!others(&mut link, None, (3, 0, -1), ("", "x")).await.0);
}

const MINTED: (u8, u8) = (0, 1);
const NOT_MINTED: (u8, u8) = (2, 0);
const LOST: (u8, u8) = (6, 0);
/// Revoked by its record, whatever became of its state.
const REVOKED: (u8, u8) = (0, 0);

/// What a key holds.
#[derive(Debug, Clone, Copy)]
enum Held<'a> {
    Nothing,
    Text(&'a [u8]),
    AList,
}
use Held::{AList, Nothing, Text};

async fn hold(link: &mut MultiplexedConnection, key: &str, held: Held<'_>) {
    let () = redis::cmd("DEL").arg(key).query_async(link).await.unwrap();
    let () = match held {
        Nothing => return,
        Text(bytes) => redis::cmd("SET").arg(key).arg(bytes).query_async(link).await.unwrap(),
        AList => redis::cmd("RPUSH").arg(key).arg("x").query_async(link).await.unwrap(),
    };
}

#[tokio::test]
async fn what_is_lost_is_told_from_what_was_never_minted() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    let script = Script::new(&[SCAN_LUA, JUDGED].concat());
    // Index 9 of epoch 3 is asked for.
    let (held, elsewhere) = (batch(7).encode(1), Batch { size: 9, ..batch(7) }.encode(1));
    let (held, elsewhere, large) = (Text(&held), Text(&elsewhere), vec![b'x'; 1 << 20]);
    let minted = [0, 0, 0, 10, 0, 3];
    let (minted, smaller, other_epoch) =
        (Text(&minted), Text(&[0, 0, 0, 9, 0, 3]), Text(&[0, 0, 0, 10, 0, 2]));
    let state = Text(&[0; 28]);
    for (batch, state, revocation, numbers, expected) in [
        (held, Nothing, Nothing, minted, MINTED),
        (held, Nothing, Nothing, Nothing, MINTED),
        (held, Text(&[1]), Nothing, minted, MINTED),
        (held, Text(&[0; 23]), Nothing, minted, MINTED),
        (held, state, Nothing, minted, MINTED),
        (elsewhere, state, Nothing, smaller, NOT_MINTED),
        (elsewhere, state, Nothing, Nothing, NOT_MINTED),
        // The batch's record is gone, of another type, or damaged.
        (Nothing, state, Nothing, Nothing, NOT_MINTED),
        (Nothing, state, Nothing, smaller, NOT_MINTED),
        (Nothing, state, Nothing, other_epoch, NOT_MINTED),
        (Nothing, state, Nothing, minted, LOST),
        (AList, state, Nothing, minted, LOST),
        (AList, state, Nothing, Nothing, LOST),
        (AList, state, Nothing, smaller, NOT_MINTED),
        (Text(b""), state, Nothing, minted, LOST),
        (Text(b"x"), state, Nothing, minted, LOST),
        (Text(b"x"), state, Nothing, Nothing, LOST),
        (Text(b"123456789"), state, Nothing, smaller, NOT_MINTED),
        (Text(&large), state, Nothing, minted, LOST),
        (Text(&large), state, Nothing, Nothing, LOST),
        (elsewhere, state, Nothing, minted, LOST),
        // So is what would tell.
        (Nothing, state, Nothing, Text(b"x"), LOST),
        // The tag's own state.
        (held, Text(b""), Nothing, minted, LOST),
        (held, Text(&[0; 2]), Nothing, minted, LOST),
        (held, Text(&[0; 24]), Nothing, minted, LOST),
        (held, Text(&large), Nothing, minted, LOST),
        (held, AList, Nothing, minted, LOST),
        // Its revocation.
        (held, Nothing, Text(b"{}"), minted, MINTED),
        (held, state, Text(b""), minted, MINTED),
        (held, Nothing, AList, minted, LOST),
        (held, AList, Text(b"{}"), minted, REVOKED),
        (held, Text(&[0; 2]), Text(b"{}"), minted, REVOKED),
    ] {
        hold(&mut link, "b:7", batch).await;
        hold(&mut link, "t", state).await;
        hold(&mut link, "tr", revocation).await;
        let () = redis::cmd("DEL").arg("bn").query_async(&mut link).await.unwrap();
        if let Text(numbers) = numbers {
            let () = redis::cmd("HSET").arg("bn").arg("7").arg(numbers).query_async(&mut link).await.unwrap();
        }
        let mut call = script.prepare_invoke();
        let judged: (u8, u8) =
            call.key("b:7").key("t").key("tr").key("bn").invoke_async(&mut link).await.unwrap();
        let case = format!("{batch:.40?} {state:.40?} {revocation:?} {numbers:?}");
        assert_eq!(judged, expected, "{case}");
    }
    hold(&mut link, "b:7", Nothing).await;
    hold(&mut link, "bn", AList).await;
    let mut call = script.prepare_invoke();
    let judged: (u8, u8) =
        call.key("b:7").key("t").key("tr").key("bn").invoke_async(&mut link).await.unwrap();
    assert_eq!(judged, LOST, "nobody can tell");
}

#[tokio::test]
async fn no_time_from_before_the_mint_is_stored() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    // Redis's clock is back in 1970 when the tag is first scanned, and again after a scan at the right time.
    let (_, _, first, in_30, ..) = scan(&mut link, &script, "fresh", 5_000).await;
    assert_eq!((first, in_30), (START, 1));
    let (_, _, first, ..) = scan(&mut link, &script, "fresh", 6_000).await;
    assert_eq!(first, START);
    let day_after = START + 86_400_000;
    let (_, _, first, ..) = scan(&mut link, &script, "known", day_after).await;
    assert_eq!(first, day_after);
    let (state, count, first, in_30, in_60, _) = scan(&mut link, &script, "known", 5_000).await;
    assert_eq!((count, first, in_30, in_60), (2, START, 1, 1), "never from before the mint");
    assert_eq!(TagState::parse(Some(&state)).unwrap().scanned_at, Some((START, START)));
    let (_, count, first, in_30, ..) = scan(&mut link, &script, "known", day_after + 1_000).await;
    assert_eq!((count, first, in_30), (3, START, 1), "the clock is mended");
}

#[tokio::test]
async fn a_revocation_is_decided_by_its_record_and_mends_the_flag() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    let (state, .., bits) = look(&mut link, &script, "tag", START, (true, ME, "{}")).await;
    assert_eq!((bits, state[0]), (1, 1));
    let (state, .., bits) = look(&mut link, &script, "tag", START, (true, ME, "")).await;
    assert_eq!((bits, state[0]), (1, 1), "a flag without the record counts too");
}

#[tokio::test]
async fn a_look_that_does_not_count_changes_nothing() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    let machine = (false, OTHER, "");
    let (state, count, first, in_30, in_60, bits) = look(&mut link, &script, "tag", START, machine).await;
    assert_eq!((state.len(), count, first, in_30, in_60, bits), (0, 0, 0, 0, 0, 0), "never scanned");
    let (before, ..) = scan(&mut link, &script, "tag", START).await;
    let (state, count, first, in_30, in_60, bits) =
        look(&mut link, &script, "tag", START + 40_000, machine).await;
    assert_eq!((state.len(), count, first, in_30, in_60, bits), (0, 1, START, 0, 1, 2));
    let stored: Vec<u8> = redis::cmd("GET").arg("tag").query_async(&mut link).await.unwrap();
    assert_eq!(stored, before);
    let (_, count, .., bits) = scan(&mut link, &script, "tag", START + 41_000).await;
    assert_eq!((count, bits), (2, 0), "the caller is still the only one");
}

#[tokio::test]
async fn a_caller_is_recognised_today_and_tomorrow_and_another_is_never_forgotten() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    let mut others = async |key: &str, marks: [&str; 2]| {
        look(&mut link, &script, key, START, (true, marks, "")).await.5 & 2 != 0
    };
    assert!(!others("tag", ME).await, "the first scan");
    assert!(!others("tag", ME).await, "a reload");
    assert!(!others("tag", ["eeeee", ME[0]]).await, "a reload after midnight");
    assert!(!others("tag", ["fffff", "eeeee"]).await, "and after the next one");
    assert!(others("tag", OTHER).await);
    assert!(others("tag", ["fffff", "eeeee"]).await, "the first caller learns of the second");
    assert!(!others("another", ME).await);
    assert!(others("another", ["ggggg", "hhhhh"]).await, "two days later nobody is recognised");
    // As it was stored before callers were recognised: whoever scanned is not known.
    let mut old = vec![0];
    old.extend(7_u32.to_be_bytes());
    old.extend(&START.to_be_bytes()[2..]);
    old.extend(&START.to_be_bytes()[2..]);
    old.extend([0xff; 6]);
    let () = redis::cmd("SET").arg("old").arg(&old).query_async(&mut redis.connection().await).await.unwrap();
    let (state, count, first, .., bits) = scan(&mut link, &script, "old", START + 1).await;
    assert_eq!((state.len(), count, first, bits), (28, 8, START, 2));
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_once_spoils_no_later_scan() {
    let redis = RedisServer::start().await;
    let (mut link, script) = (redis.connection().await, scan_at());
    const DAY: u64 = 86_400_000;
    let (_, _, first, ..) = scan(&mut link, &script, "tag", START + DAY).await;
    assert_eq!(first, START + DAY);
    for hour in 0..5 {
        let (_, count, first, in_30, in_60, _) =
            scan(&mut link, &script, "tag", START + hour * 3_600_000).await;
        assert_eq!(
            (u64::from(count), first, in_30, in_60),
            (hour + 2, START, 1, 1),
            "one scan an hour is no burst"
        );
    }
}

#[tokio::test]
async fn a_record_is_sent_unless_the_caller_holds_that_revision() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    let (batch, latest) = (batch(7), u32::MAX);
    let bytes = batch.encode(latest);
    for (held, sent) in [(-1, true), (i64::from(latest), false), (i64::from(latest) - 1, true), (0, true)] {
        let (_, record, _) = others(&mut link, Some((&batch, latest)), (3, 0, held), ("", "x")).await;
        assert_eq!(record, if sent { bytes.clone() } else { Vec::new() }, "{held}");
    }
    assert!(others(&mut link, None, (3, 0, -1), ("", "x")).await.1.is_empty());
    assert!(product(1).encode(9).starts_with(&[0, 0, 0, 9]), "a product's revision stands in the same place");
}

#[tokio::test]
async fn a_deployment_is_known_by_the_beginning_of_its_record() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    for (record, same) in [
        ("{\"id\":\"ab\",\"x\":1}", true),
        ("{\"id\":\"ab\"", true),
        ("{\"id\":\"abc\"}", false),
        ("{\"id\":\"a", false),
        ("", false),
        (" {\"id\":\"ab\"}", false),
    ] {
        assert_eq!(others(&mut link, None, (3, 0, -1), (record, "{\"id\":\"ab\"")).await.2, same, "{record}");
    }
}

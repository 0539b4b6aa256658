//! Counts of one tag: windows, clocks, callers, and requests that do not count.

use catalog::TagState;
use test_support::RedisServer;

use super::{ME, OTHER, START, scan, scan_as, scan_at};

#[tokio::test]
async fn the_windows_are_30_and_60_seconds() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    for (later, in_30, in_60) in
        [(29_999, 2, 2), (30_000, 1, 2), (59_999, 1, 2), (60_000, 1, 1), (1_000_000_000, 1, 1)]
    {
        let key = format!("tag:{later}");
        let first = scan(&mut connection, &script, &key, START).await;
        assert_eq!((first.1, first.2, first.3, first.4), (1, START, 1, 1));
        let second = scan(&mut connection, &script, &key, START + later).await;
        assert_eq!((second.1, second.2, second.3, second.4), (2, START, in_30, in_60), "{later} ms later");
    }
}

#[tokio::test]
async fn a_count_at_its_maximum_stays_there() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    let (state, ..) = scan(&mut connection, &script, "tag", START).await;
    let mut full = state;
    full[1..5].copy_from_slice(&(u32::MAX - 1).to_be_bytes());
    let () = redis::cmd("SET").arg("tag").arg(full).query_async(&mut connection).await.unwrap();
    for _ in 0..2 {
        let (state, count, ..) = scan(&mut connection, &script, "tag", START).await;
        assert_eq!((count, state.len()), (u32::MAX, 28));
    }
}

#[tokio::test]
async fn unknown_flags_are_kept() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    let () = redis::cmd("SET").arg("tag").arg(&[0b110_u8][..]).query_async(&mut connection).await.unwrap();
    for _ in 0..2 {
        let (state, _, _, _, _, revoked) = scan(&mut connection, &script, "tag", START).await;
        assert_eq!((state[0], revoked), (0b110, 0));
    }
}

#[tokio::test]
async fn no_time_before_the_mint_is_stored() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    // Redis's clock is back in 1970 when the tag is first scanned, and again after a scan at the right time.
    let (_, _, first, in_30, ..) = scan(&mut connection, &script, "fresh", 5_000).await;
    assert_eq!((first, in_30), (START, 1));
    let (_, _, first, ..) = scan(&mut connection, &script, "fresh", 6_000).await;
    assert_eq!(first, START);
    let day_after = START + 86_400_000;
    let (_, _, first, ..) = scan(&mut connection, &script, "known", day_after).await;
    assert_eq!(first, day_after);
    let (state, count, first, in_30, in_60, _) = scan(&mut connection, &script, "known", 5_000).await;
    assert_eq!((count, first, in_30, in_60), (2, START, 1, 1), "never before the mint");
    assert_eq!(TagState::parse(Some(&state)).unwrap().scanned_at, Some((START, START)));
    let (_, count, first, in_30, ..) = scan(&mut connection, &script, "known", day_after + 1_000).await;
    assert_eq!((count, first, in_30), (3, START, 1), "the clock is correct again");
}

#[tokio::test]
async fn the_revocation_record_decides_and_repairs_the_flag() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    let (state, .., bits) = scan_as(&mut connection, &script, "tag", START, (true, ME, "{}")).await;
    assert_eq!((bits, state[0]), (1, 1));
    let (state, .., bits) = scan_as(&mut connection, &script, "tag", START, (true, ME, "")).await;
    assert_eq!((bits, state[0]), (1, 1), "a flag without the record counts too");
}

#[tokio::test]
async fn a_request_that_does_not_count_changes_nothing() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    let machine = (false, OTHER, "");
    let (state, count, first, in_30, in_60, bits) =
        scan_as(&mut connection, &script, "tag", START, machine).await;
    assert_eq!((state.len(), count, first, in_30, in_60, bits), (0, 0, 0, 0, 0, 0), "never scanned");
    let (before, ..) = scan(&mut connection, &script, "tag", START).await;
    let (state, count, first, in_30, in_60, bits) =
        scan_as(&mut connection, &script, "tag", START + 40_000, machine).await;
    assert_eq!((state.len(), count, first, in_30, in_60, bits), (0, 1, START, 0, 1, 2));
    let stored: Vec<u8> = redis::cmd("GET").arg("tag").query_async(&mut connection).await.unwrap();
    assert_eq!(stored, before);
    let (_, count, .., bits) = scan(&mut connection, &script, "tag", START + 41_000).await;
    assert_eq!((count, bits), (2, 0), "the caller is still the only one");
}

#[tokio::test]
async fn a_caller_is_recognised_for_two_days_and_another_caller_is_never_forgotten() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    let mut others = async |key: &str, marks: [&str; 2]| {
        scan_as(&mut connection, &script, key, START, (true, marks, "")).await.5 & 2 != 0
    };
    assert!(!others("tag", ME).await, "the first scan");
    assert!(!others("tag", ME).await, "a reload");
    assert!(!others("tag", ["eeeee", ME[0]]).await, "a reload after midnight");
    assert!(!others("tag", ["fffff", "eeeee"]).await, "a reload after the next midnight");
    assert!(others("tag", OTHER).await);
    assert!(others("tag", ["fffff", "eeeee"]).await, "the first caller sees the second");
    assert!(!others("another", ME).await);
    assert!(others("another", ["ggggg", "hhhhh"]).await, "after two days the caller is not recognised");
    // The state of an earlier version, without the mark of a caller.
    let mut old = vec![0];
    old.extend(7_u32.to_be_bytes());
    old.extend(&START.to_be_bytes()[2..]);
    old.extend(&START.to_be_bytes()[2..]);
    old.extend([0xff; 6]);
    let () = redis::cmd("SET").arg("old").arg(&old).query_async(&mut redis.connection().await).await.unwrap();
    let (state, count, first, .., bits) = scan(&mut connection, &script, "old", START + 1).await;
    assert_eq!((state.len(), count, first, bits), (28, 8, START, 2));
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_does_not_affect_later_scans() {
    let redis = RedisServer::start().await;
    let (mut connection, script) = (redis.connection().await, scan_at());
    const DAY: u64 = 86_400_000;
    let (_, _, first, ..) = scan(&mut connection, &script, "tag", START + DAY).await;
    assert_eq!(first, START + DAY);
    for hour in 0..5 {
        let (_, count, first, in_30, in_60, _) =
            scan(&mut connection, &script, "tag", START + hour * 3_600_000).await;
        assert_eq!(
            (u64::from(count), first, in_30, in_60),
            (hour + 2, START, 1, 1),
            "one scan per hour is not rapid"
        );
    }
}

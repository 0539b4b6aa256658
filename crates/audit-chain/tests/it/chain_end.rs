//! A chain that does not end as its head says is refused for appending, at any size, and nothing is written
//! to it. Entries before its end can still be read, and appending resumes once it is repaired.

use crate::support::{ORIGIN, appender, event};
use audit_chain::{
    AppendError, Appender, Effect, EndFault, Event, Hash, Head, ReadError, StateLoss, entry_hash,
    genesis_prev, keys, payload_hash,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

/// Sizes around the ends of segments, and the empty chain.
pub(crate) const SIZES: [u64; 7] = [0, 1, 4095, 4096, 4097, 8192, 12_288];

/// Writes a chain of `size` entries with the same payload, and returns its head.
pub(crate) async fn write_chain(direct: &mut MultiplexedConnection, size: u64) -> Head {
    redis::cmd("FLUSHALL").query_async::<()>(direct).await.unwrap();
    let payload = event("tag/written").payload().to_vec();
    let mut head = Head { size: 0, hash: genesis_prev(ORIGIN) };
    let mut entries = redis::pipe();
    for seq in 0..size {
        head = Head { size: seq + 1, hash: entry_hash(seq, &head.hash, &payload_hash(&payload)) };
        entries.rpush(keys::segment_of(seq), element(&head.hash, &payload)).ignore();
    }
    if size > 0 {
        entries.query_async::<()>(direct).await.unwrap();
        set_head(direct, head.size, &head.hash).await;
    }
    head
}

fn element(hash: &Hash, payload: &[u8]) -> Vec<u8> {
    [hash.as_bytes(), payload].concat()
}

pub(crate) async fn set_head(direct: &mut MultiplexedConnection, size: u64, hash: &Hash) {
    let head = [&size.to_be_bytes()[..], hash.as_bytes()].concat();
    direct.set::<_, _, ()>(keys::HEAD, head).await.unwrap();
}

/// The segment of the last entry and the next one.
pub(crate) fn end_segments(size: u64) -> Vec<u64> {
    let following = size.div_ceil(keys::SEGMENT_ENTRIES);
    following.checked_sub(1).into_iter().chain([following]).collect()
}

/// What is stored: the head, and the type and length of every key.
pub(crate) async fn stored(direct: &mut MultiplexedConnection) -> (Option<Vec<u8>>, Vec<String>) {
    let head: Option<Vec<u8>> = direct.get(keys::HEAD).await.unwrap();
    let mut all: Vec<String> = direct.keys("vt1:*").await.unwrap();
    all.sort();
    let mut shown = Vec::new();
    for key in all {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(direct).await.unwrap();
        let length: u64 = if kind == "list" { direct.llen(&key).await.unwrap() } else { 0 };
        shown.push(format!("{key} {kind} {length}"));
    }
    (head, shown)
}

/// Asserts that a new process, and one that has seen the sound chain, report `fault` to readers and writers,
/// and that neither writes.
async fn assert_fault(redis: &RedisServer, has_seen: &Appender, size: u64, fault: EndFault) {
    let mut direct = redis.connection().await;
    let before = stored(&mut direct).await;
    let new = appender(&redis.url());
    for appender in [&new, has_seen] {
        let end = appender.log().end().await.unwrap();
        assert_eq!((end.fault, end.head.size), (Some(fault), size), "of {size} entries");
        for _ in 0..2 {
            let rejected = appender.append(&event("tag/1"), Effect::none()).await;
            let Err(AppendError::EndFault(found)) = rejected else { panic!("{fault:?}: {rejected:?}") };
            assert_eq!(found, fault, "of {size} entries");
        }
        assert_eq!(stored(&mut direct).await, before, "{fault:?} of {size} entries");
    }
}

async fn assert_resumes(appenders: &[&Appender], size: u64) {
    for (seq, appender) in (size..).zip(appenders) {
        assert_eq!(appender.log().end().await.unwrap().fault, None);
        assert_eq!(appender.append(&event("tag/1"), Effect::none()).await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn entries_after_the_head_are_found_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES {
        for segment in end_segments(size) {
            write_chain(&mut direct, size).await;
            let has_seen = appender(&redis.url());
            has_seen.log().head().await.unwrap();
            for entries in 1..=2 {
                direct.rpush::<_, _, ()>(keys::segment(segment), "half a write").await.unwrap();
                assert_fault(&redis, &has_seen, size, EndFault::Surplus { entries }).await;
                let report = has_seen.log().verify(0..u64::MAX).await.unwrap();
                assert_eq!((report.ok, report.first_error.unwrap().seq), (false, size), "{report:?}");
            }
            redis::cmd("RPOP")
                .arg(keys::segment(segment))
                .arg(2)
                .query_async::<()>(&mut direct)
                .await
                .unwrap();
            assert_resumes(&[&has_seen, &appender(&redis.url())], size).await;
        }
    }
}

#[tokio::test]
async fn a_lost_or_short_last_segment_is_found_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES.into_iter().skip(1) {
        let number = (size - 1) / keys::SEGMENT_ENTRIES;
        for all in [false, true] {
            let head = write_chain(&mut direct, size).await;
            let has_seen = appender(&redis.url());
            has_seen.log().head().await.unwrap();
            let last: Vec<u8> = direct.rpop(keys::segment(number), None).await.unwrap();
            if all {
                direct.del::<_, ()>(keys::segment(number)).await.unwrap();
            }
            let seq = if all { number * keys::SEGMENT_ENTRIES } else { size - 1 };
            assert_fault(&redis, &has_seen, size, EndFault::Missing { seq }).await;
            assert_eq!(has_seen.log().head().await.unwrap(), head);
            if !all {
                direct.rpush::<_, _, ()>(keys::segment(number), last).await.unwrap();
                assert_resumes(&[&appender(&redis.url()), &has_seen], size).await;
            }
        }
    }
}

#[tokio::test]
async fn a_segment_of_another_type_is_found_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES {
        for number in end_segments(size) {
            write_chain(&mut direct, size).await;
            let has_seen = appender(&redis.url());
            has_seen.log().head().await.unwrap();
            let holds_entries = number * keys::SEGMENT_ENTRIES < size;
            direct.set::<_, _, ()>(keys::segment(number), "not a list").await.unwrap();
            let new = appender(&redis.url());
            let fault = EndFault::WrongType { number };
            if holds_entries {
                assert_fault(&redis, &new, size, fault).await;
            } else {
                assert_fault(&redis, &has_seen, size, fault).await;
                direct.del::<_, ()>(keys::segment(number)).await.unwrap();
                assert_resumes(&[&new, &has_seen], size).await;
            }
        }
    }
}

#[tokio::test]
async fn a_last_entry_with_another_hash_than_the_head_is_found_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES.into_iter().skip(1) {
        let head = write_chain(&mut direct, size).await;
        set_head(&mut direct, size, &Hash::from_bytes([1; 32])).await;
        let new = appender(&redis.url());
        assert_fault(&redis, &new, size, EndFault::OtherHash { seq: size - 1 }).await;
        set_head(&mut direct, size, &head.hash).await;
        assert_resumes(&[&new], size).await;
    }
}

/// Forged sizes: some whose next entry would begin a segment that does not exist, and some at the limits of
/// the arithmetic.
#[tokio::test]
async fn a_forged_head_is_neither_trusted_nor_remembered() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in [0, 5, 4096] {
        for forged in [4096, 4097, 8192, 12_288, 1 << 40, (1 << 53) - 4096, (1 << 53) - 1] {
            if forged == size {
                continue;
            }
            let head = write_chain(&mut direct, size).await;
            for hash in [head.hash, Hash::from_bytes([1; 32])] {
                set_head(&mut direct, forged, &hash).await;
                let new = appender(&redis.url());
                let first = (forged - 1) / keys::SEGMENT_ENTRIES * keys::SEGMENT_ENTRIES;
                let seq = if first < size { size } else { first };
                let fault = EndFault::Missing { seq };
                assert_fault(&redis, &new, forged, fault).await;
                match size {
                    0 => direct.del::<_, ()>(keys::HEAD).await.unwrap(),
                    _ => set_head(&mut direct, size, &head.hash).await,
                }
                assert_eq!(new.log().end().await.unwrap().head, head, "the forged one is forgotten");
            }
            assert_resumes(&[&appender(&redis.url())], size).await;
        }
    }
}

#[tokio::test]
async fn a_malformed_head_is_a_state_loss_and_nothing_is_written() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in [0, 5] {
        let head = write_chain(&mut direct, size).await;
        let sized = |size: u64| [&size.to_be_bytes()[..], head.hash.as_bytes()].concat();
        for bytes in
            [sized(0), sized(1 << 53), sized((1 << 53) + 1), sized(u64::MAX), vec![0; 39], b"?".to_vec()]
        {
            direct.set::<_, _, ()>(keys::HEAD, &bytes).await.unwrap();
            assert_malformed_head(&redis).await;
        }
        direct.del::<_, ()>(keys::HEAD).await.unwrap();
        direct.rpush::<_, _, ()>(keys::HEAD, "another type").await.unwrap();
        assert_malformed_head(&redis).await;
    }
}

async fn assert_malformed_head(redis: &RedisServer) {
    let new = appender(&redis.url());
    let read = new.log().head().await;
    assert!(matches!(read, Err(ReadError::StateLost(StateLoss::NoHead))), "{read:?}");
    let rejected = new.append(&event("tag/1"), Effect::none()).await;
    assert!(matches!(rejected, Err(AppendError::StateLost(StateLoss::NoHead))), "{rejected:?}");
    let mut direct = redis.connection().await;
    let generations: Vec<String> = direct.keys("vt1:{audit}:ids:*").await.unwrap();
    assert!(generations.is_empty(), "{generations:?}");
}

#[tokio::test]
async fn a_head_that_moved_to_a_forged_one_is_refused() {
    let redis = RedisServer::start().await;
    let ours = appender(&redis.url());
    ours.append(&event("tag/1"), Effect::none()).await.unwrap();
    let mut direct = redis.connection().await;
    let genuine: Vec<u8> = direct.get(keys::HEAD).await.unwrap();
    set_head(&mut direct, 12_288, &Hash::from_bytes([1; 32])).await;
    assert_fault(&redis, &ours, 12_288, EndFault::Missing { seq: 8192 }).await;
    direct.set::<_, _, ()>(keys::HEAD, genuine).await.unwrap();
    assert_resumes(&[&ours], 1).await;
}

#[tokio::test]
async fn a_repeat_of_an_event_whose_entry_is_lost_is_an_end_fault() {
    let redis = RedisServer::start().await;
    let ours = appender(&redis.url());
    let first: Event = event("tag/1");
    ours.append(&first, Effect::none()).await.unwrap();
    let mut direct = redis.connection().await;
    let payload = event("tag/written").payload().to_vec();
    let mut head = ours.log().head().await.unwrap();
    let mut entries = redis::pipe();
    for seq in 1..=keys::SEGMENT_ENTRIES {
        head = Head { size: seq + 1, hash: entry_hash(seq, &head.hash, &payload_hash(&payload)) };
        entries.rpush(keys::segment_of(seq), element(&head.hash, &payload)).ignore();
    }
    entries.query_async::<()>(&mut direct).await.unwrap();
    set_head(&mut direct, head.size, &head.hash).await;
    let new = appender(&redis.url());
    assert!(new.append(&first, Effect::none()).await.unwrap().duplicate);
    direct.del::<_, ()>(keys::segment(0)).await.unwrap();
    let rejected = appender(&redis.url()).append(&first, Effect::none()).await;
    assert!(matches!(rejected, Err(AppendError::EndFault(EndFault::Missing { seq: 0 }))), "{rejected:?}");
}

//! Pages and verification of a stored chain: whole, in ranges, and tampered with.

use crate::support::{ORIGIN, PATIENT, appender, event, event_with, pool};
use audit_chain::{
    Appender, AuditLog, Details, Effect, EntryFault, Event, ReadError, VerifyReport, verify_elements,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::num::NonZeroUsize;
use test_support::RedisServer;

const SEGMENT: &str = "vt1:{audit}:seg:0";

async fn chain_of(length: usize, redis: &RedisServer) -> (Appender, Vec<Event>) {
    let appender = appender(&redis.url());
    let events: Vec<Event> = (0..length).map(|number| event(&format!("tag/{number}"))).collect();
    for chunk in events.chunks(1_000) {
        let appends = chunk.iter().map(|event| {
            let (appender, event) = (appender.clone(), event.clone());
            tokio::spawn(async move { appender.append(&event, Effect::none()).await.unwrap() })
        });
        for append in appends.collect::<Vec<_>>() {
            append.await.unwrap();
        }
    }
    (appender, events)
}

fn limit(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

async fn elements(direct: &mut MultiplexedConnection) -> Vec<Vec<u8>> {
    direct.lrange(SEGMENT, 0, -1).await.unwrap()
}

async fn replace(direct: &mut MultiplexedConnection, elements: &[Vec<u8>]) {
    let _: () = redis::pipe().del(SEGMENT).rpush(SEGMENT, elements).query_async(direct).await.unwrap();
}

fn first_error(report: VerifyReport) -> (u64, EntryFault) {
    assert!(!report.ok);
    let error = report.first_error.unwrap();
    let last_is_sound = u64::from(error.why == EntryFault::Head);
    assert_eq!(report.checked, error.seq + last_is_sound, "all entries before it verify");
    (error.seq, error.why)
}

#[tokio::test]
async fn pages_hold_the_stored_bytes_and_are_linked() {
    let redis = RedisServer::start().await;
    let (appender, events) = chain_of(10, &redis).await;
    let first = appender.log().entries(None, limit(4)).await.unwrap();
    let second = appender.log().entries(first.next, limit(4)).await.unwrap();
    let third = appender.log().entries(second.next, limit(4)).await.unwrap();
    assert_eq!((first.next, second.next, third.next), (Some(3), Some(7), None));
    let all: Vec<_> = [first.events, second.events, third.events].concat();
    assert_eq!(all.len(), 10);
    for (entry, event) in all.iter().zip(&events) {
        assert_eq!(entry.event.get().as_bytes(), event.payload());
    }
    assert!(all.windows(2).all(|pair| pair[1].prev == pair[0].hash));
    let shown = serde_json::to_string(&all[1]).unwrap();
    let payload = std::str::from_utf8(events[1].payload()).unwrap();
    let (prev, hash, payload_hash) = (all[1].prev, all[1].hash, all[1].payload_hash);
    let expected = format!(
        r#"{{"seq":1,"prev":"{prev}","payload_hash":"{payload_hash}","hash":"{hash}","event":{payload}}}"#
    );
    assert_eq!(shown, expected);
    assert!(appender.log().entries(Some(9), limit(4)).await.unwrap().events.is_empty());
    assert!(appender.log().entries(Some(u64::MAX), limit(4)).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn a_page_of_large_events_ends_early_and_names_the_next() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    for _ in 0..150 {
        let large = event_with("tag/1", Details::new().with("text", "x".repeat(16_000)));
        appender.append(&large, Effect::none()).await.unwrap();
    }
    let page = appender.log().entries(None, limit(150)).await.unwrap();
    assert!(page.events.len() < 150);
    assert_eq!(page.next, Some(page.events.len() as u64 - 1));
    let rest = appender.log().entries(page.next, limit(150)).await.unwrap();
    assert_eq!(rest.events[0].seq, page.events.len() as u64);
    let report = appender.log().verify(0..150).await.unwrap();
    assert_eq!((report.ok, report.checked), (true, 150));
}

#[tokio::test]
async fn any_range_verifies_across_segments() {
    let redis = RedisServer::start().await;
    let (appender, events) = chain_of(4_200, &redis).await;
    for (range, checked) in [
        (0..u64::MAX, 4_200),
        (0..0, 0),
        (4_199..4_200, 1),
        (4_000..4_100, 100),
        (4_095..4_096, 1),
        (4_096..4_097, 1),
        (9_000..9_001, 0),
    ] {
        let report = appender.log().verify(range.clone()).await.unwrap();
        assert!(report.ok, "{range:?}: {report:?}");
        assert_eq!((report.checked, report.head.size), (checked, 4_200), "{range:?}");
    }
    let page = appender.log().entries(Some(4_094), limit(2)).await.unwrap();
    let shown: Vec<&[u8]> = page.events.iter().map(|entry| entry.event.get().as_bytes()).collect();
    assert_eq!(shown, [events[4_095].payload(), events[4_096].payload()]);
}

#[tokio::test]
async fn tampering_in_redis_is_reported_at_the_first_wrong_seq() {
    let redis = RedisServer::start().await;
    let (appender, _) = chain_of(200, &redis).await;
    let mut direct = redis.connection().await;
    let good = elements(&mut direct).await;
    for at in [0_usize, 63, 64, 150, 199] {
        let seq = at as u64;
        let mut tampered = good.clone();
        let last = tampered[at].len() - 3;
        tampered[at][last] ^= 1;
        let mut removed = good.clone();
        removed.remove(at);
        let mut inserted = good.clone();
        inserted.insert(at, good[(at + 7) % 200].clone());
        let mut swapped = good.clone();
        swapped.swap(at, (at + 1) % 200);
        let swapped_at = if at == 199 { 0 } else { seq };
        let removed_why = if at == 199 { EntryFault::Missing } else { EntryFault::Hash };
        for (kind, changed, expected) in [
            ("tampered", tampered, (seq, EntryFault::Hash)),
            ("removed", removed, (seq, removed_why)),
            ("inserted", inserted, (seq, EntryFault::Hash)),
            ("swapped", swapped, (swapped_at, EntryFault::Hash)),
        ] {
            replace(&mut direct, &changed).await;
            let fresh = AuditLog::new(pool(&redis.url(), PATIENT), ORIGIN);
            let found = first_error(fresh.verify(0..u64::MAX).await.unwrap());
            assert_eq!(found, expected, "{kind} at {at}");
        }
    }
    replace(&mut direct, &good).await;
    assert!(appender.log().verify(0..u64::MAX).await.unwrap().ok);
}

#[tokio::test]
async fn entries_after_the_head_or_after_a_full_segment_are_reported() {
    let redis = RedisServer::start().await;
    let (appender, _) = chain_of(4_100, &redis).await;
    let mut direct = redis.connection().await;
    let log = appender.log();
    for (segment, seq) in [(0, 4_096), (1, 4_100), (2, 4_100)] {
        let segment = format!("vt1:{{audit}}:seg:{segment}");
        let _: () = direct.rpush(&segment, "smuggled in").await.unwrap();
        assert_eq!(first_error(log.verify(0..u64::MAX).await.unwrap()), (seq, EntryFault::Surplus));
        let _: () = direct.rpop(&segment, None).await.unwrap();
    }
    assert!(log.verify(0..u64::MAX).await.unwrap().ok);
}

#[tokio::test]
async fn a_head_that_is_not_the_last_hash_is_reported() {
    let redis = RedisServer::start().await;
    chain_of(3, &redis).await;
    let mut direct = redis.connection().await;
    let _: () = direct.setrange("vt1:{audit}:head", 20, "\u{7}\u{7}").await.unwrap();
    let log = AuditLog::new(pool(&redis.url(), PATIENT), ORIGIN);
    assert_eq!(first_error(log.verify(0..u64::MAX).await.unwrap()), (2, EntryFault::Head));
    assert!(log.verify(0..2).await.unwrap().ok, "a range that does not reach the head ignores it");
}

#[tokio::test]
async fn an_entry_that_is_not_json_is_named() {
    let redis = RedisServer::start().await;
    let (appender, _) = chain_of(3, &redis).await;
    let mut direct = redis.connection().await;
    let mut damaged = elements(&mut direct).await;
    damaged[1].truncate(50);
    replace(&mut direct, &damaged).await;
    let page = appender.log().entries(None, limit(3)).await;
    assert!(matches!(page, Err(ReadError::Damaged { seq: 1 })));
}

#[tokio::test]
async fn a_growing_chain_verifies() {
    let redis = RedisServer::start().await;
    let (appender, _) = chain_of(300, &redis).await;
    let log = appender.log().clone();
    let writing = tokio::spawn(async move {
        for _ in 0..300 {
            appender.append(&event("tag/1"), Effect::none()).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let report = log.verify(0..u64::MAX).await.unwrap();
        assert!(report.ok, "{report:?}");
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn stored_elements_verify_without_redis() {
    let redis = RedisServer::start().await;
    let (appender, _) = chain_of(50, &redis).await;
    let head = appender.log().head().await.unwrap();
    let copy = elements(&mut redis.connection().await).await;
    assert!(verify_elements(ORIGIN, head, &copy).ok);
    assert!(!verify_elements("another.origin", head, &copy).ok);
}

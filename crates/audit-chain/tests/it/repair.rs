//! Entries after the head are read and removed together with an event, or nothing is written.

use audit_chain::{AppendError, Effect, Head, Precondition, ReadError, StateLoss, SurplusTail, keys};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

use crate::chain_end::{SIZES, end_segments, stored, write_chain};
use crate::support::{appender, event};

/// Pushes elements after the head: some to its last segment, some to the next one.
async fn push_tail(direct: &mut MultiplexedConnection, size: u64) -> Vec<(u64, Vec<u8>)> {
    let mut pushed = Vec::new();
    for segment in end_segments(size) {
        for number in 0..9_u8 {
            let element = [&[0, 0xff, number][..], &segment.to_be_bytes()].concat();
            direct.rpush::<_, _, ()>(keys::segment(segment), &element).await.unwrap();
            pushed.push((segment, element));
        }
    }
    pushed
}

async fn read(tail: &mut SurplusTail) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let page = tail.next().await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(|element| (element.segment, element.bytes)));
    }
}

#[tokio::test]
async fn surplus_entries_are_removed_with_an_event_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES {
        let head = write_chain(&mut direct, size).await;
        let pushed = push_tail(&mut direct, size).await;
        let appender = appender(&redis.url());
        assert!(appender.log().end().await.unwrap().fault.is_some());
        let mut tail = SurplusTail::after(appender.log().clone(), head);
        assert_eq!(read(&mut tail).await, pushed);
        assert_eq!(tail.entries(), pushed.len() as u64);
        let repaired = event("audit/*");
        let appended = tail.cut(&[], &repaired).await.unwrap();
        assert_eq!((appended.seq, appended.duplicate), (size, false));
        let end = appender.log().end().await.unwrap();
        assert_eq!((end.head, end.fault), (Head { size: size + 1, hash: appended.hash }, None));
        assert_eq!(appender.append(&repaired, Effect::none()).await.unwrap().seq, size, "its id is known");
        assert_eq!(appender.append(&event("tag/1"), Effect::none()).await.unwrap().seq, size + 1);
        let from = size.saturating_sub(1);
        let report = appender.log().verify(from..u64::MAX).await.unwrap();
        assert!(report.ok, "{report:?}");
    }
}

#[tokio::test]
async fn only_the_entries_that_were_read_are_removed() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in [0, 3, 4096] {
        let head = write_chain(&mut direct, size).await;
        push_tail(&mut direct, size).await;
        let appender = appender(&redis.url());
        let last = keys::segment(*end_segments(size).last().unwrap());
        let read_tail = async || {
            let mut tail = SurplusTail::after(appender.log().clone(), head);
            read(&mut tail).await;
            tail
        };
        // One element more, one less, and another one.
        let tail = read_tail().await;
        direct.rpush::<_, _, ()>(&last, "more").await.unwrap();
        assert_rejected(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let tail = read_tail().await;
        direct.rpop::<_, Vec<u8>>(&last, None).await.unwrap();
        assert_rejected(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let tail = read_tail().await;
        direct.lset::<_, _, ()>(&last, -1, "another").await.unwrap();
        assert_rejected(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        // The tail is not read to its end.
        let mut tail = SurplusTail::after(appender.log().clone(), head);
        tail.next().await.unwrap();
        assert_rejected(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let guard = [Precondition::Absent { key: keys::segment(0).into_bytes() }];
        let lost =
            |error: &AppendError| matches!(error, AppendError::StateLost(StateLoss::Guard { check: 0 }));
        assert_rejected(&mut direct, read_tail().await, &guard, lost).await;
        // Another process was first.
        let (first, second) = (read_tail().await, read_tail().await);
        first.cut(&[], &event("audit/*")).await.unwrap();
        assert_rejected(&mut direct, second, &[], |error| matches!(error, AppendError::Contention)).await;
    }
}

async fn assert_rejected(
    direct: &mut MultiplexedConnection,
    tail: SurplusTail,
    guard: &[Precondition],
    is_expected: impl Fn(&AppendError) -> bool,
) {
    let before = stored(direct).await;
    let error = tail.cut(guard, &event("audit/*")).await.unwrap_err();
    assert!(is_expected(&error), "{error:?}");
    assert_eq!(stored(direct).await, before);
}

#[tokio::test]
async fn reading_the_surplus_is_bounded() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    let head = write_chain(&mut direct, 1).await;
    let many = vec!["x"; usize::try_from(audit_chain::MAX_SURPLUS).unwrap() + 1];
    direct.rpush::<_, _, ()>(keys::segment(0), many).await.unwrap();
    let appender = appender(&redis.url());
    let mut tail = SurplusTail::after(appender.log().clone(), head);
    let error = loop {
        match tail.next().await {
            Ok(page) => assert!(!page.is_empty()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Redis(_)), "{error:?}");
}

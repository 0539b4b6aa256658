//! What a broken write left is read, and cut off together with an event, or nothing is written.

use audit_chain::{AppendError, Effect, Head, Precondition, ReadError, StateLoss, SurplusTail, keys};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

use crate::chain_end::{SIZES, end_segments, lay, stored};
use crate::support::{appender, event};

/// Elements pushed behind the head, of any bytes: some in its last segment, some in the one that follows.
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
async fn a_tail_is_cut_with_its_event_at_any_size() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in SIZES {
        let head = lay(&mut direct, size).await;
        let pushed = push_tail(&mut direct, size).await;
        let appender = appender(&redis.url());
        assert!(appender.log().end().await.unwrap().fault.is_some());
        let mut tail = SurplusTail::behind(appender.log().clone(), head);
        assert_eq!(read(&mut tail).await, pushed);
        assert_eq!(tail.entries(), pushed.len() as u64);
        let repaired = event("audit/*");
        let done = tail.cut(&[], &repaired).await.unwrap();
        assert_eq!((done.seq, done.duplicate), (size, false));
        let end = appender.log().end().await.unwrap();
        assert_eq!((end.head, end.fault), (Head { size: size + 1, hash: done.hash }, None));
        assert_eq!(appender.append(&repaired, Effect::none()).await.unwrap().seq, size, "its id is known");
        assert_eq!(appender.append(&event("tag/1"), Effect::none()).await.unwrap().seq, size + 1);
        let from = size.saturating_sub(1);
        let report = appender.log().verify(from..u64::MAX).await.unwrap();
        assert!(report.ok, "{report:?}");
    }
}

#[tokio::test]
async fn nothing_is_cut_but_what_was_read_and_where_it_was_read() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    for size in [0, 3, 4096] {
        let head = lay(&mut direct, size).await;
        push_tail(&mut direct, size).await;
        let appender = appender(&redis.url());
        let last = keys::segment(*end_segments(size).last().unwrap());
        let fresh = async || {
            let mut tail = SurplusTail::behind(appender.log().clone(), head);
            read(&mut tail).await;
            tail
        };
        // One more, one less, another.
        let tail = fresh().await;
        direct.rpush::<_, _, ()>(&last, "more").await.unwrap();
        assert_refused(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let tail = fresh().await;
        direct.rpop::<_, Vec<u8>>(&last, None).await.unwrap();
        assert_refused(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let tail = fresh().await;
        direct.lset::<_, _, ()>(&last, -1, "another").await.unwrap();
        assert_refused(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        // Not read to its end.
        let mut tail = SurplusTail::behind(appender.log().clone(), head);
        tail.next().await.unwrap();
        assert_refused(&mut direct, tail, &[], |error| matches!(error, AppendError::Contention)).await;
        let guard = [Precondition::Absent { key: keys::segment(0).into_bytes() }];
        let lost =
            |error: &AppendError| matches!(error, AppendError::StateLost(StateLoss::Guard { check: 0 }));
        assert_refused(&mut direct, fresh().await, &guard, lost).await;
        // Somebody else was first.
        let (first, second) = (fresh().await, fresh().await);
        first.cut(&[], &event("audit/*")).await.unwrap();
        assert_refused(&mut direct, second, &[], |error| matches!(error, AppendError::Contention)).await;
    }
}

async fn assert_refused(
    direct: &mut MultiplexedConnection,
    tail: SurplusTail,
    guard: &[Precondition],
    is_it: impl Fn(&AppendError) -> bool,
) {
    let before = stored(direct).await;
    let error = tail.cut(guard, &event("audit/*")).await.unwrap_err();
    assert!(is_it(&error), "{error:?}");
    assert_eq!(stored(direct).await, before);
}

#[tokio::test]
async fn a_tail_without_end_is_not_read_without_end() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    let head = lay(&mut direct, 1).await;
    let many = vec!["x"; usize::try_from(audit_chain::MAX_SURPLUS).unwrap() + 1];
    direct.rpush::<_, _, ()>(keys::segment(0), many).await.unwrap();
    let appender = appender(&redis.url());
    let mut tail = SurplusTail::behind(appender.log().clone(), head);
    let error = loop {
        match tail.next().await {
            Ok(page) => assert!(!page.is_empty()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Redis(_)), "{error:?}");
}

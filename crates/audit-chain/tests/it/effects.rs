//! An event and its effect are written together or not at all.

use crate::support::{appender, event, trace_key, trace_of, verified_events};
use audit_chain::{AppendError, AppendFault, Effect, EffectError, Precondition, RedisWrite};
use redis::AsyncCommands;
use std::time::Duration;
use test_support::RedisServer;

fn key() -> Vec<u8> {
    b"k".to_vec()
}

fn absent_then_set(value: &str) -> Effect {
    Effect::none()
        .check(Precondition::Absent { key: key() })
        .write(RedisWrite::Set { key: key(), value: value.into() })
}

#[tokio::test]
async fn every_write_is_carried_out_with_its_event() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let mut direct = redis.connection().await;
    let _: () = redis::pipe()
        .set("gone", 1)
        .hset("h", "old", 1)
        .zadd("z", "old", 1)
        .set("short", 1)
        .query_async(&mut direct)
        .await
        .unwrap();
    let (minute, field) = (Duration::from_secs(60), |name: &str| name.as_bytes().to_vec());
    let effect = Effect::none()
        .write(RedisWrite::Set { key: field("s"), value: vec![0, 255] })
        .write(RedisWrite::SetFor { key: field("p"), value: field("v"), ttl: minute })
        .write(RedisWrite::SetRange { key: field("r"), offset: 3, bytes: vec![7] })
        .write(RedisWrite::SortedAdd { key: field("z"), score: -(1 << 53), member: field("new") })
        .write(RedisWrite::SortedRemove { key: field("z"), member: field("old") })
        .write(RedisWrite::FieldSet { key: field("h"), field: field("new"), value: field("v") })
        .write(RedisWrite::FieldDelete { key: field("h"), field: field("old") })
        .write(RedisWrite::Delete { key: field("gone") })
        .write(RedisWrite::Expire { key: field("short"), ttl: minute });
    appender.append(&event("tag/1"), effect).await.unwrap();
    let text: Vec<u8> = direct.get("s").await.unwrap();
    let range: Vec<u8> = direct.get("r").await.unwrap();
    assert_eq!((text, range), (vec![0, 255], vec![0, 0, 0, 7]));
    let sorted: Vec<(String, f64)> = direct.zrange_withscores("z", 0, -1).await.unwrap();
    assert_eq!(sorted, [("new".to_owned(), -9_007_199_254_740_992.0)]);
    let fields: Vec<(String, String)> = direct.hgetall("h").await.unwrap();
    assert_eq!(fields, [("new".to_owned(), "v".to_owned())]);
    assert!(!direct.exists::<_, bool>("gone").await.unwrap());
    for key in ["p", "short"] {
        assert!((50_000..=60_000).contains(&direct.pttl::<_, i64>(key).await.unwrap()));
    }
}

#[tokio::test]
async fn a_failing_precondition_fails_only_its_own_caller_and_is_named() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let _: () = redis.connection().await.set("taken", "x").await.unwrap();
    let events = [event("tag/1"), event("tag/2"), event("tag/3")];
    let rejected = Effect::none()
        .check(Precondition::Absent { key: b"free".to_vec() })
        .check(Precondition::Absent { key: b"taken".to_vec() })
        .write(RedisWrite::Set { key: trace_key(&events[1]), value: vec![] });
    let (one, two, three) = tokio::join!(
        appender.append(&events[0], trace_of(&events[0])),
        appender.append(&events[1], rejected),
        appender.append(&events[2], trace_of(&events[2]))
    );
    assert!(matches!(two, Err(AppendError::Precondition { check: 1 })));
    assert_eq!((one.unwrap().seq, three.unwrap().seq), (0, 1));
    assert_eq!(verified_events(&appender).await, [events[0].clone(), events[2].clone()]);
    let mut direct = redis.connection().await;
    let traces: Vec<bool> = vec![
        direct.exists(trace_key(&events[0])).await.unwrap(),
        direct.exists(trace_key(&events[1])).await.unwrap(),
        direct.exists(trace_key(&events[2])).await.unwrap(),
    ];
    assert_eq!(traces, [true, false, true]);
}

#[tokio::test]
async fn a_write_to_a_key_of_another_type_writes_nothing_and_fails_only_its_own_caller() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let _: () = redis.connection().await.lpush("list", "x").await.unwrap();
    let (good, bad) = (event("tag/1"), event("tag/2"));
    let half_way = trace_of(&bad).write(RedisWrite::FieldSet {
        key: b"list".to_vec(),
        field: b"f".to_vec(),
        value: vec![],
    });
    let (bad_answer, good_answer) =
        tokio::join!(appender.append(&bad, half_way), appender.append(&good, trace_of(&good)));
    assert!(matches!(bad_answer, Err(AppendError::Internal(AppendFault::WrongType { write: 1 }))));
    assert_eq!(good_answer.unwrap().seq, 0);
    assert!(!redis.connection().await.exists::<_, bool>(trace_key(&bad)).await.unwrap());
    assert_eq!(verified_events(&appender).await, [good]);
}

#[tokio::test]
async fn of_two_concurrent_effects_on_a_key_the_later_sees_the_earlier() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let (one, two) = (event("tag/1"), event("tag/2"));
    let (first, second) = tokio::join!(
        appender.append(&one, absent_then_set("one")),
        appender.append(&two, absent_then_set("two"))
    );
    assert_eq!(first.unwrap().seq, 0);
    assert!(matches!(second, Err(AppendError::Precondition { check: 0 })));
    let value: String = redis.connection().await.get(key()).await.unwrap();
    assert_eq!(value, "one");
    assert_eq!(verified_events(&appender).await, [one]);
}

/// The appends are made at once, so that they share calls.
#[tokio::test]
async fn a_sorted_set_never_exceeds_the_members_that_its_precondition_allows() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let _: () = redis.connection().await.zadd("z", "there", 0).await.unwrap();
    let events: Vec<_> = (0..30).map(|i| event(&format!("tag/{i}"))).collect();
    let appends = events.iter().enumerate().map(|(i, event)| {
        let (free, member) = (b"free".to_vec(), i.to_string().into_bytes());
        let counted = Precondition::FewerThan { key: b"z".to_vec(), members: 10 };
        let write = RedisWrite::SortedAdd { key: b"z".to_vec(), score: 0, member };
        // Every third append fails for another reason and adds no member.
        let other = if i % 3 == 0 {
            Precondition::Equals { key: free, value: vec![1] }
        } else {
            Precondition::Absent { key: free }
        };
        appender.append(event, Effect::none().check(other).check(counted).write(write))
    });
    let answers = futures_util::future::join_all(appends).await;
    let count = |expected: fn(&AppendError) -> bool| {
        answers.iter().filter(|answer| answer.as_ref().err().is_some_and(expected)).count()
    };
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 9);
    assert_eq!(count(|error| matches!(error, AppendError::Precondition { check: 0 })), 10);
    assert_eq!(count(|error| matches!(error, AppendError::Precondition { check: 1 })), 11);
    assert_eq!(redis.connection().await.zcard::<_, u32>("z").await.unwrap(), 10);
    let of_another_type = || Precondition::FewerThan { key: b"text".to_vec(), members: 10 };
    let _: () = redis.connection().await.set("text", "x").await.unwrap();
    let rejected = appender.append(&event("tag/x"), Effect::none().check(of_another_type())).await;
    assert!(matches!(rejected, Err(AppendError::Precondition { check: 0 })));
    let write = RedisWrite::SortedAdd { key: b"text".to_vec(), score: 0, member: b"x".to_vec() };
    let counted = Effect::none().check(of_another_type()).write(write);
    let damaged = appender.append(&event("tag/x"), counted).await;
    let is_damage = matches!(damaged, Err(AppendError::Internal(AppendFault::WrongType { write: 0 })));
    assert!(is_damage, "a set that cannot be counted is not a full one: {damaged:?}");
}

#[tokio::test]
async fn a_repeated_event_does_not_repeat_its_effect_even_if_its_preconditions_fail_now() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let event = event("tag/1");
    appender.append(&event, absent_then_set("one")).await.unwrap();
    let _: () = redis.connection().await.set(key(), "changed since").await.unwrap();
    let again = appender.append(&event, absent_then_set("one")).await.unwrap();
    assert!(again.duplicate);
    let value: String = redis.connection().await.get(key()).await.unwrap();
    assert_eq!(value, "changed since");
}

#[tokio::test]
async fn an_invalid_effect_is_rejected_before_anything_is_written() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let large = Effect::none().write(RedisWrite::Set { key: key(), value: vec![0; 256 * 1024] });
    assert!(matches!(appender.append(&event("tag/1"), large).await, Err(AppendError::TooLarge)));
    let never = Effect::none().write(RedisWrite::Expire { key: key(), ttl: Duration::ZERO });
    let rejected = appender.append(&event("tag/1"), never).await;
    let impossible = EffectError::Impossible { write: 0 };
    assert!(
        matches!(rejected, Err(AppendError::Internal(AppendFault::Effect(error))) if error == impossible)
    );
    assert_eq!(appender.log().head().await.unwrap().size, 0);
}

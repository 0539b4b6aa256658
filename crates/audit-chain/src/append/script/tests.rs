//! The script against a real Redis.

use super::*;
use crate::append::script_reply::{EntryRejection, RejectReason};
use crate::chain::end::{FoundEnd, StoredHead};
use crate::chain::hash::{Hash, entry_hash, genesis_prev};
use crate::effect::write::RedisWrite;
use crate::event::Event;
use crate::event::new_event::NewEvent;
use ambient::{SystemClock, entropy};
use redis::{AsyncCommands, Value};
use redis_pool::{PoolConfig, PoolMetrics};
use std::num::NonZeroUsize;
use std::sync::Arc;
use test_support::RedisServer;

/// A retention that is reached after three events.
const FEW: IdRetention = IdRetention { events: 3, time: Duration::from_secs(3600) };
/// A retention that is reached after 20 ms.
const SHORT: IdRetention = IdRetention { events: 1_000, time: Duration::from_millis(20) };

fn pool(redis: &RedisServer) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: redis.url().parse().unwrap(),
        permits: NonZeroUsize::MIN,
        connections: NonZeroUsize::MIN,
        wait: Duration::from_secs(30),
        command_timeout: Duration::from_secs(30),
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

fn prepared(effect: Effect) -> PreparedEntry {
    let what = NewEvent::sample();
    let event = Event::new(0, ambient::uuid_v7(0), entropy::random_bytes(), what).unwrap();
    PreparedEntry::new(&event, effect)
}

/// Calls the script with one entry at `head`, and moves `head` on if it was written.
async fn call(
    pool: &RedisPool,
    guard: &[Precondition],
    retention: IdRetention,
    head: &mut Option<Head>,
    entry: &mut PreparedEntry,
) -> AppendReply {
    let at = head.unwrap_or(Head { size: 0, hash: genesis_prev("test") });
    let hash = entry_hash(at.size, &at.hash, &entry.payload_hash);
    entry.set_hash(&hash);
    let new_head = Head { size: at.size + 1, hash };
    let reply = send(super::call(guard, retention, *head, new_head, &[entry], ""), pool).await.unwrap();
    if reply == AppendReply::Written {
        *head = Some(new_head);
    }
    reply
}

fn checks() -> Vec<(Precondition, bool)> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let byte_not = |key: &str, offset, byte| Precondition::ByteNot { key: bytes(key), offset, byte };
    let equals = |key: &str, value: &str| Precondition::Equals { key: bytes(key), value: bytes(value) };
    let prefix = |key: &str, prefix: &str| Precondition::Prefix { key: bytes(key), prefix: bytes(prefix) };
    let field = |key: &str, field: &str| Precondition::FieldAbsent { key: bytes(key), field: bytes(field) };
    let field_is = |key: &str, field: &str, value: &str| {
        let (key, field, value) = (bytes(key), bytes(field), bytes(value));
        Precondition::FieldEquals { key, field, value }
    };
    vec![
        (Precondition::Absent { key: bytes("nothing") }, true),
        (Precondition::Absent { key: bytes("text") }, false),
        (equals("text", "abc"), true),
        (equals("text", "ab"), false),
        (equals("nothing", ""), false),
        (equals("hash", "abc"), false),
        (prefix("text", "ab"), true),
        (prefix("text", "abc"), true),
        (prefix("text", "abcd"), false),
        (prefix("text", "b"), false),
        (prefix("nothing", "a"), false),
        (prefix("hash", "a"), false),
        (byte_not("text", 1, b'x'), true),
        (byte_not("text", 1, b'b'), false),
        (byte_not("text", 9, b'b'), true),
        (byte_not("text", 9, 0), false),
        (byte_not("nothing", 0, 1), true),
        (byte_not("nothing", 0, 0), false),
        (byte_not("hash", 0, 1), false),
        (field_is("hash", "f", "v"), true),
        (field_is("hash", "f", "w"), false),
        (field_is("hash", "g", "v"), false),
        (field_is("nothing", "f", "v"), false),
        (field_is("text", "f", "v"), false),
        (field("hash", "g"), true),
        (field("nothing", "f"), true),
        (field("hash", "f"), false),
        (field("text", "f"), false),
    ]
}

#[tokio::test]
async fn every_precondition_works_in_a_guard_and_in_an_effect() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let _: () = redis.connection().await.set("text", "abc").await.unwrap();
    let _: () = redis.connection().await.hset("hash", "f", "v").await.unwrap();
    let mut head = None;
    for (check, holds) in checks() {
        let guard = std::slice::from_ref(&check);
        let reply = call(&pool, guard, IdRetention::PUBLIC, &mut head, &mut prepared(Effect::none())).await;
        assert_eq!(reply == AppendReply::Written, holds, "{check:?}");
        assert!(holds || reply == AppendReply::GuardFails { check: 0 });
        let effect = Effect::none().check(check.clone());
        let reply = call(&pool, &[], IdRetention::PUBLIC, &mut head, &mut prepared(effect)).await;
        assert_eq!(reply == AppendReply::Written, holds, "{check:?}");
        let why = RejectReason::CheckFails { check: 0 };
        assert!(holds || reply == AppendReply::Rejected(vec![EntryRejection { index: 0, why }]));
    }
}

#[tokio::test]
async fn ids_are_kept_for_the_promised_number_of_events_and_at_most_twice_as_many_are_stored() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let (mut head, mut entries) = (None, Vec::new());
    for _ in 0..20 {
        let mut entry = prepared(Effect::none());
        assert_eq!(call(&pool, &[], FEW, &mut head, &mut entry).await, AppendReply::Written);
        entries.push(entry);
        let newest = entries.len();
        for (back, entry) in entries.iter_mut().rev().take(3).enumerate() {
            let (seq, hash) = ((newest - 1 - back) as u64, entry.hash());
            let why = RejectReason::Duplicate { seq, hash };
            let reply = call(&pool, &[], FEW, &mut head, entry).await;
            assert_eq!(reply, AppendReply::Rejected(vec![EntryRejection { index: 0, why }]));
            entry.set_hash(&hash);
        }
        let mut direct = redis.connection().await;
        let generations: Vec<String> = direct.keys("vt1:{audit}:ids:*").await.unwrap();
        assert!(generations.len() <= 2, "{generations:?}");
        for generation in generations {
            assert!(direct.hlen::<_, u64>(&generation).await.unwrap() <= 3);
            let lasts: i64 = direct.pttl(&generation).await.unwrap();
            assert!(lasts > 2 * 3_600_000 && lasts <= 3 * 3_600_000);
        }
    }
    assert_eq!(
        call(&pool, &[], FEW, &mut head, &mut entries[0]).await,
        AppendReply::Written,
        "its id is forgotten by now"
    );
}

#[tokio::test]
async fn a_new_generation_of_ids_begins_when_the_current_one_is_old() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let (mut head, mut direct) = (None, redis.connection().await);
    let mut generations = Vec::new();
    let advance = async {
        while !generations.contains(&2) {
            assert_eq!(
                call(&pool, &[], SHORT, &mut head, &mut prepared(Effect::none())).await,
                AppendReply::Written
            );
            let stored: Vec<u8> = direct.get(keys::GENERATION).await.unwrap();
            generations.push(stored[7]);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), advance).await.expect("a new generation every 20 ms");
    assert_eq!(generations[0], 0);
    assert!(generations.is_sorted());
}

#[tokio::test]
async fn a_moved_head_is_returned_with_the_hash_at_the_expected_head() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let mut head = None;
    let mut first = prepared(Effect::none());
    call(&pool, &[], FEW, &mut head, &mut first).await;
    let behind = head;
    call(&pool, &[], FEW, &mut head, &mut prepared(Effect::none())).await;
    let mut late = behind;
    let reply = call(&pool, &[], FEW, &mut late, &mut prepared(Effect::none())).await;
    assert_eq!(reply, moved(head, Some(first.hash())));
    let mut new = None;
    let reply = call(&pool, &[], FEW, &mut new, &mut prepared(Effect::none())).await;
    assert_eq!(reply, moved(head, None));
}

#[tokio::test]
async fn contradicting_arguments_are_rejected_before_anything_is_written() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let good =
        ["", &"h".repeat(40), "0", "1", "1", "4096", "s:", "i:", "9", "9", "0", "0", "", "id", "element"];
    let changes =
        [(1, "short"), (3, "0"), (3, "2"), (4, "0"), (4, "2"), (5, "x"), (10, "1"), (11, "1"), (0, "head")];
    let call = |arguments: Vec<String>| {
        let mut call = SCRIPT.invoke().key("h").key("g").key("s:0");
        arguments.iter().for_each(|argument| call.push_arg(argument));
        call
    };
    for (at, bad) in changes {
        let mut arguments = good.map(str::to_owned).to_vec();
        arguments[at] = bad.to_owned();
        let rejected = call(arguments).run::<Value>(&pool).await;
        assert!(matches!(rejected, Err(PoolError::Server { .. })), "{at} {bad}: {rejected:?}");
    }
    for (effect, what) in [
        (&["0", "1", "0", "no_such_check", "k"][..], "check"),
        (&["0", "0", "1", "2", "FLUSHALL", "k"], "command"),
        (&["1", "0", "1", "2", "DEL", "k"], "entry"),
        (&["0", "0", "1", "3", "DEL", "k"], "count"),
    ] {
        let mut arguments = good.map(str::to_owned).to_vec();
        arguments[11] = "1".to_owned();
        arguments.extend(effect.iter().map(|word| (*word).to_owned()));
        let rejected = call(arguments).run::<Value>(&pool).await;
        assert!(matches!(rejected, Err(PoolError::Server { .. })), "{what}: {rejected:?}");
    }
    let written: u64 = redis::cmd("DBSIZE").query_async(&mut redis.connection().await).await.unwrap();
    assert_eq!(written, 0);
    let reply = call(good.map(str::to_owned).to_vec()).run::<Value>(&pool).await.unwrap();
    assert_eq!(AppendReply::read(reply).unwrap(), AppendReply::Written, "the unchanged arguments are valid");
}

#[tokio::test]
async fn a_key_of_another_type_is_found_before_anything_is_written() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let _: () = redis.connection().await.lpush("list", "x").await.unwrap();
    let (key, one) = (|| b"list".to_vec(), || b"1".to_vec());
    for write in [
        RedisWrite::SetRange { key: key(), offset: 0, bytes: one() },
        RedisWrite::SortedAdd { key: key(), score: 1, member: one() },
        RedisWrite::SortedRemove { key: key(), member: one() },
        RedisWrite::FieldSet { key: key(), field: one(), value: one() },
        RedisWrite::FieldDelete { key: key(), field: one() },
    ] {
        let effect = Effect::none().write(RedisWrite::Set { key: one(), value: one() }).write(write);
        let reply = call(&pool, &[], FEW, &mut None, &mut prepared(effect)).await;
        let why = RejectReason::WrongType { write: 1 };
        assert_eq!(reply, AppendReply::Rejected(vec![EntryRejection { index: 0, why }]));
    }
    let written: u64 = redis::cmd("DBSIZE").query_async(&mut redis.connection().await).await.unwrap();
    assert_eq!(written, 1);
}

fn moved(head: Option<Head>, hash_at_expected: Option<Hash>) -> AppendReply {
    let head = head.map_or(StoredHead::Absent, StoredHead::Present);
    AppendReply::HeadMoved(FoundEnd { head, hash_at_expected, fault: None })
}

//! `append.lua` as a typed call: its arguments put in order, its reply read into an enum.

use crate::chain::hash::{Hash, payload_hash};
use crate::chain::head::{EndFault, HEAD_LUA, Head};
use crate::effect::{Effect, Precondition};
use crate::event::Event;
use crate::keys;
use redis::Value;
use redis_pool::{Error, Invocation, RedisPool, Script};
use std::sync::LazyLock;
use std::time::Duration;

/// Entries the script takes in one call, well within the 7,000 values Lua can unpack (two for each id).
pub(crate) const MAX_ENTRIES: usize = 2048;

/// The length of a hash at the front of a stored element.
pub(crate) const HASH_BYTES: usize = 32;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    let functions = [HEAD_LUA, CHAIN_END_LUA];
    Script::new("audit-append", functions.concat() + include_str!("../lua/append.lua"))
});

/// Lua functions that compare the end of the chain with its head; they need [`HEAD_LUA`].
pub(crate) const CHAIN_END_LUA: &str = include_str!("../lua/chain_end.lua");

/// How long ids are remembered: at least this many events or this time, whichever is less.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdMemory {
    pub(crate) events: u32,
    pub(crate) time: Duration,
}

impl IdMemory {
    /// A million events or 24 hours (the public contract, docs/contract.md §8).
    pub(crate) const PUBLIC: Self = Self { events: 1_000_000, time: Duration::from_secs(86_400) };
}

/// An event ready to be chained.
#[derive(Debug)]
pub(crate) struct PreparedEntry {
    pub(crate) id: [u8; 16],
    pub(crate) payload_hash: Hash,
    /// Room for the hash, then the payload: what is stored.
    element: Vec<u8>,
    effect: Effect,
    bytes: usize,
}

impl PreparedEntry {
    pub(crate) fn new(event: &Event, effect: Effect) -> Self {
        let mut element = Vec::with_capacity(HASH_BYTES + event.payload().len());
        element.resize(HASH_BYTES, 0);
        element.extend_from_slice(event.payload());
        let bytes = element.len() + effect.bytes();
        Self {
            id: event.id().into_bytes(),
            payload_hash: payload_hash(event.payload()),
            element,
            effect,
            bytes,
        }
    }

    pub(crate) fn effect(&self) -> &Effect {
        &self.effect
    }

    /// What it adds to a call, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn set_hash(&mut self, hash: &Hash) {
        self.element[..HASH_BYTES].copy_from_slice(hash.as_bytes());
    }

    pub(crate) fn hash(&self) -> Hash {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&self.element[..HASH_BYTES]);
        Hash::from_bytes(hash)
    }
}

/// What the script answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Written,
    GuardFails { check: usize },
    HeadMoved(Found),
    Refused(Vec<Refusal>),
    EndFault(EndFault),
}

/// The head as a script found it, and what stands at the one that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// `None` where the stored bytes are no head; `Some(None)` where there is none.
    pub(crate) head: Option<Option<Head>>,
    pub(crate) at_expected: Option<Hash>,
    /// Why the chain does not end there.
    pub(crate) fault: Option<EndFault>,
}

impl Found {
    /// From `head, hash, kind, number` as the scripts give them.
    pub(crate) fn read(parts: &[Value]) -> Option<Self> {
        let [Value::BulkString(head), Value::BulkString(hash), Value::Int(kind), end] = parts else {
            return None;
        };
        let head = if head.is_empty() { Some(None) } else { Head::from_bytes(head).map(Some) };
        let at_expected = <[u8; HASH_BYTES]>::try_from(hash.as_slice()).ok().map(Hash::from_bytes);
        Some(Self { head, at_expected, fault: EndFault::of(*kind, number(end)?) })
    }
}

/// Why one entry of a call cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) index: usize,
    pub(crate) why: Objection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    Duplicate { seq: u64, hash: Hash },
    IdReused { seq: u64 },
    CheckFails { check: usize },
    WrongType { write: usize },
}

/// The call that writes `entries`, chained from `expected` to `new_head`, if the stored head is `expected`. Sent with [`send`]. `tail` is
/// the digest of what stands behind the head and is to be cut off, empty where nothing may stand there.
pub(crate) fn call(
    guard: &[Precondition],
    memory: IdMemory,
    expected: Option<Head>,
    new_head: Head,
    entries: &[&PreparedEntry],
    tail: &str,
) -> Invocation<'static> {
    let size = expected.map_or(0, |head| head.size);
    let room = keys::SEGMENT_ENTRIES - keys::place_in_segment(size);
    let count = entries.len() as u64;
    let mut call = SCRIPT.invoke().key(keys::HEAD).key(keys::GENERATION).key(keys::segment_of(size));
    if count > room {
        call.push_key(keys::segment_of(size + room));
    }
    call.push_arg(expected.map(Head::to_bytes).as_ref().map_or(&[][..], |bytes| &bytes[..]));
    call.push_arg(&new_head.to_bytes()[..]);
    let numbers = [size, count, count.min(room), keys::SEGMENT_ENTRIES];
    numbers.iter().for_each(|number| call.push_arg(number));
    let life = u64::try_from(memory.time.as_millis()).unwrap_or(u64::MAX);
    let mut call = call.arg(keys::SEGMENT_PREFIX).arg(keys::IDS_PREFIX).arg(memory.events).arg(life);
    call.push_arg(guard.len());
    call.push_arg(entries.iter().filter(|entry| !entry.effect.is_empty()).count());
    call.push_arg(tail);
    guard.iter().for_each(|check| check.encode(|word| call.push_arg(word)));
    entries.iter().for_each(|entry| call.push_arg(&entry.id[..]));
    entries.iter().for_each(|entry| call.push_arg(&entry.element[..]));
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.effect.is_empty()) {
        push_effect(&mut call, index, &entry.effect);
    }
    call
}

/// Sends a call and reads its reply.
pub(crate) async fn send(call: Invocation<'_>, pool: &RedisPool) -> Result<Reply, Error> {
    read(call.run(pool).await?)
}

fn push_effect(call: &mut Invocation<'_>, index: usize, effect: &Effect) {
    [index, effect.checks.len(), effect.writes.len()].iter().for_each(|number| call.push_arg(number));
    effect.checks.iter().for_each(|check| check.encode(|word| call.push_arg(word)));
    for write in &effect.writes {
        call.push_arg(write.words());
        write.encode(|word| call.push_arg(word));
    }
}

pub(crate) fn read(reply: Value) -> Result<Reply, Error> {
    let parts = match reply {
        Value::Array(parts) => parts,
        other => return Err(strange(&other)),
    };
    let understood = match parts.as_slice() {
        [Value::Int(0)] => Some(Reply::Written),
        [Value::Int(1), check] => number(check).map(|check| Reply::GuardFails { check }),
        [Value::Int(2), found @ ..] => Found::read(found).map(Reply::HeadMoved),
        [Value::Int(3), refusals @ ..] => {
            refusals.chunks(4).map(refusal).collect::<Option<_>>().map(Reply::Refused)
        }
        [Value::Int(4), Value::Int(kind), at] => {
            number(at).and_then(|at| EndFault::of(*kind, at)).map(Reply::EndFault)
        }
        _ => None,
    };
    understood.ok_or_else(|| strange(&Value::Array(parts)))
}

fn refusal(parts: &[Value]) -> Option<Refusal> {
    let [index, Value::Int(kind), value, Value::BulkString(hash)] = parts else { return None };
    let why = match kind {
        0 => {
            let hash = Hash::from_bytes(hash.as_slice().try_into().ok()?);
            Objection::Duplicate { seq: number(value)?, hash }
        }
        1 => Objection::IdReused { seq: number(value)? },
        2 => Objection::CheckFails { check: number(value)? },
        3 => Objection::WrongType { write: number(value)? },
        _ => return None,
    };
    Some(Refusal { index: number(index)?, why })
}

fn number<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    if let Value::Int(value) = value { T::try_from(*value).ok() } else { None }
}

fn strange(reply: &Value) -> Error {
    Error::Reply { what: format!("script audit-append: {reply:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::hash::{entry_hash, genesis_prev};
    use crate::effect::RedisWrite;
    use crate::event::NewEvent;
    use ambient::{SystemClock, entropy};
    use redis::AsyncCommands;
    use redis_pool::{Config, PoolMetrics};
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use test_support::RedisServer;

    const FEW: IdMemory = IdMemory { events: 3, time: Duration::from_secs(3600) };
    const SHORT: IdMemory = IdMemory { events: 1_000, time: Duration::from_millis(20) };

    fn pool(redis: &RedisServer) -> RedisPool {
        let config = Config {
            name: "test",
            url: redis.url().parse().unwrap(),
            permits: NonZeroUsize::MIN,
            connections: NonZeroUsize::MIN,
            wait: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            open_for: redis_pool::OPEN_FOR,
        };
        RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
    }

    fn prepared(effect: Effect) -> PreparedEntry {
        let what = NewEvent::sample();
        let event = Event::new(0, ambient::uuid_v7(0), entropy::random_bytes(), what).unwrap();
        PreparedEntry::new(&event, effect)
    }

    /// Calls the script with one entry at `head`; moves `head` on when it was written.
    async fn call(
        pool: &RedisPool,
        guard: &[Precondition],
        ids: IdMemory,
        head: &mut Option<Head>,
        entry: &mut PreparedEntry,
    ) -> Reply {
        let at = head.unwrap_or(Head { size: 0, hash: genesis_prev("test") });
        let hash = entry_hash(at.size, &at.hash, &entry.payload_hash);
        entry.set_hash(&hash);
        let new_head = Head { size: at.size + 1, hash };
        let reply = send(super::call(guard, ids, *head, new_head, &[entry], ""), pool).await.unwrap();
        if reply == Reply::Written {
            *head = Some(new_head);
        }
        reply
    }

    fn checks() -> Vec<(Precondition, bool)> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let byte_not = |key: &str, offset, byte| Precondition::ByteNot { key: bytes(key), offset, byte };
        let equals = |key: &str, value: &str| Precondition::Equals { key: bytes(key), value: bytes(value) };
        let prefix =
            |key: &str, prefix: &str| Precondition::Prefix { key: bytes(key), prefix: bytes(prefix) };
        let field =
            |key: &str, field: &str| Precondition::FieldAbsent { key: bytes(key), field: bytes(field) };
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
    async fn every_check_says_what_it_should_in_a_guard_and_in_an_effect() {
        let redis = RedisServer::start().await;
        let pool = pool(&redis);
        let _: () = redis.connection().await.set("text", "abc").await.unwrap();
        let _: () = redis.connection().await.hset("hash", "f", "v").await.unwrap();
        let mut head = None;
        for (check, holds) in checks() {
            let guard = std::slice::from_ref(&check);
            let reply = call(&pool, guard, IdMemory::PUBLIC, &mut head, &mut prepared(Effect::none())).await;
            assert_eq!(reply == Reply::Written, holds, "{check:?}");
            assert!(holds || reply == Reply::GuardFails { check: 0 });
            let effect = Effect::none().check(check.clone());
            let reply = call(&pool, &[], IdMemory::PUBLIC, &mut head, &mut prepared(effect)).await;
            assert_eq!(reply == Reply::Written, holds, "{check:?}");
            let why = Objection::CheckFails { check: 0 };
            assert!(holds || reply == Reply::Refused(vec![Refusal { index: 0, why }]));
        }
    }

    #[tokio::test]
    async fn ids_are_known_for_as_many_events_as_promised_and_bounded_at_twice_as_many() {
        let redis = RedisServer::start().await;
        let pool = pool(&redis);
        let (mut head, mut entries) = (None, Vec::new());
        for _ in 0..20 {
            let mut entry = prepared(Effect::none());
            assert_eq!(call(&pool, &[], FEW, &mut head, &mut entry).await, Reply::Written);
            entries.push(entry);
            let newest = entries.len();
            for (back, entry) in entries.iter_mut().rev().take(3).enumerate() {
                let (seq, hash) = ((newest - 1 - back) as u64, entry.hash());
                let why = Objection::Duplicate { seq, hash };
                let reply = call(&pool, &[], FEW, &mut head, entry).await;
                assert_eq!(reply, Reply::Refused(vec![Refusal { index: 0, why }]));
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
            Reply::Written,
            "forgotten by then"
        );
    }

    #[tokio::test]
    async fn a_generation_of_ids_is_left_when_it_is_old() {
        let redis = RedisServer::start().await;
        let pool = pool(&redis);
        let (mut head, mut direct) = (None, redis.connection().await);
        let mut generations = Vec::new();
        let moves_on = async {
            while !generations.contains(&2) {
                assert_eq!(
                    call(&pool, &[], SHORT, &mut head, &mut prepared(Effect::none())).await,
                    Reply::Written
                );
                let stored: Vec<u8> = direct.get(keys::GENERATION).await.unwrap();
                generations.push(stored[7]);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), moves_on).await.expect("a new generation every 20 ms");
        assert_eq!(generations[0], 0);
        assert!(generations.is_sorted());
    }

    #[tokio::test]
    async fn a_moved_head_comes_back_with_the_hash_at_the_expected_one() {
        let redis = RedisServer::start().await;
        let pool = pool(&redis);
        let mut head = None;
        let mut first = prepared(Effect::none());
        call(&pool, &[], FEW, &mut head, &mut first).await;
        let behind = head;
        call(&pool, &[], FEW, &mut head, &mut prepared(Effect::none())).await;
        let mut late = behind;
        let reply = call(&pool, &[], FEW, &mut late, &mut prepared(Effect::none())).await;
        assert_eq!(reply, moved(Some(head), Some(first.hash())));
        let mut new = None;
        let reply = call(&pool, &[], FEW, &mut new, &mut prepared(Effect::none())).await;
        assert_eq!(reply, moved(Some(head), None));
    }

    #[tokio::test]
    async fn arguments_that_contradict_each_other_are_refused_before_anything_is_written() {
        let redis = RedisServer::start().await;
        let pool = pool(&redis);
        let good =
            ["", &"h".repeat(40), "0", "1", "1", "4096", "s:", "i:", "9", "9", "0", "0", "", "id", "element"];
        let spoilt = [
            (1, "short"),
            (3, "0"),
            (3, "2"),
            (4, "0"),
            (4, "2"),
            (5, "x"),
            (10, "1"),
            (11, "1"),
            (0, "head"),
        ];
        let call = |arguments: Vec<String>| {
            let mut call = SCRIPT.invoke().key("h").key("g").key("s:0");
            arguments.iter().for_each(|argument| call.push_arg(argument));
            call
        };
        for (at, bad) in spoilt {
            let mut arguments = good.map(str::to_owned).to_vec();
            arguments[at] = bad.to_owned();
            let refused = call(arguments).run::<Value>(&pool).await;
            assert!(matches!(refused, Err(Error::Server { .. })), "{at} {bad}: {refused:?}");
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
            let refused = call(arguments).run::<Value>(&pool).await;
            assert!(matches!(refused, Err(Error::Server { .. })), "{what}: {refused:?}");
        }
        let written: u64 = redis::cmd("DBSIZE").query_async(&mut redis.connection().await).await.unwrap();
        assert_eq!(written, 0);
        let reply = call(good.map(str::to_owned).to_vec()).run::<Value>(&pool).await.unwrap();
        assert_eq!(read(reply).unwrap(), Reply::Written, "what was spoilt had been good");
    }

    #[tokio::test]
    async fn a_key_of_another_type_is_seen_before_anything_is_written() {
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
            let why = Objection::WrongType { write: 1 };
            assert_eq!(reply, Reply::Refused(vec![Refusal { index: 0, why }]));
        }
        let written: u64 = redis::cmd("DBSIZE").query_async(&mut redis.connection().await).await.unwrap();
        assert_eq!(written, 1);
    }

    fn moved(head: Option<Option<Head>>, at_expected: Option<Hash>) -> Reply {
        Reply::HeadMoved(Found { head, at_expected, fault: None })
    }

    fn ints(values: &[i64]) -> Value {
        Value::Array(values.iter().copied().map(Value::Int).collect())
    }

    #[test]
    fn replies_are_read_as_the_script_documents_them() {
        assert_eq!(read(ints(&[0])).unwrap(), Reply::Written);
        assert_eq!(read(ints(&[1, 2])).unwrap(), Reply::GuardFails { check: 2 });
        for (kind, fault) in [
            (1, EndFault::Surplus { entries: 9 }),
            (2, EndFault::Missing { seq: 9 }),
            (3, EndFault::OtherHash { seq: 9 }),
            (4, EndFault::WrongType { number: 9 }),
        ] {
            assert_eq!(read(ints(&[4, kind, 9])).unwrap(), Reply::EndFault(fault));
        }
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let hash = Hash::from_bytes([8; 32]);
        let refused = [
            Refusal { index: 5, why: Objection::Duplicate { seq: 70, hash } },
            Refusal { index: 6, why: Objection::CheckFails { check: 1 } },
        ];
        let int = Value::Int;
        let parts = [int(3), int(5), int(0), int(70), bulk(&[8; 32]), int(6), int(2), int(1), bulk(b"")];
        assert_eq!(read(Value::Array(parts.to_vec())).unwrap(), Reply::Refused(refused.to_vec()));
        let absent = Value::Array(vec![int(2), bulk(b""), bulk(b""), int(-1), int(0)]);
        assert_eq!(read(absent).unwrap(), moved(Some(None), None));
        let rubbish = Value::Array(vec![int(2), bulk(b"rubbish"), bulk(&[7; 32]), int(0), int(0)]);
        assert_eq!(read(rubbish).unwrap(), moved(None, Some(Hash::from_bytes([7; 32]))));
        let surplus = Value::Array(vec![int(2), bulk(b""), bulk(b""), int(1), int(3)]);
        let fault = Some(EndFault::Surplus { entries: 3 });
        let found = Found { head: Some(None), at_expected: None, fault };
        assert_eq!(read(surplus).unwrap(), Reply::HeadMoved(found));
    }

    #[test]
    fn any_other_reply_is_an_error_and_not_a_guess() {
        for strange in [
            ints(&[]),
            ints(&[0, 0]),
            ints(&[3, 1, 0]),
            ints(&[3, 1, 2, 0, 0]),
            ints(&[1, -1]),
            ints(&[4, 0, 1]),
            Value::Okay,
        ] {
            assert!(matches!(read(strange), Err(Error::Reply { .. })));
        }
    }
}

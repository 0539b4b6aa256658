//! `lua/append.lua` as a typed call.

#[cfg(test)]
mod tests;

use crate::append::entry::PreparedEntry;
use crate::append::script_reply::AppendReply;
use crate::chain::end::CHAIN_END_LUA;
use crate::chain::head::{HEAD_LUA, Head};
use crate::effect::Effect;
use crate::effect::precondition::Precondition;
use crate::keys;
use redis_pool::{Invocation, PoolError, RedisPool, Script};
use std::sync::LazyLock;
use std::time::Duration;

/// Most entries of one call. Each adds two values to the longest argument list; Lua can unpack about 7,000.
pub(crate) const MAX_ENTRIES: usize = 2048;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    let functions = [HEAD_LUA, CHAIN_END_LUA];
    Script::new("audit-append", functions.concat() + include_str!("../lua/append.lua"))
});

/// How long ids are remembered to detect duplicates: for `events` events or for `time`, whichever is reached
/// first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdRetention {
    pub(crate) events: u32,
    pub(crate) time: Duration,
}

impl IdRetention {
    /// A million events or 24 hours (the public contract, docs/contract.md §8).
    pub(crate) const PUBLIC: Self = Self { events: 1_000_000, time: Duration::from_secs(86_400) };
}

/// Makes the call that writes `entries`, chained from `expected` to `new_head`, if the stored head is
/// `expected`.
///
/// `surplus` is the digest of the entries after the head that the call removes. If it is empty, none may be
/// there.
pub(crate) fn call(
    guard: &[Precondition],
    retention: IdRetention,
    expected: Option<Head>,
    new_head: Head,
    entries: &[&PreparedEntry],
    surplus: &str,
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
    let life = u64::try_from(retention.time.as_millis()).unwrap_or(u64::MAX);
    let mut call = call.arg(keys::SEGMENT_PREFIX).arg(keys::IDS_PREFIX).arg(retention.events).arg(life);
    call.push_arg(guard.len());
    call.push_arg(entries.iter().filter(|entry| !entry.effect().is_empty()).count());
    call.push_arg(surplus);
    guard.iter().for_each(|check| check.encode(|argument| call.push_arg(argument)));
    entries.iter().for_each(|entry| call.push_arg(&entry.id[..]));
    entries.iter().for_each(|entry| call.push_arg(entry.element()));
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.effect().is_empty()) {
        push_effect(&mut call, index, entry.effect());
    }
    call
}

fn push_effect(call: &mut Invocation<'_>, index: usize, effect: &Effect) {
    [index, effect.checks.len(), effect.writes.len()].iter().for_each(|number| call.push_arg(number));
    effect.checks.iter().for_each(|check| check.encode(|argument| call.push_arg(argument)));
    for write in &effect.writes {
        call.push_arg(write.arguments());
        write.encode(|argument| call.push_arg(argument));
    }
}

/// Sends a call and reads its reply.
///
/// # Errors
/// See [`redis_pool::PoolError`]. Whether the call was written is unknown where `maybe_applied` says so.
pub(crate) async fn send(call: Invocation<'_>, pool: &RedisPool) -> Result<AppendReply, PoolError> {
    AppendReply::read(call.run(pool).await?)
}

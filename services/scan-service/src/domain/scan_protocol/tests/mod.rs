//! The Lua functions of `lua/tag_scan.lua` against a private Redis.

use catalog::{Batch, Record as _};
use redis::Script;
use redis::aio::MultiplexedConnection;
use tag_id::{BatchNo, Epoch};
use time::macros::datetime;

use crate::domain::scan_protocol::codes::lua_constants;
use crate::domain::scan_protocol::scripts::TAG_SCAN_LUA;

mod counting;
mod oracle;
mod protocol;
mod records;

/// KEYS 1 state · ARGV 1 now (ms since 1970), which the test sets · 2 batch record · 3 whether the scan
/// counts, '1' or '0' · 4 the caller's mark of today · 5 its mark of yesterday · 6 the tag's revocation (''
/// for none)
const SCAN_AT: &str = "
local state, count, first_at, in_30, in_60, bits = tag_scan(tonumber(ARGV[1]), redis.call('GET', KEYS[1]),
  ARGV[6] ~= '' and ARGV[6], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5])
if state then redis.call('SET', KEYS[1], state) end
return { state or '', count, first_at, in_30, in_60, bits }";

/// The callers of these tests: the marks of today and of yesterday.
const ME: [&str; 2] = ["aaaaa", "bbbbb"];
const OTHER: [&str; 2] = ["ccccc", "ddddd"];

/// When the batch of these tests was minted, in ms since 1970: the time in its id.
const START: u64 = 1_771_243_200_000;
type Reply = (Vec<u8>, u32, u64, usize, usize, u8);

async fn scan(connection: &mut MultiplexedConnection, script: &Script, key: &str, now: u64) -> Reply {
    scan_as(connection, script, key, now, (true, ME, "")).await
}

async fn scan_as(
    connection: &mut MultiplexedConnection,
    script: &Script,
    key: &str,
    now: u64,
    (counts, [today, yesterday], revocation): (bool, [&str; 2], &str),
) -> Reply {
    let mut call = script.key(key);
    call.arg(now).arg(batch(7).encode(1)).arg(u8::from(counts)).arg(today).arg(yesterday).arg(revocation);
    call.invoke_async(connection).await.unwrap()
}

/// Returns a script that runs `main` after the constants and functions of the scan.
fn script(main: &str) -> Script {
    Script::new(&[&lua_constants(), TAG_SCAN_LUA, main].concat())
}

fn scan_at() -> Script {
    script(SCAN_AT)
}

/// Returns batch `number`: 10 tags of epoch 3, minted at [`START`].
fn batch(number: u32) -> Batch {
    let id = |number: u64| format!("019c6652-5e00-7000-8000-{number:012x}").parse().unwrap();
    Batch {
        id: id(u64::from(number)),
        tenant: "acme".to_owned(),
        batch_no: BatchNo::new(number).unwrap(),
        epoch: Epoch::new(3).unwrap(),
        size: 10,
        product_id: id(0xaa),
        label: None,
        manufactured_at: None,
        expires_at: None,
        created_at: datetime!(2026-02-16 12:00 UTC),
        revoked: None,
        recalled: None,
    }
}

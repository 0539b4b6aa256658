//! The two scan scripts, and the state checks that both share.

use std::sync::LazyLock;

use access::ACCESS_LUA;
use audit_chain::{AuditLog, HEAD_LUA};
use catalog::keys;
use rate_limiter::LUA_LIB;
use redis::Value;
use redis_pool::{Invocation, PoolError, PoolPermit, RedisPool, Script};
use storage::AuditWriter;

use crate::domain::scan_protocol::codes::lua_constants;
use crate::domain::scan_protocol::input::ScanInput;
use crate::domain::scan_protocol::reply::{ScanOutcome, ScanReply};

/// The Lua functions `scan_judge`, `scan_records`, `tag_scan`, `batch_holds`, `batch_lost` and
/// `is_deployment`.
pub(super) const TAG_SCAN_LUA: &str = include_str!("lua/tag_scan.lua");

static SCAN: LazyLock<Script> = LazyLock::new(|| {
    let main = include_str!("lua/scan.lua");
    Script::new("scan", [&lua_constants(), TAG_SCAN_LUA, HEAD_LUA, main].concat())
});

/// Limits and counts a batch of scans.
pub(super) static LIMITED_SCAN: LazyLock<Script> = LazyLock::new(|| {
    let main = include_str!("lua/limited_scan.lua");
    let functions = [LUA_LIB, &lua_constants(), TAG_SCAN_LUA, HEAD_LUA, ACCESS_LUA, main];
    Script::new("limited_scan", functions.concat())
});

/// Counts one scan that was limited elsewhere. `deployment` is the prefix of the deployment record.
///
/// # Errors
/// See [`PoolError`]; [`PoolError::Reply`] if the reply does not follow the protocol.
pub(crate) async fn count_scan(
    pool: &RedisPool,
    audit: &AuditWriter,
    permit: &PoolPermit,
    scan: &ScanInput,
    deployment: &str,
) -> Result<ScanOutcome, PoolError> {
    let mut call = SCAN.invoke();
    push_state_keys(&mut call);
    scan.push_keys(&mut call);
    push_state_args(&mut call, audit, deployment);
    scan.push_args(&mut call);
    let reply = ScanReply::read(call.run_with_permit(pool, permit, pool.command_timeout()).await?)?;
    observe_head(audit, reply.head);
    Ok(reply.outcome)
}

/// Adds the keys that show whether the state is that of this deployment: both scripts take them first.
pub(super) fn push_state_keys(call: &mut Invocation<'_>) {
    call.push_key(keys::DEPLOYMENT);
    call.push_key(audit_chain::keys::HEAD);
    call.push_key(keys::MINTED);
}

/// Adds the expected prefix of the deployment record and the fewest entries that the audit chain can have. A
/// chain with fewer entries belongs to an older copy of the state, which lacks revocations.
pub(super) fn push_state_args(call: &mut Invocation<'_>, audit: &AuditWriter, deployment: &str) {
    call.push_arg(deployment);
    call.push_arg(audit.seen_log().map_or(0, AuditLog::least_size));
}

/// Remembers the audit head that a script found.
pub(super) fn observe_head(audit: &AuditWriter, head: Option<Value>) {
    if let (Some(Value::BulkString(head)), Some(log)) = (head, audit.seen_log()) {
        log.observe(&head);
    }
}

//! The chain as it can be read: its head, and what this process knows of it.

use crate::chain::end::{CHAIN_END_LUA, ChainEnd, FoundEnd};
use crate::chain::hash::{Hash, genesis_prev};
use crate::chain::head::{HEAD_LUA, Head};
use crate::chain::memory::{HeadMemory, not_below};
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::reply;
use redis::Value;
use redis_pool::{RedisPool, Script};
use std::fmt;
use std::sync::{Arc, LazyLock};

static READ_END: LazyLock<Script> = LazyLock::new(|| {
    let functions = [HEAD_LUA, CHAIN_END_LUA];
    Script::new("audit-read-end", functions.concat() + include_str!("../lua/read_end.lua"))
});
static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-probe", include_str!("../lua/probe.lua")));

/// A handle for reading the chain. Cheap to clone; clones share the memory of the highest head seen.
///
/// Every read of the head is compared with that memory, so a Redis that lost state is reported as
/// [`ReadError::StateLost`] instead of being read as a shorter chain.
#[derive(Clone)]
pub struct AuditLog {
    pool: RedisPool,
    genesis: Hash,
    memory: Arc<HeadMemory>,
}

impl AuditLog {
    /// Makes a handle for the chain named `origin`, with a memory of its own. A process with an appender
    /// takes [`crate::Appender::log`] instead, which shares the appender's memory.
    #[must_use]
    pub fn new(pool: RedisPool, origin: &str) -> Self {
        Self { pool, genesis: genesis_prev(origin), memory: Arc::default() }
    }

    pub(crate) fn pool(&self) -> &RedisPool {
        &self.pool
    }

    pub(crate) fn memory(&self) -> &HeadMemory {
        &self.memory
    }

    /// Returns the head of the empty chain.
    pub(crate) fn genesis(&self) -> Head {
        Head { size: 0, hash: self.genesis }
    }

    /// Reads the head.
    ///
    /// # Errors
    /// [`ReadError::StateLost`] when it is lower than the highest head seen, or of another chain;
    /// [`ReadError::Redis`] when it cannot be read.
    pub async fn head(&self) -> Result<Head, ReadError> {
        Ok(self.end().await?.head)
    }

    /// Reads the head, and whether the entries end there. Entries before a faulty end can still be read.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub async fn end(&self) -> Result<ChainEnd, ReadError> {
        let (seen, least) = (self.memory.seen(), self.memory.least_size());
        let seen_size = seen.map_or(0, |head| head.size);
        let call =
            READ_END.invoke().key(keys::HEAD).arg(keys::SEGMENT_PREFIX).arg(SEGMENT_ENTRIES).arg(seen_size);
        let parts: Vec<Value> = call.run(&self.pool).await?;
        let found = FoundEnd::read(&parts)
            .ok_or_else(|| reply::unexpected("script audit-read-end", &Value::Array(parts)))?;
        not_below(least, found.head)?;
        let head = self.memory.accept(seen, found.head, found.hash_at_expected, found.fault)?;
        Ok(ChainEnd { head: head.unwrap_or(self.genesis()), fault: found.fault })
    }

    /// Returns the fewest entries that the chain can have. A script that uses [`crate::HEAD_LUA`] compares
    /// the stored head with it. Take the number before sending the script.
    #[must_use]
    pub fn least_size(&self) -> u64 {
        self.memory.least_size()
    }

    /// Remembers that the chain has at least one entry. From then on an absent head is a state loss.
    pub fn remember_begun(&self) {
        self.memory.observe(1);
    }

    /// Runs every command that appending uses, on keys that are deleted at once. Returns the first command
    /// that Redis rejects on this connection, with its error.
    ///
    /// Redis does not roll a script back, so a command that fails in the middle of an append would leave half
    /// of it. Probe before the first append.
    ///
    /// # Errors
    /// See [`redis_pool::PoolError`].
    pub async fn probe(&self) -> Result<Option<String>, redis_pool::PoolError> {
        let keys = [keys::probe("text"), keys::probe("list"), keys::probe("hash"), keys::probe("zset")];
        let call = keys.iter().fold(PROBE.invoke(), |call, key| call.key(key));
        let rejected: String = call.run(&self.pool).await?;
        Ok((!rejected.is_empty()).then_some(rejected))
    }

    /// Remembers the stored head that another script found. From then on a shorter chain is a state loss.
    pub fn observe(&self, head: &[u8]) {
        if let Some(head) = Head::from_bytes(head) {
            self.memory.observe_head(head);
        }
    }

    /// Remembers a head from another source, such as a file. From then on the chain must be at least as long
    /// and hold that entry.
    pub fn remember(&self, head: Head) {
        self.memory.raise(head);
    }

    /// Returns the highest head that is known with its hash, to be stored elsewhere.
    #[must_use]
    pub fn highest(&self) -> Option<Head> {
        self.memory.highest()
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("pool", &self.pool).field("seen", &self.memory.seen()).finish()
    }
}

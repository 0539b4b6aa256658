//! Records when keys were last used, to the minute. An authentication updates memory only; a task writes
//! about once a minute.
//!
//! Failures: a failed write is retried with the next one. A killed process loses up to a minute of updates.
//! If more than [`MAX_PENDING_KEYS`] keys are used between two writes, the others are dropped with a warning.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use ambient::entropy::jittered;
use parking_lot::Mutex;
use redis_pool::{PoolError, RedisPool, Script};

use crate::key::KeyId;
use crate::keys;

/// Maximum number of keys whose use is pending between two writes.
pub const MAX_PENDING_KEYS: usize = 10_000;
/// Pause between two writes, ± 20 %.
const FLUSH_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of keys in one script call.
const KEYS_PER_CALL: usize = 1_000;
const MINUTE_MS: u64 = 60_000;

static NOTE: LazyLock<Script> =
    LazyLock::new(|| Script::new("note_last_use", include_str!("lua/note_last_use.lua")));

/// The last uses that are not written yet. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct LastUse {
    pending: Arc<Mutex<PendingUses>>,
}

#[derive(Debug, Default)]
struct PendingUses {
    /// Unix minutes by key.
    minutes: HashMap<KeyId, u64>,
    dropped: u64,
}

impl PendingUses {
    fn note(&mut self, id: KeyId, minute: u64) {
        if let Some(latest) = self.minutes.get_mut(&id) {
            *latest = minute.max(*latest);
        } else if self.minutes.len() < MAX_PENDING_KEYS {
            self.minutes.insert(id, minute);
        } else {
            self.dropped += 1;
        }
    }
}

impl LastUse {
    /// Starts without pending uses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records in memory that a verified key was used at `unix_millis`.
    pub fn note(&self, id: &KeyId, unix_millis: u64) {
        self.pending.lock().note(*id, unix_millis / MINUTE_MS);
    }

    /// Writes the pending uses and returns the number of keys written.
    ///
    /// Writes nothing if the deployment record in Redis does not begin with `deployment_prefix`. The uses
    /// then stay pending, as they do on an error.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn flush(&self, pool: &RedisPool, deployment_prefix: &str) -> Result<usize, PoolError> {
        let PendingUses { minutes, dropped } = std::mem::take(&mut *self.pending.lock());
        if dropped > 0 {
            tracing::warn!(dropped, "last uses dropped, too many keys");
        }
        let taken: Vec<(KeyId, u64)> = minutes.into_iter().collect();
        let mut written = 0;
        for chunk in taken.chunks(KEYS_PER_CALL) {
            let mut call = NOTE.invoke().key(keys::LAST_USE).key(keys::DEPLOYMENT).arg(deployment_prefix);
            for (id, minute) in chunk {
                call.push_arg(id.as_str());
                call.push_arg(*minute);
            }
            let reply: Result<i64, PoolError> = call.run(pool).await;
            if !matches!(reply, Ok(1)) {
                self.put_back(&taken[written..]);
                return reply.map(|_| written);
            }
            written += chunk.len();
        }
        Ok(written)
    }

    /// Writes about once a minute; never returns. `deployment_prefix` returns the required prefix of the
    /// deployment record, `None` while it is unknown.
    pub async fn keep_flushing(&self, pool: &RedisPool, deployment_prefix: impl Fn() -> Option<String>) {
        loop {
            tokio::time::sleep(jittered(FLUSH_INTERVAL, 200)).await;
            let Some(prefix) = deployment_prefix() else { continue };
            match spans::in_job("write last uses", self.flush(pool, &prefix)).await {
                Ok(0) => {}
                Ok(keys) => tracing::debug!(keys, "last uses written"),
                Err(error) => {
                    tracing::warn!(%error, "last uses not written, retrying")
                }
            }
        }
    }

    fn put_back(&self, unwritten: &[(KeyId, u64)]) {
        let mut pending = self.pending.lock();
        for (id, minute) in unwritten {
            pending.note(*id, *minute);
        }
    }
}

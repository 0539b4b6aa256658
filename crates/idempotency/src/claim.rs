//! A claim: the right to execute a request while its lease is renewed.
//!
//! A claim whose lease has ended stays valid until another try takes it over. Each write checks that the
//! record still begins with the claim's fence, so the state in this process never decides.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit_chain::{Effect, Precondition, RedisWrite};
use redis_pool::{RedisPool, Script};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::answer::StoredResponse;
use crate::error::IdempotencyError;
use crate::namespace::{Fingerprint, RecordKey};
use crate::record::{self, Origin};

static COMPLETE: LazyLock<Script> =
    LazyLock::new(|| Script::new("idempotency-complete", include_str!("lua/complete.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new("idempotency-release", include_str!("lua/release.lua")));
static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new("idempotency-renew", include_str!("lua/renew.lua")));

/// Shortest interval between two renewals of a lease.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(10);

/// The right to execute a request. Cheap to clone; clones share one claim. A dropped claim ends with its
/// lease. Call [`Self::release`] if nothing was done, so that a retry need not wait.
#[derive(Debug, Clone)]
pub struct Claim(Arc<ClaimInner>);

#[derive(Debug)]
pub(crate) struct ClaimInner {
    pub(crate) pool: RedisPool,
    /// The Redis keys of the record and of the index that names it.
    pub(crate) record: String,
    pub(crate) index: String,
    pub(crate) key: RecordKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) token: u64,
    pub(crate) created_ms: u64,
    pub(crate) seed: [u8; 16],
    pub(crate) origin: Origin,
    pub(crate) lease: Duration,
    pub(crate) ttl: Duration,
    pub(crate) lost: AtomicBool,
}

/// Whether a write under a claim took effect. Each one checks that the record still begins with the claim's
/// fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ClaimWrite {
    /// The claim still held, and the write took effect.
    Applied,
    /// The claim was lost or is completed already. Nothing changed.
    NotHeld,
}

impl ClaimWrite {
    /// Returns whether the write took effect.
    #[must_use]
    pub fn is_applied(self) -> bool {
        self == Self::Applied
    }

    fn of_reply(written: i64) -> Self {
        if written == 1 { Self::Applied } else { Self::NotHeld }
    }
}

/// Renews the claim until this guard is dropped.
#[derive(Debug)]
#[must_use = "the claim is renewed only as long as this lives"]
pub struct KeepAlive(AbortHandle);

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Claim {
    pub(crate) fn new(inner: ClaimInner) -> Self {
        Self(Arc::new(inner))
    }

    /// Returns the key of the claimed record.
    #[must_use]
    pub fn record_key(&self) -> RecordKey {
        self.0.key
    }

    /// Returns the fencing token: 1, plus 1 for each takeover.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0.token
    }

    /// Returns when the request was first claimed, Unix ms by Redis's clock.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.0.created_ms
    }

    /// Returns who sent the first try.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Returns a version 7 UUID that is the same for every try of this request: its time is that of the first
    /// claim, its bits are a hash of namespace and `purpose`.
    #[must_use]
    pub fn id(&self, purpose: &str) -> Uuid {
        ambient::uuid_v7_from(self.0.created_ms, self.0.key.bits_for(purpose))
    }

    /// Returns 16 random bytes for the event's nonce, the same for every try of this request.
    #[must_use]
    pub fn nonce(&self) -> [u8; 16] {
        self.0.seed
    }

    /// Adds the completion of this claim to `effect`: a last precondition, that this claim still holds, and a
    /// write of the response for [`crate::IdempotencyConfig::ttl`]. If that precondition fails, another try
    /// holds the claim.
    ///
    /// # Errors
    /// [`IdempotencyError::AnswerTooLarge`].
    pub fn complete_in(&self, effect: Effect, answer: &StoredResponse) -> Result<Effect, IdempotencyError> {
        let key: Vec<u8> = self.0.record.clone().into();
        let value = self.done(answer)?;
        let is_ours = Precondition::Prefix { key: key.clone(), prefix: self.fence().into() };
        Ok(effect.check(is_ours).write(RedisWrite::SetFor { key, value, ttl: self.0.ttl }))
    }

    /// Stores the response of a request without an effect.
    ///
    /// # Errors
    /// See [`IdempotencyError`]. If only the reply was lost, the response is stored.
    pub async fn complete(&self, answer: &StoredResponse) -> Result<ClaimWrite, IdempotencyError> {
        let value = self.done(answer)?;
        let call = COMPLETE.invoke().key(&self.0.record).arg(&self.fence()[..]).arg(value);
        let kept: i64 = call.arg(millis(self.0.ttl)).run(&self.0.pool).await?;
        Ok(ClaimWrite::of_reply(kept))
    }

    /// Returns whether the stored response was written under this claim, not by a try that took the request
    /// over.
    ///
    /// # Errors
    /// See [`IdempotencyError`].
    pub async fn is_completed(&self) -> Result<bool, IdempotencyError> {
        let mut begin = redis::cmd("GETRANGE");
        begin.arg(&self.0.record).arg(0).arg(record::FENCE - 1);
        let begin = self.0.pool.command(begin).await?;
        let ours = record::completed(self.0.token, &self.0.seed);
        Ok(matches!(begin, redis::Value::BulkString(begin) if begin == ours))
    }

    /// Deletes the claim, so that the next try is executed.
    ///
    /// # Errors
    /// See [`IdempotencyError`]. The claim then ends with its lease.
    pub async fn release(&self) -> Result<ClaimWrite, IdempotencyError> {
        let call = RELEASE.invoke().key(&self.0.record).key(&self.0.index);
        let call = call.arg(&self.fence()[..]).arg(self.0.key.to_string());
        let released: i64 = call.run(&self.0.pool).await?;
        Ok(ClaimWrite::of_reply(released))
    }

    /// Renews the lease after each third of it, until the guard is dropped or the claim is completed or lost.
    /// A failed renewal is retried at the next third. Must be called inside a tokio runtime.
    pub fn keep_alive(&self) -> KeepAlive {
        let claim = self.clone();
        let pause = (self.0.lease / 3).max(SHORTEST_RENEWAL);
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                match spans::in_job("renew claim", claim.renew()).await {
                    Ok(ClaimWrite::Applied) => {}
                    Ok(ClaimWrite::NotHeld) => return,
                    Err(error) => tracing::debug!(%error, "claim not renewed, retrying"),
                }
            }
        });
        KeepAlive(renewing.abort_handle())
    }

    /// Renews the lease and the record's time to live. If the claim does not hold, [`Self::lost`] tells
    /// whether it was lost or completed.
    ///
    /// # Errors
    /// See [`IdempotencyError`].
    pub async fn renew(&self) -> Result<ClaimWrite, IdempotencyError> {
        let call = RENEW.invoke().key(&self.0.record).key(&self.0.index).arg(&self.fence()[..]);
        let call = call.arg(millis(self.0.lease)).arg(millis(self.0.ttl)).arg(self.0.key.to_string());
        let renewed: i64 = call.run(&self.0.pool).await?;
        if renewed == 0 {
            self.0.lost.store(true, Ordering::Release);
        }
        Ok(ClaimWrite::of_reply(renewed))
    }

    /// Returns whether a renewal found the claim taken over, released or expired. Continuing is pointless but
    /// harmless: the effect's precondition fails.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    fn fence(&self) -> [u8; record::FENCE] {
        record::fence(self.0.token, &self.0.seed)
    }

    fn done(&self, answer: &StoredResponse) -> Result<Vec<u8>, IdempotencyError> {
        record::done(self.0.token, &self.0.seed, &self.0.fingerprint, answer)
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

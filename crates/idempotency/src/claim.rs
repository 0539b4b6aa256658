//! A claim: the right to carry a request out, for as long as it is renewed.
//!
//! A claim whose lease has ended is still good until another try takes it over: what decides is whether the record still begins
//! with the claim's fence when something is to be written, never what this process believes.

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

/// How often a lease is renewed at most, however short it is.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(10);

/// The right to carry a request out. Cheap to clone; clones are the same claim. Dropping it leaves the claim to end with its
/// lease: whoever knows that nothing was done calls [`Self::release`].
#[derive(Debug, Clone)]
pub struct Claim(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
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

/// Renews the claim until it is dropped.
#[derive(Debug)]
#[must_use = "the claim is renewed only as long as this lives"]
pub struct KeepAlive(AbortHandle);

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Claim {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Which record this is the claim of.
    #[must_use]
    pub fn record_key(&self) -> RecordKey {
        self.0.key
    }

    /// 1, and one more each time the request is taken over.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0.token
    }

    /// When the request was first claimed, Unix ms by Redis's clock.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.0.created_ms
    }

    /// Who sent the request the first time.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// A version 7 UUID that every try of this request makes the same: the time is the claim's, the bits a hash of its
    /// namespace and `purpose`.
    #[must_use]
    pub fn id(&self, purpose: &str) -> Uuid {
        ambient::uuid_v7_from(self.0.created_ms, self.0.key.bits_for(purpose))
    }

    /// 16 random bytes that every try of this request has the same, for the event's nonce.
    #[must_use]
    pub fn nonce(&self) -> [u8; 16] {
        self.0.seed
    }

    /// `effect`, and with it the claim's completion: one more check, the last, that the claim is still this one, and one more
    /// write, the answer, kept for [`crate::IdempotencyConfig::ttl`] from then on. Where that last check fails, another try has the claim.
    ///
    /// # Errors
    /// [`IdempotencyError::AnswerTooLarge`].
    pub fn complete_in(&self, effect: Effect, answer: &StoredResponse) -> Result<Effect, IdempotencyError> {
        let key: Vec<u8> = self.0.record.clone().into();
        let value = self.done(answer)?;
        let is_ours = Precondition::Prefix { key: key.clone(), prefix: self.fence().into() };
        Ok(effect.check(is_ours).write(RedisWrite::SetFor { key, value, ttl: self.0.ttl }))
    }

    /// Completes a request that had no effect. False when the claim was lost, or is completed already.
    ///
    /// # Errors
    /// See [`IdempotencyError`]; where the reply was lost, the answer may be kept.
    pub async fn complete(&self, answer: &StoredResponse) -> Result<bool, IdempotencyError> {
        let value = self.done(answer)?;
        let call = COMPLETE.invoke().key(&self.0.record).arg(&self.fence()[..]).arg(value);
        let kept: i64 = call.arg(millis(self.0.ttl)).run(&self.0.pool).await?;
        Ok(kept == 1)
    }

    /// Whether the answer that is kept was put there under this claim, and not by a try that took the request over.
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

    /// Gives the claim back: nothing is left of the request, and the next try is carried out. False when the claim was lost, or
    /// is completed already; then nothing changes.
    ///
    /// # Errors
    /// See [`IdempotencyError`]. The claim then ends with its lease.
    pub async fn release(&self) -> Result<bool, IdempotencyError> {
        let call = RELEASE.invoke().key(&self.0.record).key(&self.0.index);
        let call = call.arg(&self.fence()[..]).arg(self.0.key.to_string());
        let released: i64 = call.run(&self.0.pool).await?;
        Ok(released == 1)
    }

    /// Renews the lease at every third of it, until the guard is dropped or there is nothing to renew any more. A renewal that
    /// fails is tried again at the next third. Must be called inside a tokio runtime.
    pub fn keep_alive(&self) -> KeepAlive {
        let claim = self.clone();
        let pause = (self.0.lease / 3).max(SHORTEST_RENEWAL);
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                match claim.renew().await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::debug!(%error, "a claim was not renewed this time"),
                }
            }
        });
        KeepAlive(renewing.abort_handle())
    }

    /// Renews the lease now, and with it the time until the record ends by itself. False when there is nothing to renew: the
    /// claim was completed, or it was lost, which [`Self::lost`] tells apart.
    ///
    /// # Errors
    /// See [`IdempotencyError`].
    pub async fn renew(&self) -> Result<bool, IdempotencyError> {
        let call = RENEW.invoke().key(&self.0.record).key(&self.0.index).arg(&self.fence()[..]);
        let call = call.arg(millis(self.0.lease)).arg(millis(self.0.ttl)).arg(self.0.key.to_string());
        let renewed: i64 = call.run(&self.0.pool).await?;
        if renewed == 0 {
            self.0.lost.store(true, Ordering::Release);
        }
        Ok(renewed == 1)
    }

    /// Whether a renewal found the claim taken over, released or expired. Work that goes on then is for nothing; it is also
    /// harmless, since its effect will be refused.
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

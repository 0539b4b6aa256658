//! Claiming a request: one script call, and a bounded wait for a try that is under way.

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ambient::entropy;
use redis::{FromRedisValue, Value};
use redis_pool::{RedisPool, Script};
use tokio::time::Instant;

use crate::answer::StoredResponse;
use crate::claim::{Claim, Inner, millis};
use crate::error::IdempotencyError;
use crate::keys;
use crate::namespace::{Fingerprint, Namespace};
use crate::record::{Origin, answer_in};

/// The first pause between two looks at a request that is under way, doubled until [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How far a pause is spread, in thousandths of it: a hundred repeats that came together do not come back together.
const PAUSE_JITTER: u16 = 300;

static CLAIM: LazyLock<Script> =
    LazyLock::new(|| Script::new("idempotency-claim", include_str!("lua/claim.lua")));

/// How long and how many.
#[derive(Debug, Clone)]
pub struct IdempotencyConfig {
    /// How long a claim lasts without being renewed. Whole milliseconds, at least one.
    pub lease: Duration,
    /// How long an answer is kept, from completion. A claim that is never completed ends as long after its last renewal, and
    /// until then can be taken over with the ids of its first try. Whole milliseconds, at least one.
    pub ttl: Duration,
    /// Records a tenant may have at a time, claims and answers together. A place may be held for up to a lease longer than its
    /// record lasts.
    pub keys_per_tenant: u32,
    /// How long [`Idempotency::claim_or_wait`] waits for the first try to end, looking included but for the last look.
    pub wait: Duration,
}

impl Default for IdempotencyConfig {
    /// 10 s, 24 h, 100,000, 2 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            ttl: Duration::from_secs(86_400),
            keys_per_tenant: 100_000,
            wait: Duration::from_secs(2),
        }
    }
}

/// How claiming ended.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The request is to be carried out now, for the first time or after a try that never ended. Nobody else has it until the
    /// lease ends.
    Fresh(Claim),
    /// It was carried out: this was the answer.
    Replay(StoredResponse),
    /// The key stands for another request.
    Reused,
    /// Another try is under way.
    InFlight {
        /// When its lease ends, unless it is renewed.
        retry_after: Duration,
    },
    /// The tenant has as many records as it may have.
    TooMany {
        /// When the oldest of them ends.
        retry_after: Duration,
    },
    /// The deployment record is gone or another.
    StateLost,
}

/// Claims requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pool: RedisPool,
    config: IdempotencyConfig,
}

impl Idempotency {
    /// In the durable Redis of `pool`.
    #[must_use]
    pub fn new(pool: RedisPool, config: IdempotencyConfig) -> Self {
        Self { pool, config }
    }

    /// How long an answer is kept.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.config.ttl
    }

    /// Claims a request, in one call. `deployment_prefix` is what the deployment record must begin with; `origin` is kept as the
    /// claim's, unless an earlier try left its own.
    ///
    /// # Errors
    /// See [`IdempotencyError`]; where the reply was lost, a claim may stand until its lease ends.
    pub async fn claim(
        &self,
        deployment_prefix: &str,
        namespace: &Namespace<'_>,
        fingerprint: Fingerprint,
        origin: Origin,
    ) -> Result<ClaimOutcome, IdempotencyError> {
        let key = namespace.record_key();
        let (record, index) = (keys::record(namespace.tenant, &key), keys::records_of(namespace.tenant));
        let seed: [u8; 16] = entropy::random_bytes();
        let call = CLAIM.invoke().key(&record).key(&index).key(keys::DEPLOYMENT).arg(deployment_prefix);
        let call = call.arg(&fingerprint.as_bytes()[..]).arg(&seed[..]).arg(origin.encode());
        let call = call.arg(millis(self.config.lease)).arg(millis(self.config.ttl));
        let call = call.arg(self.config.keys_per_tenant).arg(key.to_string());
        Ok(
            match call
                .run::<Vec<Value>>(&self.pool)
                .await
                .map_err(IdempotencyError::Redis)
                .and_then(Reply::read)?
            {
                Reply::Claimed { token, created_ms, seed, origin } => {
                    ClaimOutcome::Fresh(Claim::new(Inner {
                        pool: self.pool.clone(),
                        record,
                        index,
                        key,
                        fingerprint,
                        token,
                        created_ms,
                        seed,
                        origin,
                        lease: self.config.lease,
                        ttl: self.config.ttl,
                        lost: AtomicBool::new(false),
                    }))
                }
                Reply::Done(answer) => ClaimOutcome::Replay(answer),
                Reply::Reused => ClaimOutcome::Reused,
                Reply::InFlight(retry_after) => ClaimOutcome::InFlight { retry_after },
                Reply::TooMany(retry_after) => ClaimOutcome::TooMany { retry_after },
                Reply::StateLost => ClaimOutcome::StateLost,
            },
        )
    }

    /// As [`Self::claim`]; while another try is under way it is asked again, after 10 ms, then 20, 40, 80 and every 100, jittered,
    /// for [`IdempotencyConfig::wait`] at most. What it says last is what the last look found.
    ///
    /// # Errors
    /// See [`IdempotencyError`].
    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline of tokio's own timers, which a test's paused time moves too"
    )]
    pub async fn claim_or_wait(
        &self,
        deployment_prefix: &str,
        namespace: &Namespace<'_>,
        fingerprint: Fingerprint,
        origin: Origin,
    ) -> Result<ClaimOutcome, IdempotencyError> {
        let deadline = Instant::now() + self.config.wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let claimed = self.claim(deployment_prefix, namespace, fingerprint, origin.clone()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(claimed, ClaimOutcome::InFlight { .. }) || left.is_zero() {
                return Ok(claimed);
            }
            tokio::time::sleep(entropy::jittered(pause, PAUSE_JITTER).min(left)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// What `claim.lua` replies.
enum Reply {
    Claimed { token: u64, created_ms: u64, seed: [u8; 16], origin: Origin },
    Done(StoredResponse),
    Reused,
    InFlight(Duration),
    TooMany(Duration),
    StateLost,
}

impl Reply {
    fn read(words: Vec<Value>) -> Result<Self, IdempotencyError> {
        let mut words = words.into_iter();
        let code: i64 = word(&mut words)?;
        Ok(match code {
            0 => {
                let (token, created_ms): (u64, u64) = (word(&mut words)?, word(&mut words)?);
                let (seed, origin): (Vec<u8>, Vec<u8>) = (word(&mut words)?, word(&mut words)?);
                let seed = seed.try_into().map_err(|_| IdempotencyError::Damaged("its seed is cut short"))?;
                Self::Claimed { token, created_ms, seed, origin: Origin::decode(&origin)? }
            }
            1 => Self::Done(answer_in(&word::<Vec<u8>>(&mut words)?)?),
            2 => Self::Reused,
            3 => Self::InFlight(Duration::from_millis(word(&mut words)?)),
            4 => Self::TooMany(Duration::from_millis(word(&mut words)?)),
            5 => Self::StateLost,
            6 => return Err(IdempotencyError::Damaged("it begins like neither a claim nor an answer")),
            other => return Err(misshapen(format!("unknown code {other}"))),
        })
    }
}

fn word<T: FromRedisValue>(words: &mut impl Iterator<Item = Value>) -> Result<T, IdempotencyError> {
    let value = words.next().ok_or_else(|| misshapen("a word is missing".to_owned()))?;
    redis::from_redis_value(value).map_err(|error| misshapen(error.to_string()))
}

fn misshapen(what: String) -> IdempotencyError {
    IdempotencyError::Redis(redis_pool::Error::Reply { what: format!("script idempotency-claim: {what}") })
}

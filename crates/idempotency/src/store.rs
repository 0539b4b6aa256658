//! Claims a request in one script call, and waits for a bounded time while another try is executed.

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ambient::entropy;
use redis::{FromRedisValue, Value};
use redis_pool::{RedisPool, Script};
use tokio::time::Instant;

use crate::answer::StoredResponse;
use crate::claim::{Claim, ClaimInner, millis};
use crate::error::IdempotencyError;
use crate::keys;
use crate::metrics::IdempotencyMetrics;
use crate::namespace::{Fingerprint, Namespace};
use crate::outcome::{ClaimOutcome, ClaimRejection};
use crate::record::{Origin, response_in};

/// First pause before an in-flight request is checked again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Jitter of a pause, in thousandths. It spreads retries that arrived together.
const PAUSE_JITTER: u16 = 300;

static CLAIM: LazyLock<Script> =
    LazyLock::new(|| Script::new("idempotency-claim", include_str!("lua/claim.lua")));

/// Durations and bounds of idempotent requests.
#[derive(Debug, Clone)]
pub struct IdempotencyConfig {
    /// How long a claim lasts without renewal. Whole milliseconds, at least one.
    pub lease: Duration,
    /// How long a response is stored after completion. A claim that is never completed ends this long after
    /// its last renewal; until then another try can take it over with the same ids. Whole milliseconds, at
    /// least one.
    pub ttl: Duration,
    /// Records per tenant, claims and responses together. A record may count for up to one lease after it has
    /// ended.
    pub keys_per_tenant: u32,
    /// How long [`Idempotency::claim_or_wait`] waits for another try to end, not counting the last attempt.
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

/// Claims requests in the durable Redis. Cheap to clone.
///
/// ```
/// # use std::{num::NonZeroUsize, sync::Arc, time::Duration};
/// # use redis_pool::{PoolMetrics, RedisPool};
/// use idempotency::{ClaimOutcome, Fingerprint, Idempotency, IdempotencyConfig};
/// use idempotency::{IdempotencyKey, Namespace, Origin, StoredResponse};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let redis = test_support::RedisServer::start().await;
/// # let mut connection = redis.connection().await;
/// # let set = redis::AsyncCommands::set(&mut connection, "vt1:deployment", "{\"id\":\"d\"}");
/// # let () = set.await.unwrap();
/// # let pool = RedisPool::new(
/// #     redis_pool::PoolConfig {
/// #         name: "doc",
/// #         url: redis.url().parse().unwrap(),
/// #         permits: NonZeroUsize::MIN,
/// #         connections: NonZeroUsize::MIN,
/// #         wait: Duration::from_secs(20),
/// #         command_timeout: Duration::from_secs(20),
/// #         open_for: redis_pool::OPEN_FOR,
/// #     },
/// #     Arc::new(ambient::SystemClock::new()),
/// #     &PoolMetrics::default(),
/// # );
/// let requests = Idempotency::new(pool, IdempotencyConfig::default());
/// let key = IdempotencyKey::parse(&[b"order-17"]).unwrap().unwrap();
/// let (tenant, method, template) = ("acme", "POST", "/v1/batches");
/// let namespace = Namespace { tenant, method, template, params: &[], key: &key };
/// let fingerprint = Fingerprint::of("POST", "/v1/batches", b"application/json", b"{}");
/// let origin = Origin { actor: "key/a".into(), request_id: "r".into(), ip: None };
/// let claim = || requests.claim_or_wait("{\"id\":\"d\"", &namespace, fingerprint, origin.clone());
///
/// let ClaimOutcome::Claimed(first) = claim().await.unwrap() else { panic!("the key is new") };
/// let body = b"{}".to_vec();
/// let response = StoredResponse { status: 201, content_type: None, location: None, etag: None, body };
/// assert!(first.complete(&response).await.unwrap().is_applied());
/// assert!(matches!(claim().await.unwrap(), ClaimOutcome::Replay(again) if again == response));
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Idempotency {
    pool: RedisPool,
    config: IdempotencyConfig,
    metrics: IdempotencyMetrics,
}

impl Idempotency {
    /// Claims requests in the durable Redis of `pool`.
    #[must_use]
    pub fn new(pool: RedisPool, config: IdempotencyConfig) -> Self {
        Self { pool, config, metrics: IdempotencyMetrics::default() }
    }

    /// Counts the outcomes of [`Self::claim_or_wait`] in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: IdempotencyMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Returns how long a response is stored.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.config.ttl
    }

    /// Claims a request with one script call. `deployment_prefix` is the required prefix of the deployment
    /// record. `origin` is stored with the claim unless an earlier try stored its own.
    ///
    /// # Errors
    /// See [`IdempotencyError`]. If only the reply was lost, the claim blocks the request until its lease
    /// ends.
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
                    ClaimOutcome::Claimed(Claim::new(ClaimInner {
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
                Reply::Done(response) => ClaimOutcome::Replay(response),
                Reply::Rejected(rejection) => ClaimOutcome::Rejected(rejection),
            },
        )
    }

    /// Like [`Self::claim`], but retries while another try is in flight: after 10, 20, 40, 80 ms and then
    /// every 100 ms, jittered, for at most [`IdempotencyConfig::wait`]. Returns the outcome of the last
    /// attempt.
    ///
    /// # Errors
    /// See [`IdempotencyError`].
    pub async fn claim_or_wait(
        &self,
        deployment_prefix: &str,
        namespace: &Namespace<'_>,
        fingerprint: Fingerprint,
        origin: Origin,
    ) -> Result<ClaimOutcome, IdempotencyError> {
        let outcome = self.keep_claiming(deployment_prefix, namespace, fingerprint, origin).await;
        self.metrics.count(&outcome);
        outcome
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a deadline of tokio's own timers, which a test's paused time moves too"
    )]
    async fn keep_claiming(
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
            if !matches!(claimed, ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })) || left.is_zero() {
                return Ok(claimed);
            }
            tokio::time::sleep(entropy::jittered(pause, PAUSE_JITTER).min(left)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// The parsed reply of `claim.lua`.
enum Reply {
    Claimed { token: u64, created_ms: u64, seed: [u8; 16], origin: Origin },
    Done(StoredResponse),
    Rejected(ClaimRejection),
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
            1 => Self::Done(response_in(&word::<Vec<u8>>(&mut words)?)?),
            2 => Self::Rejected(ClaimRejection::KeyReused),
            3 => Self::Rejected(ClaimRejection::InFlight { retry_after: millis_in(&mut words)? }),
            4 => Self::Rejected(ClaimRejection::TooManyRecords { retry_after: millis_in(&mut words)? }),
            5 => Self::Rejected(ClaimRejection::StateLost),
            6 => return Err(IdempotencyError::Damaged("it begins like neither a claim nor an answer")),
            other => return Err(misshapen(format!("unknown code {other}"))),
        })
    }
}

fn word<T: FromRedisValue>(words: &mut impl Iterator<Item = Value>) -> Result<T, IdempotencyError> {
    let value = words.next().ok_or_else(|| misshapen("a word is missing".to_owned()))?;
    redis::from_redis_value(value).map_err(|error| misshapen(error.to_string()))
}

fn millis_in(words: &mut impl Iterator<Item = Value>) -> Result<Duration, IdempotencyError> {
    word(words).map(Duration::from_millis)
}

fn misshapen(what: String) -> IdempotencyError {
    IdempotencyError::Redis(redis_pool::PoolError::Reply {
        what: format!("script idempotency-claim: {what}"),
    })
}

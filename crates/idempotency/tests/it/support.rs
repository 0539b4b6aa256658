//! A Redis with a deployment record, and requests to claim.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use idempotency::{
    Claim, ClaimOutcome, ClaimRejection, Fingerprint, Idempotency, IdempotencyConfig, IdempotencyKey,
    Namespace, Origin, StoredResponse, keys,
};
use redis::AsyncCommands;
use redis_pool::{PoolMetrics, RedisPool};
use test_support::RedisServer;

pub(crate) const PREFIX: &str = "{\"id\":\"d\"";

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

pub(crate) struct Shop {
    pub(crate) redis: RedisServer,
    pub(crate) pool: RedisPool,
    pub(crate) requests: Idempotency,
}

/// Leases end soon, so that a test can outlive one.
pub(crate) fn soon() -> IdempotencyConfig {
    IdempotencyConfig {
        lease: Duration::from_millis(100),
        wait: Duration::from_millis(50),
        ..IdempotencyConfig::default()
    }
}

/// As a service has it, but that a repeat does not wait.
pub(crate) fn usual() -> IdempotencyConfig {
    IdempotencyConfig { wait: Duration::ZERO, ..IdempotencyConfig::default() }
}

pub(crate) fn pool(url: &str, command_timeout: Duration) -> RedisPool {
    let config = redis_pool::PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(200).unwrap(),
        connections: NonZeroUsize::new(2).unwrap(),
        wait: PATIENT,
        command_timeout,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

impl Shop {
    pub(crate) async fn open(config: IdempotencyConfig) -> Self {
        let redis = RedisServer::start().await;
        let () = redis.connection().await.set("vt1:deployment", format!("{PREFIX}}}")).await.unwrap();
        let pool = pool(&redis.url(), PATIENT);
        Self { requests: Idempotency::new(pool.clone(), config), redis, pool }
    }

    /// Where `name`'s record is.
    pub(crate) fn record(&self, name: &str) -> String {
        let key = key(name);
        let namespace =
            Namespace { tenant: "acme", method: "POST", template: "/v1/batches", params: &[], key: &key };
        keys::record("acme", &namespace.record_key())
    }

    /// How long a Redis key lasts.
    pub(crate) async fn pttl(&self, key: &str) -> Duration {
        let ms: i64 = self.redis.connection().await.pttl(key).await.unwrap();
        Duration::from_millis(ms.try_into().expect("the key is there and ends by itself"))
    }

    pub(crate) async fn claim(&self, name: &str) -> ClaimOutcome {
        self.claim_as("acme", "/v1/batches", &[], name, "body").await
    }

    pub(crate) async fn claim_as(
        &self,
        tenant: &str,
        template: &str,
        params: &[(&str, &str)],
        name: &str,
        body: &str,
    ) -> ClaimOutcome {
        let key = key(name);
        let namespace = Namespace { tenant, method: "POST", template, params, key: &key };
        self.requests.claim_or_wait(PREFIX, &namespace, fingerprint(body), origin("first")).await.unwrap()
    }

    /// Granted once nobody else has it, to a try of this request id.
    pub(crate) async fn claim_from(&self, name: &str, request_id: &str) -> Claim {
        let key = key(name);
        let namespace =
            Namespace { tenant: "acme", method: "POST", template: "/v1/batches", params: &[], key: &key };
        let asking = async {
            loop {
                let asked =
                    self.requests.claim_or_wait(PREFIX, &namespace, fingerprint("body"), origin(request_id));
                if let ClaimOutcome::Claimed(claim) = asked.await.unwrap() {
                    return claim;
                }
            }
        };
        tokio::time::timeout(PATIENT, asking).await.expect("granted in time")
    }

    /// A claim that must be granted.
    pub(crate) async fn fresh(&self, name: &str) -> Claim {
        granted(self.claim(name).await)
    }

    /// Granted once the lease of the one before, or its record, has ended.
    pub(crate) async fn granted_in_time(&self, name: &str) -> Claim {
        let asking = async {
            loop {
                match self.claim(name).await {
                    ClaimOutcome::Claimed(claim) => return claim,
                    ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })
                    | ClaimOutcome::Replay(_)
                    | ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { .. }) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENT, asking).await.expect("granted in time")
    }
}

#[track_caller]
pub(crate) fn granted(claimed: ClaimOutcome) -> Claim {
    match claimed {
        ClaimOutcome::Claimed(claim) => claim,
        other => panic!("not granted: {other:?}"),
    }
}

pub(crate) fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::parse(&[name.as_bytes()]).unwrap().unwrap()
}

pub(crate) fn fingerprint(body: &str) -> Fingerprint {
    Fingerprint::of("POST", "/v1/batches", b"application/json", body.as_bytes())
}

pub(crate) fn origin(request_id: &str) -> Origin {
    Origin { actor: "key/a".to_owned(), request_id: request_id.to_owned(), ip: None }
}

pub(crate) fn answer(body: &str) -> StoredResponse {
    StoredResponse {
        status: 201,
        content_type: Some("application/json".to_owned()),
        location: Some("/v1/batches/1".to_owned()),
        etag: None,
        body: body.into(),
    }
}

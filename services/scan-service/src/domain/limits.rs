//! Who may ask how often, and in how many round trips that is found out.
//!
//! | set-up | a scan costs |
//! | --- | --- |
//! | limiter in the durable Redis, no global limit | one script: limit and scan together |
//! | limiter in a Redis of its own, or a global limit | the limiters first ([`RegionalGlobalLimiter::decide`]), then the scan |

use std::time::Duration;

use access::KeyId;
use catalog::Deployment;
use rate_limiter::{
    Decision, Denial, Dimension, DimensionName, Limiter, Quota, RegionalGlobalLimiter, Report, Status,
};
use redis_pool::{PoolError, PoolPermit};

/// The limits of the service.
pub(crate) struct Limits {
    regional_global: RegionalGlobalLimiter,
    per_ip: Quota,
    per_key: Quota,
    one_round_trip: bool,
}

/// What a request is counted by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The client's address, as the limiter takes it.
    Address(&'a str),
    /// A verified partner key.
    Key(&'a KeyId),
}

/// What the limiter said, where it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas(Vec<Status>);

impl Quotas {
    pub(crate) fn of(report: &Report) -> Self {
        Self(report.statuses.clone())
    }

    /// Each quota as it stands after this request.
    pub(crate) fn statuses(&self) -> &[Status] {
        &self.0
    }
}

/// What a request that only spends quota is told.
pub(crate) enum Spent {
    Yes(Quotas),
    No { retry_after: Duration, quotas: Quotas },
}

impl Limits {
    /// `same_redis`: whether the limiter's Redis is the durable one.
    pub(crate) fn new(
        regional_global: RegionalGlobalLimiter,
        per_ip: Quota,
        per_key: Quota,
        same_redis: bool,
    ) -> Self {
        let one_round_trip = same_redis && !regional_global.has_global();
        Self { regional_global, per_ip, per_key, one_round_trip }
    }

    /// Whether limit and scan can be one call.
    pub(crate) fn one_round_trip(&self) -> bool {
        self.one_round_trip
    }

    pub(crate) fn regional(&self) -> &Limiter {
        self.regional_global.regional()
    }

    /// Tells the regional limiter when the deployment was created: a region's birth before that is none.
    pub(crate) fn see(&self, deployment: &Deployment) {
        self.regional().deployment_created(deployment.created_ms());
    }

    /// Every limit as configured.
    pub(crate) fn quotas(&self) -> [(DimensionName, Quota); 2] {
        [(DimensionName::Ip, self.per_ip), (DimensionName::Key, self.per_key)]
    }

    /// The dimensions a request is held to: one.
    pub(crate) fn dimensions<'a>(&self, subject: Subject<'a>) -> [Dimension<'a>; 1] {
        [match subject {
            Subject::Address(subject) => Dimension { name: DimensionName::Ip, subject, quota: self.per_ip },
            Subject::Key(id) => {
                Dimension { name: DimensionName::Key, subject: id.as_str(), quota: self.per_key }
            }
        }]
    }

    /// The denial of a caller that is still in force, answered from memory: the limiter said when it may come back. `proof` as in
    /// [`Self::remember`].
    pub(crate) fn remembered(&self, subject: Subject<'_>, proof: &[u8]) -> Option<(Duration, Quotas)> {
        let [Dimension { name, subject, .. }] = self.dimensions(subject);
        let Denial { retry_after, statuses } = self.regional_global.remembered(name, subject, proof)?;
        Some((retry_after, Quotas(statuses)))
    }

    /// Remembers `decision` if it is a denial. `proof` is the digest of a verified key, so that nobody who only knows its id is taken
    /// for it, and empty for an address; `sent` is [`Self::now`] before the limiter was asked.
    pub(crate) fn remember(&self, subject: Subject<'_>, proof: &[u8], decision: &Decision, sent: Duration) {
        let [dimension] = self.dimensions(subject);
        self.regional_global.remember(&dimension, proof, decision, sent);
    }

    /// The monotonic time of [`Self::remember`].
    pub(crate) fn now(&self) -> Duration {
        self.regional_global.now()
    }

    /// Asks for one request's worth of the subject's quota. `held` is a permit of the durable Redis, which may be the limiter's too;
    /// `proof` as in [`Self::remember`].
    pub(crate) async fn spend(
        &self,
        subject: Subject<'_>,
        proof: &[u8],
        held: &PoolPermit,
    ) -> Result<Spent, PoolError> {
        let sent = self.now();
        let decision = self.regional_global.decide_with_permit(&self.dimensions(subject), Some(held)).await?;
        self.remember(subject, proof, &decision, sent);
        let quotas = Quotas::of(decision.report());
        Ok(match decision {
            Decision::Allowed { .. } => Spent::Yes(quotas),
            Decision::Denied { retry_after, .. } => Spent::No { retry_after, quotas },
        })
    }
}

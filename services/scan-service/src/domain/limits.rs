//! The quotas of callers, and the number of round trips that a limited scan needs.
//!
//! | configuration | round trips of a scan |
//! | --- | --- |
//! | limiter in the durable Redis, no global limit | one script that limits and counts |
//! | a separate limiter Redis, or a global limit | [`RegionalGlobalLimiter::decide`], then the scan |

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

/// The owner of the quota that a request is charged to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The client's IPv4 address or IPv6 /64.
    Address(&'a str),
    /// A verified partner key.
    Key(&'a KeyId),
}

/// The quotas of a request's subject; empty if no limit was checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas(Vec<Status>);

impl Quotas {
    pub(crate) fn of(report: &Report) -> Self {
        Self(report.statuses.clone())
    }

    /// Returns each quota, with what remains after this request.
    pub(crate) fn statuses(&self) -> &[Status] {
        &self.0
    }
}

/// Whether a request may proceed, with the quotas after it.
pub(crate) enum Spent {
    Yes(Quotas),
    No { retry_after: Duration, quotas: Quotas },
}

impl Limits {
    /// `same_redis`: whether the limiter uses the durable Redis.
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

    /// Tells the regional limiter when the deployment was created. It ignores an earlier birth of the region.
    pub(crate) fn note_deployment(&self, deployment: &Deployment) {
        self.regional().deployment_created(deployment.created_ms());
    }

    /// Returns the full quota of every dimension.
    pub(crate) fn quotas(&self) -> [(DimensionName, Quota); 2] {
        [(DimensionName::Ip, self.per_ip), (DimensionName::Key, self.per_key)]
    }

    /// Returns the one dimension in which a request of `subject` is limited.
    pub(crate) fn dimensions<'a>(&self, subject: Subject<'a>) -> [Dimension<'a>; 1] {
        [match subject {
            Subject::Address(subject) => Dimension { name: DimensionName::Ip, subject, quota: self.per_ip },
            Subject::Key(id) => {
                Dimension { name: DimensionName::Key, subject: id.as_str(), quota: self.per_key }
            }
        }]
    }

    /// Returns the remembered denial of a caller, if the time to retry has not come yet. `proof` is that of
    /// [`Self::remember`].
    pub(crate) fn remembered(&self, subject: Subject<'_>, proof: &[u8]) -> Option<(Duration, Quotas)> {
        let [Dimension { name, subject, .. }] = self.dimensions(subject);
        let Denial { retry_after, statuses } = self.regional_global.remembered(name, subject, proof)?;
        Some((retry_after, Quotas(statuses)))
    }

    /// Remembers `decision` if it is a denial. `proof` is the digest of a verified key, so that a caller who
    /// knows only the key's id does not share its denial. It is empty for an address. `sent` is [`Self::now`]
    /// before the call of the limiter.
    pub(crate) fn remember(&self, subject: Subject<'_>, proof: &[u8], decision: &Decision, sent: Duration) {
        let [dimension] = self.dimensions(subject);
        self.regional_global.remember(&dimension, proof, decision, sent);
    }

    /// Returns the monotonic time for [`Self::remember`].
    pub(crate) fn now(&self) -> Duration {
        self.regional_global.now()
    }

    /// Charges one request to the subject's quota. `held` is a permit of the durable Redis, which may also be
    /// the limiter's. `proof` is that of [`Self::remember`].
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

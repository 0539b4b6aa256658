//! Asks the limiters in order: first the region's, then the global one. A global denial gives the region's
//! units back.
//!
//! | what fails | decision |
//! | --- | --- |
//! | the region's Redis | [`OnRedisDown::Closed`]: the error; [`OnRedisDown::Local`]: the in-process limit |
//! | a permit for the region's Redis | the error: this process is busy, and Redis is available |
//! | the global Redis | the region's decision, see [`GlobalLimiter::ask`] |
//! | the region's Redis at a refund | the denial; the units stay used until they leave their window |

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use redis_pool::{PoolError, PoolPermit};

use crate::decision::{Decision, Report, Reservation};
use crate::denied::{Denial, DeniedCache};
use crate::global::GlobalLimiter;
use crate::limiter::Limiter;
use crate::local::LocalLimiter;
use crate::log_gate::LogGate;
use crate::metrics::LimiterMetrics;
use crate::quota::{Dimension, DimensionName, Invalid};

/// What happens while the limiter's Redis is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRedisDown {
    /// Requests fail with the error.
    #[default]
    Closed,
    /// This process limits by itself.
    Local,
}

impl FromStr for OnRedisDown {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "closed" => Ok(Self::Closed),
            "local" => Ok(Self::Local),
            _ => Err(Invalid::OnRedisDown),
        }
    }
}

/// The limiters of a service, asked in order.
pub struct RegionalGlobalLimiter {
    regional: Limiter,
    global: Option<GlobalLimiter>,
    local: Option<LocalLimiter>,
    denied: DeniedCache,
    metrics: LimiterMetrics,
    clock: Arc<dyn Clock>,
    gate: LogGate,
}

/// Which limiter counted the units of an allowed request.
#[derive(Clone, Copy)]
enum Counted<'a> {
    InRegion,
    Here(&'a LocalLimiter),
}

impl RegionalGlobalLimiter {
    /// Asks `regional`, then `global` if there is one. `on_redis_down` applies while the region's Redis is
    /// unavailable.
    #[must_use]
    pub fn new(
        regional: Limiter,
        global: Option<GlobalLimiter>,
        on_redis_down: OnRedisDown,
        metrics: LimiterMetrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let factor = regional.cold_start().factor();
        let local = (on_redis_down == OnRedisDown::Local).then(|| LocalLimiter::new(factor));
        let denied = DeniedCache::default();
        Self { regional, global, local, denied, metrics, clock, gate: LogGate::default() }
    }

    /// Decides on one request. The global limit counts it in the first of `dimensions`.
    ///
    /// # Errors
    /// Those of [`Limiter::decide`], except [`PoolError::Unavailable`] with [`OnRedisDown::Local`].
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub async fn decide(&self, dimensions: &[Dimension<'_>]) -> Result<Decision, PoolError> {
        self.decide_with_permit(dimensions, None).await
    }

    /// Decides like [`Self::decide`]. `held` is a permit that the caller already holds; it is used if it
    /// belongs to the regional limiter's pool.
    ///
    /// # Errors
    /// As [`Self::decide`].
    ///
    /// # Panics
    /// As [`Self::decide`].
    pub async fn decide_with_permit(
        &self,
        dimensions: &[Dimension<'_>],
        held: Option<&PoolPermit>,
    ) -> Result<Decision, PoolError> {
        let (decision, counted) =
            match (self.regional.decide_with_permit(dimensions, held).await, &self.local) {
                (Err(error @ PoolError::Unavailable { .. }), Some(local)) => {
                    (self.decide_here(local, &error, dimensions), Counted::Here(local))
                }
                (answer, _) => (answer?, Counted::InRegion),
            };
        Ok(self.confirm(decision, counted, dimensions, held).await)
    }

    /// Returns the caller's remembered denial if it is in force, and counts it. `proof` is the digest of a
    /// partner's key, and empty for an address.
    #[must_use]
    pub fn remembered(&self, name: DimensionName, subject: &str, proof: &[u8]) -> Option<Denial> {
        let (now, born) = (self.clock.monotonic(), self.regional.births_seen());
        let denial = self.denied.get(name, subject, proof, now, born)?;
        self.metrics.count_remembered(name.as_str(), &denial.statuses);
        Some(denial)
    }

    /// Remembers `decision` if it is a denial. `sent` is as in [`DeniedCache::put`].
    pub fn remember(&self, dimension: &Dimension<'_>, proof: &[u8], decision: &Decision, sent: Duration) {
        self.denied.put(dimension, proof, decision, sent, self.has_global());
    }

    /// Returns the monotonic time for [`Self::remember`].
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Returns the region's limiter, for a script that limits among other things. Such a script may act on
    /// the decision only if [`Self::has_global`] is false: otherwise the global limit has to be asked first.
    #[must_use]
    pub fn regional(&self) -> &Limiter {
        &self.regional
    }

    /// Returns whether there is a global limit.
    #[must_use]
    pub fn has_global(&self) -> bool {
        self.global.is_some()
    }

    fn decide_here(&self, local: &LocalLimiter, error: &PoolError, dimensions: &[Dimension<'_>]) -> Decision {
        let now = self.clock.monotonic();
        if let Some(withheld) = self.gate.pass(now) {
            tracing::warn!(%error, withheld, "rate limiter: redis unavailable, limiting in process");
        }
        let decision = local.decide(dimensions, now);
        self.metrics.count(&decision);
        decision
    }

    /// Asks the global limit about a request that is allowed so far, and refunds it if the global limit
    /// denies it.
    async fn confirm(
        &self,
        decision: Decision,
        counted: Counted<'_>,
        dimensions: &[Dimension<'_>],
        held: Option<&PoolPermit>,
    ) -> Decision {
        let (Some(global), Some(first), true) = (&self.global, dimensions.first(), decision.is_allowed())
        else {
            return decision;
        };
        let Decision::Allowed { reservation, mut report } = decision else { return decision };
        match global.ask(first).await {
            None => Decision::Allowed { reservation, report },
            Some(Decision::Allowed { report: global, .. }) => {
                report.statuses.extend(global.statuses);
                Decision::Allowed { reservation, report }
            }
            Some(Decision::Denied { retry_after, report: global }) => {
                if self.refund(reservation, counted, dimensions, held).await {
                    self.show_refund(&mut report);
                }
                // Where the refund failed, a dimension may now be the one that has to be waited for.
                let used_up = report.statuses.iter().filter(|status| status.remaining == 0);
                let retry_after = used_up.filter_map(|status| status.reset_after).fold(retry_after, Ord::max);
                report.statuses.extend(global.statuses);
                Decision::Denied { retry_after, report }
            }
        }
    }

    /// One more is left in every dimension. When its next comes changes only where nothing is held any more:
    /// a refund never moves the last stamp of a group that stays.
    fn show_refund(&self, report: &mut Report) {
        let cold = report.region.filter(|region| region.cold);
        let rises_in = cold.map(|region| self.regional.cold_start().period().saturating_sub(region.age));
        for status in &mut report.statuses {
            status.remaining = status.limit.min(status.remaining + 1);
            if status.remaining == status.limit {
                status.reset_after = rises_in;
            }
        }
    }

    async fn refund(
        &self,
        reservation: Reservation,
        counted: Counted<'_>,
        dimensions: &[Dimension<'_>],
        held: Option<&PoolPermit>,
    ) -> bool {
        match counted {
            Counted::Here(local) => local.refund(&reservation, dimensions) > 0,
            Counted::InRegion => {
                match self.regional.refund_with_permit(reservation, dimensions, held).await {
                    Ok(units) => units > 0,
                    Err(error) => {
                        if let Some(withheld) = self.gate.pass(self.clock.monotonic()) {
                            tracing::warn!(%error, withheld, "rate limiter: quota could not be given back");
                        }
                        false
                    }
                }
            }
        }
    }
}

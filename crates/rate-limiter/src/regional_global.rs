//! The limiters in the order they are asked: the region; where its Redis is away, and only if so configured, this process;
//! then, once that said yes, the global limit, whose denial gives the first one's units back.
//!
//! | what is away | the answer |
//! | --- | --- |
//! | the region's Redis | [`OnRedisDown::Closed`]: the error; [`OnRedisDown::Local`]: the in-process limit |
//! | no permit for the region's Redis | the error, always: that is this process being busy, not Redis being away |
//! | the global Redis | the region's, see [`GlobalLimiter::ask`] |
//! | the region's Redis, at the refund | the denial stands; the units stay used until they leave by themselves |

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

/// What to do while the limiter Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRedisDown {
    /// Answer with the error.
    #[default]
    Closed,
    /// Limit in this process.
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

/// All limiters of a service.
pub struct RegionalGlobalLimiter {
    regional: Limiter,
    global: Option<GlobalLimiter>,
    local: Option<LocalLimiter>,
    denied: DeniedCache,
    metrics: LimiterMetrics,
    clock: Arc<dyn Clock>,
    gate: LogGate,
}

/// Who counted the units of an allowed request.
#[derive(Clone, Copy)]
enum Counted<'a> {
    InRegion,
    Here(&'a LocalLimiter),
}

impl RegionalGlobalLimiter {
    /// `regional` first, then `global` if there is one; `on_redis_down` for the time the region's Redis is away.
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

    /// Decides on one request. The global limit counts it by the first of `dimensions`.
    ///
    /// # Errors
    /// Those of [`Limiter::decide`], but for [`PoolError::Unavailable`] where the in-process limit stands in.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub async fn decide(&self, dimensions: &[Dimension<'_>]) -> Result<Decision, PoolError> {
        self.decide_with_permit(dimensions, None).await
    }

    /// As [`Self::decide`], for a caller that has `held` a permit already, perhaps of the regional limiter's pool.
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

    /// The denial of a caller that is still in force, counted as one. `proof` is what the caller shows to be taken for who it says: a
    /// partner key's digest, nothing for an address.
    #[must_use]
    pub fn remembered(&self, name: DimensionName, subject: &str, proof: &[u8]) -> Option<Denial> {
        let (now, born) = (self.clock.monotonic(), self.regional.births_seen());
        let denial = self.denied.get(name, subject, proof, now, born)?;
        self.metrics.count_remembered(name.as_str(), &denial.statuses);
        Some(denial)
    }

    /// Remembers `decision` on a caller, asked for at `sent` (monotonic) at the latest, if it is a denial.
    pub fn remember(&self, dimension: &Dimension<'_>, proof: &[u8], decision: &Decision, sent: Duration) {
        self.denied.put(dimension, proof, decision, sent, self.has_global());
    }

    /// The clock that [`Self::remember`] goes by.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The region's limiter, for a script that limits among other things; only where [`Self::has_global`] is false can
    /// such a script both limit and do what must not be done before the global limit was asked.
    #[must_use]
    pub fn regional(&self) -> &Limiter {
        &self.regional
    }

    /// Whether there is a global limit.
    #[must_use]
    pub fn has_global(&self) -> bool {
        self.global.is_some()
    }

    fn decide_here(&self, local: &LocalLimiter, error: &PoolError, dimensions: &[Dimension<'_>]) -> Decision {
        let now = self.clock.monotonic();
        if let Some(withheld) = self.gate.pass(now) {
            tracing::warn!(%error, withheld, "rate limiter: its redis is away, this process limits by itself");
        }
        let decision = local.decide(dimensions, now);
        self.metrics.count(&decision);
        decision
    }

    /// Asks the global limit about a request that was let pass so far, and takes it back if that says no.
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

    /// One more is left in every dimension. When its next comes changes only where nothing is held any more: a refund
    /// never moves the last stamp of a group that stays.
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

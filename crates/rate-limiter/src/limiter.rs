//! The limiter of one region, in that region's Redis.
//!
//! [`Limiter::decide`] makes a decision in a script call of its own. A larger script can begin with
//! [`crate::LUA_LIB`] instead: then [`Limiter::push_keys`] and [`Limiter::push_args`] add the parameters of
//! `limiter_decide`, and [`Limiter::read`] reads its reply. [`Limiter::read`] sees every reply either way. It
//! counts the decision and watches the region's birth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ambient::Clock;
use redis_pool::{Invocation, PoolError, PoolPermit, RedisPool};

use crate::birth::{BirthWatch, Sight};
use crate::decision::{Decision, RegionStatus, Reservation};
use crate::keys::{self, Region};
use crate::log_gate::LogGate;
use crate::metrics::LimiterMetrics;
use crate::quota::{ColdStart, Dimension, DimensionName, MAX_DIMENSIONS, Quota, assert_sound};
use crate::script;

/// A stored time further ahead of Redis's clock than this is lost state. The script holds the same number.
const AHEAD_MS: u64 = 60_000;

/// Limits requests in one region. See the [crate's example](crate).
pub struct Limiter {
    pool: RedisPool,
    region: Region,
    born_key: String,
    cold_start: ColdStart,
    births: BirthWatch,
    /// When the deployment was created, ms since 1970; 0 until that is known.
    created_ms: AtomicU64,
    metrics: LimiterMetrics,
    lost_gate: LogGate,
    clock: Arc<dyn Clock>,
}

/// The state of a region in its Redis.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionInfo {
    /// The birth, ms since 1970 by Redis's clock. `None` before the first decision.
    pub born_at_ms: Option<u64>,
    /// The time since the birth, or zero.
    pub age: Duration,
    /// Whether limits are reduced. A region without a birth is cold.
    pub cold: bool,
    /// The fraction of the limits in force: the cold start's factor, or 1.
    pub factor: f64,
    /// The limits in force, in the order of the request.
    pub limits: Vec<LimitInForce>,
}

/// A limit in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitInForce {
    /// The dimension that it limits.
    pub name: DimensionName,
    /// Requests per 60 s now.
    pub limit: u32,
    /// Requests per 60 s in a warm region.
    pub full: u32,
}

impl Limiter {
    /// Creates the limiter of `region`, with its state behind `pool`. `clock` only spaces log lines.
    /// Decisions use Redis's clock.
    #[must_use]
    pub fn new(
        pool: RedisPool,
        region: Region,
        cold_start: ColdStart,
        metrics: LimiterMetrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (births, lost_gate) = (BirthWatch::default(), LogGate::default());
        let (born_key, created_ms) = (keys::born(&region), AtomicU64::new(0));
        Self { born_key, pool, region, cold_start, births, created_ms, metrics, lost_gate, clock }
    }

    /// Sets when the deployment was created, ms since 1970. A region's birth more than 60 s before that is
    /// wrong: Redis's clock had stepped back.
    pub fn deployment_created(&self, unix_millis: u64) {
        self.created_ms.store(unix_millis, Ordering::Relaxed);
    }

    /// Decides on one request in one atomic script call.
    ///
    /// # Errors
    /// See [`PoolError`]. If [`PoolError::maybe_applied`], the request may have been counted.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub async fn decide(&self, dimensions: &[Dimension<'_>]) -> Result<Decision, PoolError> {
        self.decide_with_permit(dimensions, None).await
    }

    /// Decides like [`Self::decide`]. `held` is a permit that the caller already holds; it is used if it
    /// belongs to this limiter's pool.
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
        let mut invocation = script::LIMIT.invoke();
        self.push_keys(&mut invocation, dimensions);
        self.push_args(&mut invocation, dimensions.iter().map(|dimension| dimension.quota));
        let ints: Vec<i64> = invocation.run_with_held_permit(&self.pool, held).await?;
        self.read(&ints, dimensions)
    }

    /// Adds the limiter's keys to a script call: the birth record, then one state for each dimension.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub fn push_keys(&self, invocation: &mut Invocation<'_>, dimensions: &[Dimension<'_>]) {
        self.push_birth_key(invocation);
        self.push_state_keys(invocation, dimensions);
    }

    /// Adds only the key of the region's birth record. A script that decides for several callers reads it
    /// once.
    pub fn push_birth_key(&self, invocation: &mut Invocation<'_>) {
        invocation.push_key(&self.born_key);
    }

    /// Adds only the keys of the states, one for each dimension.
    ///
    /// # Panics
    /// Unless `dimensions` are 1 to 8 different ones.
    pub fn push_state_keys(&self, invocation: &mut Invocation<'_>, dimensions: &[Dimension<'_>]) {
        assert_sound(dimensions);
        for dimension in dimensions {
            invocation.push_key(keys::state(&self.region, dimension.name, dimension.subject));
        }
    }

    /// Adds the limiter's arguments for dimensions with these quotas, in this order: three, and two for each
    /// quota. They do not depend on the caller.
    pub fn push_args(&self, invocation: &mut Invocation<'_>, quotas: impl ExactSizeIterator<Item = Quota>) {
        invocation.push_arg(quotas.len());
        invocation.push_arg(self.cold_start.period_ms());
        invocation.push_arg(self.created_ms.load(Ordering::Relaxed));
        for quota in quotas {
            invocation.push_arg(quota.get());
            invocation.push_arg(self.cold_start.factor().of(quota));
        }
    }

    /// Reads the reply of `limiter_decide` and counts the decision. Logs when the region is born, is warm or
    /// has lost its state. Ignores integers after the limiter's own ([`Decision::reply_len`]).
    ///
    /// # Errors
    /// [`PoolError::Reply`] if the reply has another shape.
    pub fn read(&self, ints: &[i64], dimensions: &[Dimension<'_>]) -> Result<Decision, PoolError> {
        let mut names = [""; MAX_DIMENSIONS];
        for (name, dimension) in names.iter_mut().zip(dimensions) {
            *name = dimension.name.as_str();
        }
        let decision = Decision::read(ints, &names[..dimensions.len().min(MAX_DIMENSIONS)], true)?;
        self.metrics.count(&decision);
        if let Some(region) = &decision.report().region {
            self.watch(region);
        }
        Ok(decision)
    }

    /// Gives back the quota that an allowed request used, and returns how many units that were. `dimensions`
    /// are those of the decision. A unit that has left its window needs no refund.
    ///
    /// # Errors
    /// See [`PoolError`]. The units then stay used until they leave their window.
    ///
    /// # Panics
    /// If the reservation has another number of dimensions.
    pub async fn refund(
        &self,
        reservation: Reservation,
        dimensions: &[Dimension<'_>],
    ) -> Result<u32, PoolError> {
        self.refund_with_permit(reservation, dimensions, None).await
    }

    /// Refunds like [`Self::refund`]. `held` is as in [`Self::decide_with_permit`].
    ///
    /// # Errors
    /// As [`Self::refund`].
    ///
    /// # Panics
    /// As [`Self::refund`].
    pub async fn refund_with_permit(
        &self,
        reservation: Reservation,
        dimensions: &[Dimension<'_>],
        held: Option<&PoolPermit>,
    ) -> Result<u32, PoolError> {
        assert_eq!(
            reservation.stamps.len(),
            dimensions.len(),
            "a reservation goes with the dimensions it was decided on"
        );
        let mut invocation = script::REFUND.invoke();
        for dimension in dimensions {
            invocation.push_key(keys::state(&self.region, dimension.name, dimension.subject));
        }
        for stamp in reservation.stamps {
            invocation.push_arg(stamp);
        }
        invocation.run_with_held_permit(&self.pool, held).await
    }

    /// Reads the state of the region and writes nothing: a region without a birth stays without one, and so
    /// does a region whose birth the next decision will replace.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn region_info(&self, quotas: &[(DimensionName, Quota)]) -> Result<RegionInfo, PoolError> {
        let (now, born): (u64, i64) = script::REGION.invoke().key(&self.born_key).run(&self.pool).await?;
        let oldest = self.created_ms.load(Ordering::Relaxed).saturating_sub(AHEAD_MS);
        let oldest = if now < oldest { 0 } else { oldest };
        let possible = oldest..=now + AHEAD_MS;
        let born_at_ms = u64::try_from(born).ok().filter(|born| possible.contains(born));
        let cold = born_at_ms.is_none_or(|born| now < born + self.cold_start.period_ms());
        let factor = self.cold_start.factor();
        let in_force = |&(name, quota): &(DimensionName, Quota)| LimitInForce {
            name,
            limit: if cold { factor.of(quota) } else { quota.get() },
            full: quota.get(),
        };
        Ok(RegionInfo {
            born_at_ms,
            age: Duration::from_millis(born_at_ms.map_or(0, |born| now.saturating_sub(born))),
            cold,
            factor: if cold { factor.get() } else { 1.0 },
            limits: quotas.iter().map(in_force).collect(),
        })
    }

    /// Returns the region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the region's birth as this process last saw it, ms since 1970, or 0.
    #[must_use]
    pub(crate) fn births_seen(&self) -> u64 {
        self.births.current()
    }

    /// Returns the configured cold start.
    #[must_use]
    pub fn cold_start(&self) -> ColdStart {
        self.cold_start
    }

    fn watch(&self, region: &RegionStatus) {
        let (name, born_at_ms) = (self.region.as_str(), region.born_at_ms);
        match self.births.see(region) {
            Sight::Known => {}
            Sight::Joined => tracing::info!(
                region = name,
                born_at_ms,
                cold = region.cold,
                "rate limiter: the region was there before this process"
            ),
            Sight::Born => tracing::info!(
                region = name,
                born_at_ms,
                cold_ms = self.cold_start.period_ms(),
                "rate limiter: the region is born, limits are reduced until it is warm"
            ),
            Sight::Lost => {
                self.metrics.state_lost.inc();
                if let Some(withheld) = self.lost_gate.pass(self.clock.monotonic()) {
                    tracing::warn!(
                        region = name,
                        born_at_ms,
                        cold_ms = self.cold_start.period_ms(),
                        withheld,
                        "rate limiter: the region's state was lost, limits are reduced as in a new region"
                    );
                }
            }
        }
        if self.metrics.show_cold(region.cold) && !region.cold {
            tracing::info!(region = name, born_at_ms, "rate limiter: the region is warm, full limits hold");
        }
    }
}

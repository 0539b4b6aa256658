//! Whether this process may work on the deployment that it finds in Redis.
//!
//! The state is lost if the deployment record, the audit head or the keyring is missing or is not the
//! expected one. A refresh or any script can detect this. Only a refresh that finds all three as expected
//! clears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use catalog::{Deployment, DeploymentError, DeploymentGate};
use keyring::KeyringWatch;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use redis_pool::RedisPool;

use crate::error::GateError;

/// Why a refresh did not find the expected state.
#[derive(Debug)]
pub(crate) enum RefreshError {
    /// The state is lost.
    Lost {
        why: String,
        /// Whether the state is older than, or differs from, a state that was seen before.
        rolled_back: bool,
    },
    /// Redis did not answer.
    Redis(redis_pool::PoolError),
}

impl From<DeploymentError> for RefreshError {
    fn from(error: DeploymentError) -> Self {
        match error {
            DeploymentError::Lost(why) => Self::Lost { why, rolled_back: false },
            DeploymentError::Redis(error) => Self::Redis(error),
        }
    }
}

impl From<redis_pool::PoolError> for RefreshError {
    fn from(error: redis_pool::PoolError) -> Self {
        Self::Redis(error)
    }
}

impl From<RefreshError> for DeploymentError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Lost { why, rolled_back: true } => Self::Lost(format!("rolled back: {why}")),
            RefreshError::Lost { why, rolled_back: false } => Self::Lost(why),
            RefreshError::Redis(error) => Self::Redis(error),
        }
    }
}

/// The position of a refresh in the order in which this process began its refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RefreshTurn(u64);

/// The deployment, and whether its state is lost.
#[derive(Debug)]
pub struct DeploymentState {
    pool: RedisPool,
    gate: DeploymentGate,
    keyring: Arc<KeyringWatch>,
    /// Set by the last refresh, or by a script since then.
    lost: AtomicBool,
    rolled_back: AtomicBool,
    metric: Gauge,
    refreshes_begun: AtomicU64,
    /// The refresh whose outcome was noted last.
    noted: Mutex<RefreshTurn>,
}

impl DeploymentState {
    pub(crate) fn new(
        pool: RedisPool,
        gate: DeploymentGate,
        keyring: Arc<KeyringWatch>,
        metric: Gauge,
    ) -> Self {
        let (lost, rolled_back) = (AtomicBool::new(false), AtomicBool::new(false));
        let (refreshes_begun, noted) = (AtomicU64::new(0), Mutex::new(RefreshTurn(0)));
        Self { pool, gate, keyring, lost, rolled_back, metric, refreshes_begun, noted }
    }

    /// Returns the deployment that this process works on, without a call to Redis. Requests are rejected
    /// exactly while readiness fails for lost state.
    ///
    /// # Errors
    /// [`GateError::StateLost`] or [`GateError::RolledBack`]; [`GateError::NotRead`] while Redis has not
    /// answered yet.
    pub fn deployment(&self) -> Result<&Deployment, GateError> {
        match self.gate.seen() {
            Some(_) if self.is_lost() => Err(self.loss()),
            Some(deployment) => Ok(deployment),
            None => Err(self.unseen()),
        }
    }

    /// Checks whether an id that fails verification under this process's secrets may be called forged. It
    /// makes no call to Redis.
    ///
    /// # Errors
    /// [`GateError::StateLost`] or [`GateError::RolledBack`] while the secrets, or other parts of the state,
    /// are known to differ from those of the deployment. Genuine ids would then be called forged.
    pub fn can_tell_forged(&self) -> Result<(), GateError> {
        if self.is_lost() { Err(self.loss()) } else { Ok(()) }
    }

    /// Returns the last seen deployment record, even while the state is lost.
    #[must_use]
    pub fn seen(&self) -> Option<&Deployment> {
        self.gate.seen()
    }

    /// Returns the restore generation in which this process works; 0 before it has seen a deployment.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.seen().map_or(0, Deployment::generation)
    }

    /// Returns the gate, which also allocates batch numbers.
    #[must_use]
    pub fn gate(&self) -> &DeploymentGate {
        &self.gate
    }

    /// Notes a state loss that a script found. From then on, requests are rejected and readiness fails.
    pub fn report_lost(&self, why: &str) {
        self.set_lost(true);
        self.gate.report_lost(why);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.gate.is_lost() || self.keyring.is_lost()
    }

    /// Returns the reason why there is no deployment to work on, before one was seen.
    pub(crate) fn unseen(&self) -> GateError {
        if self.pool.stats().connected == 0 || !self.gate.is_lost() {
            return GateError::NotRead;
        }
        GateError::StateLost
    }

    /// Begins a refresh. Pass its outcome to [`Self::note_refresh`].
    pub(crate) fn begin_refresh(&self) -> RefreshTurn {
        RefreshTurn(self.refreshes_begun.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Notes the outcome of a refresh. A Redis that did not answer changes nothing. Neither does a refresh
    /// that began before one whose outcome was noted: it may have read an older state.
    pub(crate) fn note_refresh<T>(&self, turn: RefreshTurn, outcome: &Result<T, RefreshError>) {
        let mut noted = self.noted.lock();
        if matches!(outcome, Err(RefreshError::Redis(_))) || turn < *noted {
            return;
        }
        *noted = turn;
        match outcome {
            Ok(_) => {
                self.rolled_back.store(false, Ordering::Release);
                self.lost.store(false, Ordering::Release);
                self.metric.set(i64::from(self.keyring.is_lost()));
            }
            Err(RefreshError::Lost { rolled_back, .. }) => {
                self.rolled_back.store(*rolled_back, Ordering::Release);
                self.set_lost(true);
            }
            Err(RefreshError::Redis(_)) => {}
        }
    }

    fn set_lost(&self, lost: bool) {
        self.metric.set(i64::from(lost));
        self.lost.store(lost, Ordering::Release);
    }

    fn loss(&self) -> GateError {
        if self.rolled_back.load(Ordering::Acquire) { GateError::RolledBack } else { GateError::StateLost }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use ambient::{Clock, SystemClock};
    use catalog::{Expectation, Init};
    use keyring::{KeyringMetrics, Role, Secrets, SigningKeys};
    use redis_pool::{PoolConfig, PoolMetrics};
    use tag_id::TagKeys;

    use super::*;

    async fn state(redis: &test_support::RedisServer) -> DeploymentState {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let config = PoolConfig {
            name: "durable",
            url: redis.url().parse().unwrap(),
            permits: NonZeroUsize::MIN,
            connections: NonZeroUsize::MIN,
            wait: Duration::from_secs(30),
            command_timeout: Duration::from_secs(30),
            open_for: redis_pool::OPEN_FOR,
        };
        let pool = RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default());
        let tag_keys = Arc::new(TagKeys::new(None, []));
        let origin = "voketag.local/audit";
        let secrets = Secrets { tags: Arc::clone(&tag_keys), signing: Arc::new(SigningKeys::none(origin)) };
        let role = Role { announces: None, seeds: None };
        let watch = KeyringWatch::new(pool.clone(), clock, secrets, role, KeyringMetrics::default());
        let expectation = Expectation { tag_keys, adds_epoch: None, audit_origin: origin.to_owned() };
        let gate = DeploymentGate::new(pool.clone(), expectation, Init::Never);
        DeploymentState::new(pool, gate, Arc::new(watch), Gauge::default())
    }

    #[tokio::test]
    async fn a_refresh_that_began_earlier_does_not_overrule_a_later_one() {
        let redis = test_support::RedisServer::start().await;
        let state = state(&redis).await;
        let lost = || Err::<(), _>(RefreshError::Lost { why: "gone".to_owned(), rolled_back: true });
        let (first, second, third) = (state.begin_refresh(), state.begin_refresh(), state.begin_refresh());
        state.note_refresh(second, &Ok(()));
        state.note_refresh(first, &lost());
        assert_eq!(state.can_tell_forged(), Ok(()), "the earlier refresh read an older state");
        state.note_refresh(third, &lost());
        assert_eq!(state.can_tell_forged(), Err(GateError::RolledBack));
        state.note_refresh(second, &Ok(()));
        assert_eq!(state.can_tell_forged(), Err(GateError::RolledBack));
    }
}

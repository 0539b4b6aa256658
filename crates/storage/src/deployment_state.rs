//! Whether this process may work on the deployment that it finds in Redis.
//!
//! The state is lost when the deployment record, the audit head or the keyring is missing or is not the
//! expected one. A refresh or any script can find that. Only a refresh that finds all three clears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::{Deployment, DeploymentError, DeploymentGate};
use keyring::KeyringWatch;
use prometheus_client::metrics::gauge::Gauge;
use redis_pool::RedisPool;

use crate::error::GateError;

/// Why a refresh did not find the expected state.
#[derive(Debug)]
pub(crate) enum RefreshError {
    /// The state is lost.
    Lost {
        why: String,
        /// It is older than a state that was seen before, or another one.
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

/// The deployment, and whether its state is lost.
#[derive(Debug)]
pub struct DeploymentState {
    pool: RedisPool,
    gate: DeploymentGate,
    keyring: Arc<KeyringWatch>,
    /// Found by the last refresh, or by a script since.
    lost: AtomicBool,
    rolled_back: AtomicBool,
    metric: Gauge,
}

impl DeploymentState {
    pub(crate) fn new(
        pool: RedisPool,
        gate: DeploymentGate,
        keyring: Arc<KeyringWatch>,
        metric: Gauge,
    ) -> Self {
        let (lost, rolled_back) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { pool, gate, keyring, lost, rolled_back, metric }
    }

    /// The deployment that this process works on. It asks nobody: requests are rejected exactly while
    /// readiness fails for lost state.
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

    /// Whether an id that does not prove itself under this process's secrets is a forged one. It asks nobody.
    ///
    /// # Errors
    /// [`GateError::StateLost`] or [`GateError::RolledBack`] while the secrets, or other parts of the state,
    /// are known not to be those of the deployment: genuine ids would be called forged.
    pub fn can_tell_forged(&self) -> Result<(), GateError> {
        if self.is_lost() { Err(self.loss()) } else { Ok(()) }
    }

    /// The deployment record as it was seen last, also while the state is lost.
    #[must_use]
    pub fn seen(&self) -> Option<&Deployment> {
        self.gate.seen()
    }

    /// The restore generation that this process works in; 0 before it has seen a deployment.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.seen().map_or(0, Deployment::generation)
    }

    /// The gate, for batch numbers.
    #[must_use]
    pub fn gate(&self) -> &DeploymentGate {
        &self.gate
    }

    /// Notes a loss that a script found. From then on requests are rejected and readiness fails.
    pub fn report_lost(&self, why: &str) {
        self.set_lost(true);
        self.gate.report_lost(why);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.gate.is_lost() || self.keyring.is_lost()
    }

    /// Why there is no deployment to work on, before one was seen.
    pub(crate) fn unseen(&self) -> GateError {
        if self.pool.stats().connected == 0 || !self.gate.is_lost() {
            return GateError::NotRead;
        }
        GateError::StateLost
    }

    /// Notes the outcome of a refresh. A Redis that did not answer changes nothing.
    pub(crate) fn note_refresh<T>(&self, outcome: &Result<T, RefreshError>) {
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

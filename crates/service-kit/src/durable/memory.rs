//! What this process knows of the deployment from outside Redis: `STATE_DIR`, and the restore generation.
//!
//! A restored backup shows a shorter chain, or another one. A process that has seen more, itself or by `STATE_DIR`, refuses it as rolled
//! back until an operator accepts it: that raises the restore generation in the deployment record. In a new generation the chain
//! is taken as it is, by an appender of its own; what was known in the one before it is no longer held against it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ambient::entropy;
use audit_chain::{Appender, AppenderConfig, StateLoss};
use catalog::{Deployment, DeploymentError};
use parking_lot::Mutex;

use super::Durable;
use storage::{GateError, Known, StateDir, StateDirError};

/// Pause between two looks at whether there is something to keep: at most one write a second.
const KEEP_EVERY: Duration = Duration::from_millis(1_050);
/// What the detail of state that was rolled back begins with.
const ROLLED_BACK: &str = "rolled back";

/// `STATE_DIR`, if there is one, and what it is known to hold.
#[derive(Debug, Default)]
pub(super) struct Memory {
    dir: Option<StateDir>,
    /// As it was last read or written by this process.
    kept: Mutex<Option<Known>>,
    /// Why it could not be written the last time.
    last_error: Mutex<Option<String>>,
}

impl Memory {
    pub(super) fn of(dir: Option<StateDir>) -> Self {
        Self { dir, ..Self::default() }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

impl Durable {
    /// The same, which keeps the highest audit head that it sees in `dir`, and begins with what is kept there.
    #[must_use]
    pub fn with_state_dir(mut self, dir: Option<StateDir>) -> Self {
        self.memory = Memory::of(dir);
        self
    }

    /// What is known of a deployment from outside Redis, read once. What cannot be read is not passed over.
    pub(super) async fn recall(&self, deployment: &Deployment) -> Result<Option<Known>, DeploymentError> {
        let Some(dir) = self.memory.dir.clone() else { return Ok(None) };
        if let Some(kept) = self.memory.kept.lock().clone().filter(|kept| kept.deployment == deployment.id())
        {
            return Ok(Some(kept));
        }
        let id = deployment.id().to_owned();
        let known = tokio::task::spawn_blocking(move || dir.known(&id)).await;
        let known = known.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()));
        let known = known.map_err(|error| DeploymentError::Lost(error.to_string()))?;
        self.memory.kept.lock().clone_from(&known);
        Ok(known)
    }

    /// The appender of a deployment's restore generation, which knows of the chain what `known` says of that generation.
    pub(super) fn appender_of(
        &self,
        deployment: &Deployment,
        known: Option<&Known>,
    ) -> Result<&Appender, DeploymentError> {
        let generation = deployment.generation();
        let known = known.map(|known| known.head_in(generation)).transpose();
        let known = known.map_err(|error| DeploymentError::Lost(format!("{ROLLED_BACK}: {error}")))?;
        let _turn = self.starting.lock();
        if let Some((_, appender)) = self.latest().filter(|(latest, _)| *latest >= generation) {
            return Ok(appender);
        }
        let appender = self.start_appender(deployment);
        if let Some(head) = known.flatten() {
            appender.log().remember(head);
        }
        let place = self.appenders.push((generation, appender));
        Ok(&self.appenders[place].1)
    }

    fn start_appender(&self, deployment: &Deployment) -> Appender {
        let config = AppenderConfig::new(self.audit_origin.clone(), vec![deployment.guard()]);
        let appender =
            Appender::start(self.pool.clone(), config, Arc::clone(&self.clock), &self.audit_metrics);
        if self.gate.audit_begun() {
            appender.log().remember_begun();
        }
        appender
    }

    pub(super) fn latest(&self) -> Option<&(u64, Appender)> {
        self.appenders.iter().last().map(|(_, latest)| latest)
    }

    /// The restore generation that this process works in; 0 before it has seen a deployment.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.gate.seen().map_or(0, Deployment::generation)
    }

    /// Why the state is lost, for an operator; notes whether it was rolled back.
    pub(super) fn judged(&self, why: &StateLoss) -> String {
        let back = matches!(
            why,
            StateLoss::HeadAbsent { .. } | StateLoss::HeadLower { .. } | StateLoss::Forked { .. }
        );
        if back { format!("{ROLLED_BACK}: {why}") } else { why.to_string() }
    }

    pub(super) fn note_outcome<T>(&self, found: &Result<T, DeploymentError>) {
        match found {
            Ok(_) => self.rolled_back.store(false, Ordering::Release),
            Err(DeploymentError::Lost(why)) => {
                self.rolled_back.store(why.starts_with(ROLLED_BACK), Ordering::Release);
            }
            Err(DeploymentError::Redis(_)) => {}
        }
    }

    /// How the state is lost.
    pub(super) fn lost_error(&self) -> GateError {
        if self.rolled_back.load(Ordering::Acquire) { GateError::RolledBack } else { GateError::StateLost }
    }

    /// Keeps what was seen again and again; ends only with the process.
    pub(super) async fn keep_remembering(&self) {
        if self.memory.dir.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(entropy::jittered(KEEP_EVERY, 45)).await;
            self.keep_state().await;
        }
    }

    /// Writes down in `STATE_DIR` what this process has seen, where that is more than is kept there.
    pub async fn keep_state(&self) {
        let Some((dir, seen)) = self.memory.dir.clone().zip(self.to_keep()) else { return };
        let kept = tokio::task::spawn_blocking(move || dir.merge(seen)).await;
        let kept: Result<Known, StateDirError> =
            kept.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()));
        let mut last_error = self.memory.last_error.lock();
        match kept {
            Ok(kept) => {
                *self.memory.kept.lock() = Some(kept);
                if last_error.take().is_some() {
                    tracing::info!("STATE_DIR is written again");
                }
            }
            Err(error) => {
                if last_error.replace(error.to_string()).is_none() {
                    tracing::error!(%error, "STATE_DIR cannot be written; a restored backup may go unnoticed");
                }
            }
        }
    }

    /// What was seen, where it is more than what is kept.
    fn to_keep(&self) -> Option<Known> {
        let deployment = self.gate.seen()?;
        let (generation, appender) = self.latest()?;
        let highest_epoch = self
            .keyring
            .snapshot()
            .and_then(|keys| keys.record().tag.iter().map(|entry| entry.number.get()).max());
        let nothing = Known::nothing_of(deployment.id());
        let seen = Known { generation: *generation, highest_epoch: highest_epoch.unwrap_or(0), ..nothing };
        let seen = seen.with_head(appender.log().highest());
        let kept = self.memory.kept.lock().clone().filter(|kept| kept.deployment == deployment.id());
        match kept {
            Some(kept) if kept.clone().merged(seen.clone()) == kept => None,
            _ => Some(seen),
        }
    }
}

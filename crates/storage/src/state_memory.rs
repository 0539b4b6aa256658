//! What `STATE_DIR` holds of the deployment, as this process reads and writes it.
//!
//! A restored backup has a shorter chain, or another one. A process that has seen more, itself or by
//! `STATE_DIR`, rejects it as rolled back until an operator accepts it, which raises the restore generation
//! in the deployment record. In a new generation the chain is taken as it is, by a new appender.

use catalog::Deployment;
use parking_lot::Mutex;

use crate::state_dir::{Known, StateDir, StateDirError};

/// `STATE_DIR`, if there is one, and what it is known to hold.
#[derive(Debug)]
pub(crate) struct StateMemory {
    dir: Option<StateDir>,
    /// As this process read or wrote it last.
    kept: Mutex<Option<Known>>,
    /// Why it could not be written the last time.
    last_error: Mutex<Option<String>>,
}

impl StateMemory {
    pub(crate) fn of(dir: Option<StateDir>) -> Self {
        Self { dir, kept: Mutex::default(), last_error: Mutex::default() }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.dir.is_some()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// What is known of a deployment, read once. An unreadable file is an error, not an empty memory.
    pub(crate) async fn recall(&self, deployment: &Deployment) -> Result<Option<Known>, StateDirError> {
        let Some(dir) = self.dir.clone() else { return Ok(None) };
        if let Some(kept) = self.kept_of(deployment) {
            return Ok(Some(kept));
        }
        let id = deployment.id().to_owned();
        let known = tokio::task::spawn_blocking(move || dir.known(&id)).await;
        let known = known.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()))?;
        self.kept.lock().clone_from(&known);
        Ok(known)
    }

    /// Writes `seen` where it is more than what is kept.
    pub(crate) async fn keep(&self, deployment: &Deployment, seen: Known) {
        let Some(dir) = self.dir.clone() else { return };
        if self.kept_of(deployment).is_some_and(|kept| kept.clone().merged(seen.clone()) == kept) {
            return;
        }
        let kept = tokio::task::spawn_blocking(move || dir.merge(seen)).await;
        let kept: Result<Known, StateDirError> =
            kept.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()));
        let mut last_error = self.last_error.lock();
        match kept {
            Ok(kept) => {
                *self.kept.lock() = Some(kept);
                if last_error.take().is_some() {
                    tracing::info!("STATE_DIR is written again");
                }
            }
            Err(error) => {
                if last_error.replace(error.to_string()).is_none() {
                    tracing::error!(%error, "cannot write STATE_DIR; a restored backup may stay unnoticed");
                }
            }
        }
    }

    fn kept_of(&self, deployment: &Deployment) -> Option<Known> {
        self.kept.lock().clone().filter(|kept| kept.deployment == deployment.id())
    }
}

//! Reads and writes what `STATE_DIR` holds of this process's deployment.
//!
//! A restored backup has a shorter or a different chain. A process that has seen a longer one, itself or
//! through `STATE_DIR`, rejects the backup as rolled back. An operator can accept the backup, which raises
//! the restore generation in the deployment record. In a new generation, a new appender accepts the chain as
//! it is.

use catalog::Deployment;
use parking_lot::Mutex;

use crate::state_dir::{Known, StateDir, StateDirError};

/// `STATE_DIR`, if it is configured, and its last known contents.
#[derive(Debug)]
pub(crate) struct StateMemory {
    dir: Option<StateDir>,
    /// The contents that this process last read or wrote.
    kept: Mutex<Option<Known>>,
    /// Why the last write failed; `None` if it succeeded.
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

    /// Returns what `STATE_DIR` holds of a deployment. It is read once. An unreadable file is an error.
    pub(crate) async fn recall(&self, deployment: &Deployment) -> Result<Option<Known>, StateDirError> {
        let Some(dir) = self.dir.clone() else { return Ok(None) };
        if let Some(kept) = self.kept_of(deployment) {
            return Ok(Some(kept));
        }
        let id = deployment.id().to_owned();
        let known = tokio::task::spawn_blocking(move || dir.known(&id)).await;
        let known = known.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        self.kept.lock().clone_from(&known);
        Ok(known)
    }

    /// Writes `seen` if it is later than the stored state.
    pub(crate) async fn keep(&self, deployment: &Deployment, seen: Known) {
        let Some(dir) = self.dir.clone() else { return };
        if self.kept_of(deployment).is_some_and(|kept| kept.clone().merged(seen.clone()) == kept) {
            return;
        }
        let kept = tokio::task::spawn_blocking(move || dir.merge(seen)).await;
        let kept: Result<Known, StateDirError> =
            kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let mut last_error = self.last_error.lock();
        match kept {
            Ok(kept) => {
                *self.kept.lock() = Some(kept);
                if last_error.take().is_some() {
                    tracing::info!("STATE_DIR written again");
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

//! The keyring of the deployment that a process works on.

use std::sync::Arc;
use std::time::Duration;

use keyring::{KeyringStatus, KeyringWatch, Snapshot};
use tag_id::Epoch;

use crate::deployment_state::DeploymentState;
use crate::error::{GateError, StorageError};
use crate::key_trust::KeyTrust;

/// Pause between two checks for the deployment record until it is seen. The first heartbeat must follow soon
/// after.
const RECHECK_PAUSE: Duration = Duration::from_millis(50);

/// The keyring. It is unavailable while the state of the deployment is lost.
#[derive(Debug)]
pub struct LiveKeyring {
    state: Arc<DeploymentState>,
    watch: Arc<KeyringWatch>,
}

impl LiveKeyring {
    pub(crate) fn new(state: Arc<DeploymentState>, watch: Arc<KeyringWatch>) -> Self {
        Self { state, watch }
    }

    /// Returns the watch, which knows how fresh the keyring is and which secrets this process holds.
    #[must_use]
    pub fn watch(&self) -> &KeyringWatch {
        &self.watch
    }

    /// Returns the keyring as of the last poll, without a call to Redis.
    ///
    /// # Errors
    /// As [`DeploymentState::deployment`]; [`GateError::StateLost`] while there is no keyring that this
    /// process can work with; [`GateError::KeyringNotRead`].
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, GateError> {
        self.state.deployment()?;
        self.watch.snapshot().ok_or_else(|| match self.watch.status() {
            KeyringStatus::NotRead | KeyringStatus::Usable => GateError::KeyringNotRead,
            KeyringStatus::NotMade | KeyringStatus::Lost(_) => GateError::StateLost,
        })
    }

    /// Reads the keyring now. Concurrent callers share one call.
    ///
    /// # Errors
    /// [`GateError`] before a deployment was seen, and when Redis does not answer or has lost the keyring.
    pub async fn poll(&self) -> Result<Arc<Snapshot>, StorageError> {
        let deployment = self.state.seen().ok_or_else(|| self.state.unseen())?;
        Ok(self.watch.poll(deployment).await?)
    }

    /// Returns whether tags of `epoch` can be trusted.
    ///
    /// It polls Redis only if the key is pending or unknown here: the key may have become active a moment
    /// ago, and a tag of its first batch must not be called forged. Only a holder of that key's secret can
    /// cause this poll, concurrent callers share it, and it writes nothing.
    ///
    /// # Errors
    /// As [`Self::snapshot`] and [`Self::poll`].
    pub async fn trust_of(&self, epoch: Epoch) -> Result<KeyTrust, StorageError> {
        if let Some(trust) = KeyTrust::decided(&*self.snapshot()?, epoch) {
            return Ok(trust);
        }
        Ok(KeyTrust::of(&*self.poll().await?, epoch))
    }

    /// Removes this process from the keyring's live instances, so that no key waits for it. Call it at
    /// shutdown.
    pub async fn leave(&self) {
        if let Err(error) = self.watch.leave().await {
            tracing::debug!(%error, "keyring not left; this instance counts as live for some seconds");
        }
    }

    /// Sends heartbeats and polls the keyring as long as the process lives.
    pub(crate) async fn keep_heartbeat(&self) {
        loop {
            match self.state.seen() {
                Some(deployment) => {
                    // The watch, its metrics and the log report the outcome.
                    drop(spans::in_job("send heartbeat", self.watch.heartbeat(deployment)).await);
                    self.watch.pause().await;
                }
                None => tokio::time::sleep(RECHECK_PAUSE).await,
            }
        }
    }
}

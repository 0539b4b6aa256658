//! The keyring as a service sees it: one watch per process, which heartbeats from when the deployment was seen.

use std::sync::Arc;
use std::time::Duration;

use catalog::Deployment;
use http_edge::Check;
use keyring::{KeyringStatus, KeyringWatch, SigningKeys, Snapshot};
use storage::{GateError, StorageError};
use tag_id::Epoch;

use super::Durable;

/// How often it is looked whether the deployment was seen, so that the first beat follows soon.
const BEFORE_SEEN: Duration = Duration::from_millis(50);

/// What a process is to the keyring.
#[derive(Debug, Clone)]
pub struct KeyringSetup {
    /// The service whose live instance it is; `None` only listens, as an operator's command does.
    pub announce: Option<&'static str>,
    /// The epoch that is active in a keyring that this process makes where there never was one; `None` makes none.
    pub seeds: Option<Epoch>,
    /// The audit signing keys it holds.
    pub signing: Arc<SigningKeys>,
}

impl Durable {
    /// The keyring's watch: how fresh it is, and which secrets this process holds.
    #[must_use]
    pub fn keyring(&self) -> &KeyringWatch {
        &self.keyring
    }

    /// The keyring to work with.
    ///
    /// # Errors
    /// As [`Self::deployment`], and [`GateError::StateLost`] while there is no keyring that this process can work with.
    pub fn keys(&self) -> Result<Arc<Snapshot>, GateError> {
        self.deployment()?;
        self.keyring.snapshot().ok_or_else(|| match self.keyring.standing() {
            KeyringStatus::NotRead | KeyringStatus::Usable => GateError::KeyringNotRead,
            KeyringStatus::NotMade | KeyringStatus::Lost(_) => GateError::StateLost,
        })
    }

    /// The keyring, asked for now; many that ask at once share one call.
    ///
    /// # Errors
    /// As [`Self::keys`], and when Redis does not answer.
    pub async fn refresh_keys(&self) -> Result<Arc<Snapshot>, StorageError> {
        let deployment = self.gate.seen().ok_or_else(|| self.closed())?;
        Ok(self.keyring.poll(deployment).await?)
    }

    /// Beats as long as the process lives.
    pub(crate) async fn keep_heartbeat(&self) {
        loop {
            match self.gate.seen() {
                Some(deployment) => {
                    // How it went is in the watch, its metrics and the log.
                    drop(self.keyring.heartbeat(deployment).await);
                    self.keyring.pause().await;
                }
                None => tokio::time::sleep(BEFORE_SEEN).await,
            }
        }
    }

    /// Hears the keyring as part of a look, so that what readiness says is not older than the question: an answer that was
    /// under way before could otherwise still arrive after it.
    pub(crate) async fn poll_keyring(&self, deployment: &Deployment) {
        // How it went is in the watch, its metrics and the log.
        drop(self.keyring.poll(deployment).await);
    }

    pub(crate) fn keyring_is_lost(&self) -> bool {
        self.keyring.is_lost()
    }

    pub(crate) fn keyring_check(&self) -> Check {
        let polled_ago = self.keyring.polled_ago();
        match (self.keyring.standing(), polled_ago) {
            (KeyringStatus::Lost(why), _) => Check::failed("keyring", format!("state lost: {why}")),
            (KeyringStatus::NotMade, _) => {
                Check::failed("keyring", "it was not made yet; start the factory-service, which makes it")
            }
            (KeyringStatus::NotRead, _) | (_, None) => Check::failed("keyring", "it was not heard yet"),
            (KeyringStatus::Usable, Some(ago)) if self.keyring.is_stale() => {
                Check::failed("keyring", format!("it was not heard for {} s", ago.as_secs()))
            }
            (KeyringStatus::Usable, Some(_)) => Check::ok("keyring"),
        }
    }
}

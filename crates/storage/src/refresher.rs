//! Refreshes what a process knows of durable storage.
//!
//! A process can start without Redis. A background task refreshes until it has read a deployment record that
//! matches. Only then the process starts an appender and sends heartbeats. From then on, every script
//! compares the record itself, so the next call detects a wiped Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ambient::{Clock, entropy};
use audit_chain::{Appender, ReadError, StateLoss};
use catalog::{Deployment, DeploymentError};
use keyring::Snapshot;

use crate::audit_writer::AuditWriter;
use crate::deployment_state::{DeploymentState, RefreshError};
use crate::live_keyring::LiveKeyring;
use crate::redis_settings::RedisSettingsWatch;
use crate::signing_watch::SigningWatch;
use crate::state_dir::Known;
use crate::state_memory::StateMemory;

/// Pause between two refreshes before a deployment was seen or while its state is lost.
const REFRESH_SOON: Duration = Duration::from_millis(250);
/// Pause between two refreshes otherwise.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// Pause between two checks whether `STATE_DIR` has to be written: at most one write a second.
const WRITE_STATE_EVERY: Duration = Duration::from_millis(1_050);

/// Refreshes the deployment record, the audit head, the keyring and the settings of Redis.
#[derive(Debug)]
pub struct StorageRefresher {
    pub(crate) state: Arc<DeploymentState>,
    pub(crate) keyring: Arc<LiveKeyring>,
    pub(crate) audit: Arc<AuditWriter>,
    pub(crate) memory: StateMemory,
    pub(crate) settings: RedisSettingsWatch,
    signing: SigningWatch,
    clock: Arc<dyn Clock>,
    /// Whether the audit head is missing, or older than or different from one that was seen before.
    head_lost: AtomicBool,
}

impl StorageRefresher {
    pub(crate) fn new(
        state: Arc<DeploymentState>,
        keyring: Arc<LiveKeyring>,
        audit: Arc<AuditWriter>,
        memory: StateMemory,
        settings: RedisSettingsWatch,
        signing: SigningWatch,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { state, keyring, audit, memory, settings, signing, clock, head_lost: AtomicBool::new(false) }
    }

    /// Refreshes, sends heartbeats, keeps `STATE_DIR` up to date and reads how far the chain is signed, as
    /// long as the process lives.
    pub async fn keep_refreshing(&self) {
        tokio::join!(
            self.keyring.keep_heartbeat(),
            self.keep_refreshing_records(),
            self.keep_writing_state(),
            self.signing.keep_reading()
        );
    }

    async fn keep_refreshing_records(&self) {
        loop {
            let found = spans::in_job("refresh", self.refresh()).await;
            let is_settled = found.is_ok() || (self.state.seen().is_some() && !self.state.is_lost());
            let pause = if is_settled { REFRESH_EVERY } else { REFRESH_SOON };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }

    /// Refreshes once: creates or compares the deployment record, compares the audit head, polls the keyring,
    /// and reads the settings of Redis if that is due.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn refresh(&self) -> Result<&Deployment, DeploymentError> {
        let turn = self.state.begin_refresh();
        let found = self.refresh_record_and_head().await;
        self.state.note_refresh(turn, &found);
        if found.is_ok() {
            self.settings.read_when_due().await;
        }
        Ok(found?)
    }

    /// Compares the record, and then the audit head: a restored older copy of the same deployment has the
    /// right record, but lacks acknowledged revocations.
    async fn refresh_record_and_head(&self) -> Result<&Deployment, RefreshError> {
        let deployment = self.state.gate().refresh(self.clock.utc()).await?;
        let appender = self.appender_of(deployment).await?;
        self.audit.request_permission(appender).await?;
        match appender.log().end().await {
            Ok(end) => {
                self.audit.note_chain_fault(end.fault);
                if end.head.size > 0 && !self.state.gate().audit_begun() {
                    self.state.gate().note_audit_begun().await?;
                }
                if self.head_lost.swap(false, Ordering::AcqRel) {
                    tracing::info!("audit head is the expected one again");
                }
                // The poll is part of the refresh, so that a readiness probe reports a keyring that was read
                // after the probe arrived. The watch, its metrics and the log report the outcome.
                drop(self.keyring.poll().await);
                Ok(deployment)
            }
            Err(ReadError::StateLost(why)) => {
                if !self.head_lost.swap(true, Ordering::AcqRel) {
                    tracing::error!(%why, "durable state lost");
                }
                Err(RefreshError::Lost { why: why.to_string(), rolled_back: is_rollback(&why) })
            }
            Err(ReadError::Redis(error)) => Err(error.into()),
            // Not expected: `end` reports a damaged end as `fault`, not as this error.
            Err(damaged @ ReadError::Damaged { .. }) => {
                Err(RefreshError::Lost { why: damaged.to_string(), rolled_back: false })
            }
        }
    }

    /// Returns the appender of the deployment's restore generation. It reports lost state if the chain does
    /// not hold the entry of the head in `STATE_DIR`.
    async fn appender_of(&self, deployment: &Deployment) -> Result<&Appender, RefreshError> {
        let known = self.memory.recall(deployment).await;
        let known =
            known.map_err(|error| RefreshError::Lost { why: error.to_string(), rolled_back: false })?;
        let head = known.map(|known| known.head_in(deployment.generation())).transpose();
        let head = head.map_err(|error| RefreshError::Lost { why: error.to_string(), rolled_back: true })?;
        Ok(self.audit.appender_of(deployment, head.flatten()))
    }

    pub(crate) fn is_head_lost(&self) -> bool {
        self.head_lost.load(Ordering::Acquire)
    }

    async fn keep_writing_state(&self) {
        if !self.memory.is_kept() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(entropy::jittered(WRITE_STATE_EVERY, 45)).await;
            self.keep_state().await;
        }
    }

    /// Writes the state that this process has seen to `STATE_DIR`, if it is later than the stored one.
    pub async fn keep_state(&self) {
        let Some(deployment) = self.state.seen() else { return };
        let Some((generation, appender)) = self.audit.latest() else { return };
        let highest_epoch = self.keyring.watch().snapshot().as_deref().and_then(highest_epoch).unwrap_or(0);
        let initial = Known::initial(deployment.id());
        let seen = Known { generation: *generation, highest_epoch, ..initial };
        self.memory.keep(deployment, seen.with_head(appender.log().highest())).await;
    }
}

fn highest_epoch(keys: &Snapshot) -> Option<u16> {
    keys.record().tag.iter().map(|entry| entry.number.get()).max()
}

/// Returns whether the state is older than, or differs from, a state that was seen before.
fn is_rollback(why: &StateLoss) -> bool {
    matches!(why, StateLoss::HeadAbsent { .. } | StateLoss::HeadLower { .. } | StateLoss::Forked { .. })
}

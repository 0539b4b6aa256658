//! The stored deployment record. A change compares the stored bytes with the bytes that were read.

use std::collections::BTreeMap;

use audit_chain::Precondition;
use redis_pool::RedisPool;
use serde::{Deserialize, Serialize};
use tag_id::Epoch;
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::error::DeploymentError;
use crate::keys;

/// The record. `id` and the restore generation come first in its JSON, because scripts compare its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeploymentRecord {
    pub(crate) id: String,
    /// Increases each time an operator accepts a restored state.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) restore_generation: u64,
    pub(crate) audit_origin: String,
    #[serde(with = "rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    /// Check values by epoch: 16 bytes of HKDF output in hex. Equal values show that two processes hold the
    /// same secret, without revealing it.
    pub(crate) tag_checks: BTreeMap<u16, String>,
    /// Whether a keyring record was created. If so, a missing keyring is lost state and is not created again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keyring_made: bool,
    /// Whether the audit chain has an entry. If so, a missing head is lost state and no new chain is started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) audit_begun: bool,
    /// Whether the minted-batch index covers every batch record: see [`crate::minted`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) minted_noted: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl DeploymentRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is always serialisable into memory")
    }
}

/// The deployment that this process works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    id: String,
    generation: u64,
    prefix: String,
    created_ms: u64,
}

impl Deployment {
    pub(crate) fn of(record: &DeploymentRecord) -> Self {
        let created_ms = u64::try_from(record.created_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        // Generation 0 is not stored, so the member after the id shows whether the generation is 0.
        let generation = match record.restore_generation {
            0 => String::new(),
            later => format!("\"restore_generation\":{later},"),
        };
        Self {
            prefix: format!("{{\"id\":\"{}\",{generation}\"audit_origin\":", record.id),
            generation: record.restore_generation,
            id: record.id.clone(),
            created_ms,
        }
    }

    /// The random id, 32 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Creation time, Unix milliseconds, by the clock of the factory-service that created the record.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// The restore generation, 0 unless an operator accepted a restored state (`factory-service restore
    /// accept`). A process accepts a lower audit head than it has seen only in a higher generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The prefix of the stored record of this deployment in this restore generation. Scripts compare it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The precondition of every audit append: the stored record has [`Self::prefix`].
    #[must_use]
    pub fn guard(&self) -> Precondition {
        Precondition::Prefix { key: keys::DEPLOYMENT.into(), prefix: self.prefix().into() }
    }
}

/// The record as read, with the exact bytes that a change must find unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeployment {
    record: DeploymentRecord,
    bytes: Vec<u8>,
}

impl StoredDeployment {
    /// Reads the record; returns `None` if there is none.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] if the stored value is not a deployment record.
    pub async fn read(pool: &RedisPool) -> Result<Option<Self>, DeploymentError> {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(keys::DEPLOYMENT);
        match pool.command(get).await? {
            redis::Value::BulkString(bytes) => Self::parse(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// Parses stored bytes.
    ///
    /// # Errors
    /// [`DeploymentError::Lost`] if they are not a deployment record.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, DeploymentError> {
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Self { record, bytes }),
            Err(error) => {
                Err(DeploymentError::Lost(format!("the deployment record cannot be read: {error}")))
            }
        }
    }

    pub(crate) fn into_record(self) -> DeploymentRecord {
        self.record
    }

    /// The stored bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The random id, 32 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The epochs whose secret every instance must hold, with their check values in hex.
    pub fn tag_checks(&self) -> impl Iterator<Item = (u16, &str)> {
        self.record.tag_checks.iter().map(|(epoch, check)| (*epoch, check.as_str()))
    }

    /// Whether a keyring record was created for this deployment.
    #[must_use]
    pub fn keyring_made(&self) -> bool {
        self.record.keyring_made
    }

    /// Returns the record with `check` as the check value of `epoch`: every instance must hold that secret.
    #[must_use]
    pub fn with_check(mut self, epoch: Epoch, check: &str) -> Self {
        self.record.tag_checks.insert(epoch.get(), check.to_owned());
        self.written()
    }

    /// Returns the record without a check value of `epoch`: no instance needs that secret any more.
    #[must_use]
    pub fn without_check(mut self, epoch: Epoch) -> Self {
        self.record.tag_checks.remove(&epoch.get());
        self.written()
    }

    /// Returns the record, marked to have a keyring record.
    #[must_use]
    pub fn with_keyring(mut self) -> Self {
        self.record.keyring_made = true;
        self.written()
    }

    /// Returns the record, marked to have an entry in its audit chain.
    #[must_use]
    pub(crate) fn with_audit(mut self) -> Self {
        self.record.audit_begun = true;
        self.written()
    }

    /// The restore generation: see [`crate::Deployment::generation`].
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.record.restore_generation
    }

    /// Returns the record in restore generation `generation`, or in its own if that is later.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.record.restore_generation = self.record.restore_generation.max(generation);
        self.written()
    }

    /// Whether the minted-batch index covers every batch record.
    #[must_use]
    pub fn minted_noted(&self) -> bool {
        self.record.minted_noted
    }

    /// Returns the record, marked to have a complete minted-batch index.
    #[must_use]
    pub(crate) fn with_minted_noted(mut self) -> Self {
        self.record.minted_noted = true;
        self.written()
    }

    fn written(mut self) -> Self {
        self.bytes = self.record.encode();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str =
        r#"{"id":"ab","audit_origin":"o","created_at":"2026-02-16T12:00:00Z","tag_checks":{"1":"00"}}"#;

    #[test]
    fn a_record_older_than_the_keyring_is_read_and_keeps_its_prefix() {
        let stored = StoredDeployment::parse(STORED.into()).unwrap();
        assert!(!stored.keyring_made());
        assert_eq!(stored.tag_checks().collect::<Vec<_>>(), [(1, "00")]);
        let epoch = Epoch::new(7).unwrap();
        let changed = stored.with_check(epoch, "11").with_keyring();
        assert!(changed.keyring_made() && changed.bytes().starts_with(br#"{"id":"ab""#));
        assert_eq!(changed.tag_checks().collect::<Vec<_>>(), [(1, "00"), (7, "11")]);
        let again = StoredDeployment::parse(changed.bytes().to_vec()).unwrap();
        assert_eq!(again, changed);
        assert_eq!(changed.without_check(epoch).tag_checks().count(), 1);
        assert!(StoredDeployment::parse(b"{}".to_vec()).is_err());
    }
}

//! The keyring record: `u32be(revision) ‖ JSON`. It holds states and public parts, never a secret.
//!
//! Decoding checks the invariants: each number once, and exactly one active key in a family that ever had
//! one. It fails if the record violates them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::vkey::VerifierKey;

/// Maximum number of keys of both families together. With the longest reasons, the record before a move and
/// the record after it fit one effect.
pub const MAX_KEYS: usize = 100;

/// Maximum length of the reason of a revocation, in characters. [`MAX_KEYS`] depends on it.
pub const MAX_REASON: usize = 200;

/// A stored record that cannot be decoded: damaged, or written by another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored keyring record cannot be read: {why}")]
pub struct KeyringRecordError {
    why: String,
}

impl KeyringRecordError {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// The state of a key. Moves only go forward, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Announced, so that operators can give its secret to all instances. Not used, not trusted.
    Pending,
    /// New tags are minted, or new checkpoints signed, with this key.
    Active,
    /// What was made with it stays valid; nothing new is made with it.
    VerifyOnly,
    /// Others have, or may have, its secret.
    Revoked,
    /// Nobody holds its secret any more. The record keeps its dates.
    Destroyed,
}

impl KeyState {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Active, Self::VerifyOnly, Self::Revoked, Self::Destroyed];

    /// Returns the name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::VerifyOnly => "verify_only",
            Self::Revoked => "revoked",
            Self::Destroyed => "destroyed",
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The public part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Public {
    /// A tag secret's check value, 32 hex digits: see [`tag_id::TagKeys::check_value`].
    Check(String),
    /// A signing key's verifier key, in the text form of the signed-note format.
    Vkey(VerifierKey),
}

/// When and why a key was revoked, and since when others may have had its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When the key was revoked.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The reason that the operator gave.
    pub reason: String,
    /// What was made with the key before this time stays trusted. [`crate::Move::CorrectDate`] changes it.
    #[serde(with = "rfc3339")]
    pub compromised_since: OffsetDateTime,
}

/// One key in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringEntry {
    /// Its number within its family.
    pub number: KeyNumber,
    /// Its state.
    pub state: KeyState,
    /// Its public part.
    #[serde(flatten)]
    pub public: Public,
    /// When it was added.
    #[serde(with = "rfc3339")]
    pub added_at: OffsetDateTime,
    /// When it became active.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<OffsetDateTime>,
    /// When another key replaced it as the active one.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<OffsetDateTime>,
    /// Set once it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// When it was destroyed.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<OffsetDateTime>,
}

impl KeyringEntry {
    /// Creates a pending key.
    #[must_use]
    pub fn pending(number: KeyNumber, public: Public, added_at: OffsetDateTime) -> Self {
        let (activated_at, retired_at, destroyed_at) = (None, None, None);
        let state = KeyState::Pending;
        Self { number, state, public, added_at, activated_at, retired_at, revoked: None, destroyed_at }
    }

    /// Returns the verifier key of a signing key, `None` for a tag key.
    #[must_use]
    pub fn vkey(&self) -> Option<&VerifierKey> {
        match &self.public {
            Public::Vkey(vkey) => Some(vkey),
            Public::Check(_) => None,
        }
    }

    /// Returns the check value of a tag secret in hex, `None` for a signing key.
    #[must_use]
    pub fn check(&self) -> Option<&str> {
        match &self.public {
            Public::Check(check) => Some(check),
            Public::Vkey(_) => None,
        }
    }

    /// Whether something was or is being made with the key, so its secret is still needed.
    ///
    /// Every instance must hold the secret of a tag key in use; the factory-service that signs must hold that
    /// of a signing key. A key that was revoked before it was ever active was never in use.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        match self.state {
            KeyState::Active | KeyState::VerifyOnly => true,
            KeyState::Revoked => self.activated_at.is_some(),
            KeyState::Pending | KeyState::Destroyed => false,
        }
    }
}

/// All keys of both families, ordered by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringRecord {
    /// Tag epochs.
    pub tag: Vec<KeyringEntry>,
    /// Audit signing keys.
    pub audit: Vec<KeyringEntry>,
}

impl KeyringRecord {
    /// Returns the keys of one family.
    #[must_use]
    pub fn family(&self, family: KeyFamily) -> &[KeyringEntry] {
        match family {
            KeyFamily::Tag => &self.tag,
            KeyFamily::Audit => &self.audit,
        }
    }

    pub(crate) fn family_mut(&mut self, family: KeyFamily) -> &mut Vec<KeyringEntry> {
        match family {
            KeyFamily::Tag => &mut self.tag,
            KeyFamily::Audit => &mut self.audit,
        }
    }

    /// Returns one key.
    #[must_use]
    pub fn entry(&self, key: KeyRef) -> Option<&KeyringEntry> {
        self.family(key.family).iter().find(|entry| entry.number == key.number)
    }

    /// Returns the active key of a family, or `None` if the family never had one.
    #[must_use]
    pub fn active(&self, family: KeyFamily) -> Option<&KeyringEntry> {
        self.family(family).iter().find(|entry| entry.state == KeyState::Active)
    }

    /// Encodes the record for storage.
    #[must_use]
    pub fn encode(&self, revision: u32) -> Vec<u8> {
        let mut bytes = revision.to_be_bytes().to_vec();
        serde_json::to_writer(&mut bytes, self).expect("plain data is always serialisable into memory");
        bytes
    }

    /// Checks the invariants that every move keeps.
    ///
    /// # Errors
    /// [`KeyringRecordError`] with the violated invariant.
    pub fn validate(&self) -> Result<(), KeyringRecordError> {
        for family in [KeyFamily::Tag, KeyFamily::Audit] {
            let entries = self.family(family);
            if !entries.is_sorted_by(|a, b| a.number < b.number) {
                return Err(KeyringRecordError::new(format!(
                    "the numbers of its {family} keys are not ascending"
                )));
            }
            let active = entries.iter().filter(|entry| entry.state == KeyState::Active).count();
            let ever = entries.iter().any(|entry| entry.activated_at.is_some());
            if active != usize::from(ever) {
                return Err(KeyringRecordError::new(format!("it has {active} active {family} keys")));
            }
            for entry in entries {
                let fits = match (family, &entry.public) {
                    (KeyFamily::Tag, Public::Check(check)) => is_check(check),
                    (KeyFamily::Audit, Public::Vkey(_)) => true,
                    _ => false,
                };
                if !fits {
                    return Err(KeyringRecordError::new(format!(
                        "{family} key {} has no public part of its family",
                        entry.number
                    )));
                }
                let revoked = entry.state == KeyState::Revoked;
                if revoked && entry.revoked.is_none() {
                    return Err(KeyringRecordError::new(format!(
                        "{family} key {} is revoked without dates",
                        entry.number
                    )));
                }
            }
        }
        match self.active(KeyFamily::Tag) {
            Some(_) => Ok(()),
            None => Err(KeyringRecordError::new("it has no active tag key")),
        }
    }
}

fn is_check(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The record as read, with the exact bytes that a move compares before it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyring {
    /// The decoded record.
    pub record: KeyringRecord,
    /// Increases by one with each move.
    pub revision: u32,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

impl StoredKeyring {
    /// Decodes stored bytes.
    ///
    /// # Errors
    /// [`KeyringRecordError`] if the bytes are not a keyring record, or if [`KeyringRecord::validate`] fails.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, KeyringRecordError> {
        let (revision, json) =
            bytes.split_first_chunk::<4>().ok_or_else(|| KeyringRecordError::new("it is too short"))?;
        let record: KeyringRecord =
            serde_json::from_slice(json).map_err(|error| KeyringRecordError::new(error.to_string()))?;
        record.validate()?;
        Ok(Self { record, revision: u32::from_be_bytes(*revision), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bytes(record: &Value) -> Vec<u8> {
        [&7_u32.to_be_bytes()[..], record.to_string().as_bytes()].concat()
    }

    fn stored() -> Value {
        json!({
            "tag": [
                {"number": 1, "state": "verify_only", "check": "00112233445566778899aabbccddeeff",
                 "added_at": "2026-02-16T12:00:00Z", "activated_at": "2026-02-16T12:00:00Z",
                 "retired_at": "2026-02-17T12:00:00Z"},
                {"number": 3, "state": "active", "check": "ffeeddccbbaa99887766554433221100",
                 "added_at": "2026-02-16T12:00:00Z", "activated_at": "2026-02-17T12:00:00Z"},
            ],
            "audit": [
                {"number": 1, "state": "pending", "added_at": "2026-02-16T12:00:00Z",
                 "vkey": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"},
            ],
        })
    }

    #[test]
    fn a_stored_record_is_decoded_and_encodes_to_the_same_json() {
        let read = StoredKeyring::decode(bytes(&stored())).unwrap();
        assert_eq!(read.revision, 7);
        assert_eq!(read.record.active(KeyFamily::Tag).unwrap().number.get(), 3);
        assert_eq!(read.record.audit[0].vkey().unwrap().name(), "PeterNeumann");
        let again: Value = serde_json::from_slice(&read.record.encode(7)[4..]).unwrap();
        assert_eq!(again, stored());
    }

    #[test]
    fn a_record_that_violates_an_invariant_is_damaged() {
        let spoil = |change: &dyn Fn(&mut Value)| {
            let mut record = stored();
            change(&mut record);
            StoredKeyring::decode(bytes(&record)).unwrap_err().to_string()
        };
        for (why, error) in [
            ("active tag", spoil(&|record| record["tag"][0]["state"] = "active".into())),
            ("active tag", spoil(&|record| record["tag"][1]["state"] = "verify_only".into())),
            ("active tag", spoil(&|record| record["tag"] = json!([]))),
            ("active audit", spoil(&|record| record["audit"][0]["state"] = "active".into())),
            ("not ascending", spoil(&|record| record["tag"][1]["number"] = 1.into())),
            ("public part", spoil(&|record| record["tag"][0]["check"] = "XY".into())),
            (
                "public part",
                spoil(&|record| {
                    record["audit"][0] = json!({"number": 1, "state": "pending",
                "added_at": "2026-02-16T12:00:00Z", "check": "00112233445566778899aabbccddeeff"})
                }),
            ),
            ("without dates", spoil(&|record| record["tag"][0]["state"] = "revoked".into())),
            ("1 to 4095", spoil(&|record| record["tag"][1]["number"] = 4096.into())),
            ("unknown variant", spoil(&|record| record["tag"][1]["state"] = "asleep".into())),
        ] {
            assert!(error.contains(why), "{why}: {error}");
        }
        assert!(StoredKeyring::decode(vec![0, 0, 0]).is_err());
        assert!(StoredKeyring::decode(vec![0, 0, 0, 1]).is_err());
    }
}

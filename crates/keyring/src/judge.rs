//! Verification of a note's signatures, and the trust that follows from the state of the signing key.
//!
//! A note that a revoked key signed is neither valid nor broken: the signature verifies, but others may have
//! made it. [`NoteTrust::SignedByRevokedKey`] gives the dates that a reader needs to decide.

use ambient::rfc3339;
use audit_chain::checkpoint::SignedNote;
use serde::Serialize;
use time::OffsetDateTime;

use crate::number::KeyNumber;
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Revocation};
use crate::vkey::VerifierKey;

/// The trust in a note, by its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NoteTrust {
    /// A trusted key signed it.
    Valid {
        /// The key.
        key: VerifierKey,
    },
    /// The signature verifies, but the key was revoked later.
    SignedByRevokedKey {
        /// The key.
        key: VerifierKey,
        /// When the key was revoked.
        #[serde(with = "rfc3339")]
        revoked_at: OffsetDateTime,
        /// Notes signed before this time are trusted. The note itself does not prove when it was signed.
        #[serde(with = "rfc3339")]
        compromised_since: OffsetDateTime,
    },
    /// A signature line names a known key, and the signature does not verify or the key was never active.
    Broken {
        /// The key.
        key: VerifierKey,
        /// The reason.
        why: &'static str,
    },
    /// No signature line names a known key.
    UnknownKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    number: Option<KeyNumber>,
    vkey: VerifierKey,
    trust: Trust,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    Plain,
    Revoked { revoked_at: OffsetDateTime, compromised_since: OffsetDateTime },
    NeverSigned,
}

impl Trust {
    fn of(entry: &KeyringEntry) -> Self {
        match (&entry.revoked, entry.state) {
            _ if entry.activated_at.is_none() => Self::NeverSigned,
            (Some(Revocation { at, compromised_since, .. }), _) => {
                Self::Revoked { revoked_at: *at, compromised_since: *compromised_since }
            }
            _ => Self::Plain,
        }
    }
}

/// The audit signing keys that a verifier knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditKeys(Vec<Known>);

impl AuditKeys {
    /// Returns the signing keys of a keyring record, with their states.
    #[must_use]
    pub fn of(record: &KeyringRecord) -> Self {
        let known = |entry: &KeyringEntry| {
            let trust = Trust::of(entry);
            Some(Known { number: Some(entry.number), vkey: entry.vkey()?.clone(), trust })
        };
        Self(record.audit.iter().filter_map(known).collect())
    }

    /// Returns keys that an operator trusts, without known states.
    #[must_use]
    pub fn trusted(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let known = |vkey| Known { number: None, vkey, trust: Trust::Plain };
        Self(keys.into_iter().map(known).collect())
    }

    /// Applies the key states that another source, such as an export's header, states. A statement can only
    /// lower the trust in a key, and adds no keys.
    #[must_use]
    pub fn warned_by(mut self, statements: &[KeyringEntry]) -> Self {
        for known in &mut self.0 {
            let stated = statements.iter().find(|entry| entry.vkey() == Some(&known.vkey)).map(Trust::of);
            if let (Trust::Plain, Some(lower)) = (&known.trust, stated) {
                known.trust = lower;
            }
        }
        self
    }

    /// Returns the number of a key, if the keys come from a keyring record and include it.
    #[must_use]
    pub fn number_of(&self, key: &VerifierKey) -> Option<KeyNumber> {
        self.0.iter().find(|known| known.vkey == *key)?.number
    }

    /// Verifies the signatures of a note.
    ///
    /// Skips lines that name unknown keys, as the signed-note format requires. Of several known keys, a
    /// broken signature ranks before a valid one, and a valid one before one of a revoked key.
    #[must_use]
    pub fn judge(&self, note: &SignedNote) -> NoteTrust {
        let mut best = NoteTrust::UnknownKey;
        for line in note.signatures() {
            let Some(known) = self.0.iter().find(|known| known.vkey.is_named_by(line)) else { continue };
            let key = known.vkey.clone();
            if !key.verifies(note.text(), line) {
                return NoteTrust::Broken { key, why: "the key did not make this signature of this text" };
            }
            match known.trust {
                Trust::NeverSigned => return NoteTrust::Broken { key, why: "the key was never active" },
                Trust::Plain => best = NoteTrust::Valid { key },
                Trust::Revoked { .. } if matches!(best, NoteTrust::Valid { .. }) => {}
                Trust::Revoked { revoked_at, compromised_since } => {
                    best = NoteTrust::SignedByRevokedKey { key, revoked_at, compromised_since };
                }
            }
        }
        best
    }
}

/// Whether the state of a key allows it to sign.
pub(crate) fn may_sign(entry: &KeyringEntry) -> bool {
    entry.state == KeyState::Active
}

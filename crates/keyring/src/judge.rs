//! Whose signature a note bears, and what that is worth by what is known of the key.
//!
//! A note that a now revoked key signed is neither plainly good nor plainly bad: the signature is right, and others may have
//! been able to make it. It has a state of its own, with the dates that a reader needs to judge.

use ambient::rfc3339;
use audit_chain::checkpoint::SignedNote;
use serde::Serialize;
use time::OffsetDateTime;

use crate::number::KeyNumber;
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Revocation};
use crate::vkey::VerifierKey;

/// What a note's signatures are worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NoteTrust {
    /// A key that is believed signed it.
    Valid {
        /// Which.
        key: VerifierKey,
    },
    /// The signature is right, and the key was revoked since.
    SignedByRevokedKey {
        /// Which.
        key: VerifierKey,
        /// When the key was revoked.
        #[serde(with = "rfc3339")]
        revoked_at: OffsetDateTime,
        /// What it signed before is believed; when it signed this, only other evidence can tell.
        #[serde(with = "rfc3339")]
        compromised_since: OffsetDateTime,
    },
    /// It bears the name of a known key and is not that key's signature, or of one that never signed.
    Broken {
        /// Which.
        key: VerifierKey,
        /// What is wrong.
        why: &'static str,
    },
    /// No signature is by a key that is known.
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
    /// Those of a keyring.
    #[must_use]
    pub fn of(record: &KeyringRecord) -> Self {
        let known = |entry: &KeyringEntry| {
            let trust = Trust::of(entry);
            Some(Known { number: Some(entry.number), vkey: entry.vkey()?.clone(), trust })
        };
        Self(record.audit.iter().filter_map(known).collect())
    }

    /// Public keys that an operator trusts, of which nothing else is known.
    #[must_use]
    pub fn trusted(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let known = |vkey| Known { number: None, vkey, trust: Trust::Plain };
        Self(keys.into_iter().map(known).collect())
    }

    /// The same keys, in the light of what another source (an export's header) says of them: its word can only make a key
    /// worse, and adds none.
    #[must_use]
    pub fn warned_by(mut self, word: &[KeyringEntry]) -> Self {
        for known in &mut self.0 {
            let said = word.iter().find(|entry| entry.vkey() == Some(&known.vkey)).map(Trust::of);
            if let (Trust::Plain, Some(worse)) = (&known.trust, said) {
                known.trust = worse;
            }
        }
        self
    }

    /// The number of a key, where it is known.
    #[must_use]
    pub fn number_of(&self, key: &VerifierKey) -> Option<KeyNumber> {
        self.0.iter().find(|known| known.vkey == *key)?.number
    }

    /// Whose signatures a note bears. Lines by keys that are not known are passed over, as the format asks; of several known
    /// ones a wrong signature tells before anything else, then a plainly valid one.
    #[must_use]
    pub fn judge(&self, note: &SignedNote) -> NoteTrust {
        let mut best = NoteTrust::UnknownKey;
        for line in note.signatures() {
            let Some(known) = self.0.iter().find(|known| known.vkey.is_named_by(line)) else { continue };
            let key = known.vkey.clone();
            if !key.verifies(note.text(), line) {
                return NoteTrust::Broken { key, why: "the signature is not that of this text by this key" };
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

/// Whether the state of a key lets it sign.
pub(crate) fn may_sign(entry: &KeyringEntry) -> bool {
    entry.state == KeyState::Active
}

//! Whether the tags of a key can be trusted.
//!
//! An id that verifies under an untrusted key (pending, destroyed, never added) is answered like a forged id.
//! If the key was never in use, such an id is also a sign that the secret has leaked. Tags of a revoked key
//! are still decoded, because trust in them depends on when their batch was minted.

use catalog::Batch;
use keyring::{Snapshot, TagKeyState};
use tag_id::Epoch;
use time::OffsetDateTime;

/// Whether the tags of one key can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTrust {
    /// All or some of its tags can be trusted.
    Trusted(TrustedKey),
    /// No tag of the key can be trusted.
    Untrusted(UntrustedKey),
}

/// A key whose tags can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedKey {
    /// All its tags are valid.
    Sound,
    /// Others know, or may know, its secret since a known time.
    Revoked {
        /// Batches minted at this time or later are not trusted.
        compromised_since: OffsetDateTime,
    },
}

/// A key whose tags cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntrustedKey {
    /// No tag was minted under it. An id that verifies was made by someone who must not have the secret.
    NeverInUse,
    /// The key was destroyed. Labels printed under it may still circulate.
    Destroyed,
}

impl KeyTrust {
    /// Returns the trust in the key of `epoch` as of this snapshot.
    #[must_use]
    pub fn of(keys: &Snapshot, epoch: Epoch) -> Self {
        Self::decided(keys, epoch).unwrap_or(Self::Untrusted(UntrustedKey::NeverInUse))
    }

    /// Like [`Self::of`], but returns `None` if the key is pending or unknown: it may have become active
    /// since, and an instance that was disconnected for a while may not know a key at all.
    pub(crate) fn decided(keys: &Snapshot, epoch: Epoch) -> Option<Self> {
        Some(match keys.tag_state(epoch)? {
            TagKeyState::Active | TagKeyState::VerifyOnly => Self::Trusted(TrustedKey::Sound),
            TagKeyState::Revoked(revocation) => {
                Self::Trusted(TrustedKey::Revoked { compromised_since: revocation.compromised_since })
            }
            TagKeyState::Destroyed => Self::Untrusted(UntrustedKey::Destroyed),
            TagKeyState::NeverInUse => Self::Untrusted(UntrustedKey::NeverInUse),
            TagKeyState::Pending => return None,
        })
    }

    /// Returns the trusted key.
    ///
    /// # Errors
    /// [`UntrustedKey`] if no tag of the key can be trusted.
    pub fn trusted(self) -> Result<TrustedKey, UntrustedKey> {
        match self {
            Self::Trusted(key) => Ok(key),
            Self::Untrusted(key) => Err(key),
        }
    }
}

impl TrustedKey {
    /// Returns whether the batch was minted at a time when others may have known the secret.
    #[must_use]
    pub fn invalidates(self, batch: &Batch) -> bool {
        match self {
            Self::Sound => false,
            Self::Revoked { compromised_since } => batch.created_at >= compromised_since,
        }
    }

    /// Returns whether the batch is trusted although others may now be able to compute its ids.
    #[must_use]
    pub fn supersedes(self, batch: &Batch) -> bool {
        self != Self::Sound && !self.invalidates(batch)
    }
}

//! Whether the tags of a key can be trusted.
//!
//! An id that proves itself under an untrusted key (pending, destroyed, never added) gets the answer of a
//! forged id. Under a key that was never in use it is also a sign that its secret has leaked. The tags of a
//! revoked key are still opened: whether one is trusted depends on when its batch was minted.

use catalog::Batch;
use keyring::{Snapshot, TagKeyState};
use tag_id::Epoch;
use time::OffsetDateTime;

/// What the keyring says of one key's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTrust {
    /// Its tags can be trusted, all or some of them.
    Trusted(TrustedKey),
    /// None of its tags can be trusted.
    Untrusted(UntrustedKey),
}

/// A key whose tags can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedKey {
    /// All of its tags are valid.
    Sound,
    /// Others have, or may have, its secret since then.
    Revoked {
        /// Batches minted from then on are not trusted.
        compromised_since: OffsetDateTime,
    },
}

/// A key whose tags cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntrustedKey {
    /// Nothing can have been minted under it: the maker of an id has its secret, and should not.
    NeverInUse,
    /// It was destroyed. Labels printed under it may still circulate.
    Destroyed,
}

impl KeyTrust {
    /// The trust in the key of `epoch` by this snapshot.
    #[must_use]
    pub fn of(keys: &Snapshot, epoch: Epoch) -> Self {
        Self::decided(keys, epoch).unwrap_or(Self::Untrusted(UntrustedKey::NeverInUse))
    }

    /// The same, or `None` if the key is pending or unknown: it may have become active since, and an instance
    /// that was disconnected for a while may not know a key at all.
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

    /// The trusted key.
    ///
    /// # Errors
    /// [`UntrustedKey`].
    pub fn trusted(self) -> Result<TrustedKey, UntrustedKey> {
        match self {
            Self::Trusted(key) => Ok(key),
            Self::Untrusted(key) => Err(key),
        }
    }
}

impl TrustedKey {
    /// Whether the batch was minted when others may have had the secret.
    #[must_use]
    pub fn disowns(self, batch: &Batch) -> bool {
        match self {
            Self::Sound => false,
            Self::Revoked { compromised_since } => batch.created_at >= compromised_since,
        }
    }

    /// Whether the batch is trusted although others may be able to copy its ids.
    #[must_use]
    pub fn supersedes(self, batch: &Batch) -> bool {
        self != Self::Sound && !self.disowns(batch)
    }
}

//! What the keyring says of the key that a tag was minted under.
//!
//! An id that proves itself under a key of which nothing is believed (pending, destroyed, never added) is answered as a forged one;
//! under a key that was never in use it is also a sign that its secret has leaked. A revoked key's tags are still opened: whether
//! one is believed depends on when its batch was minted.

use catalog::Batch;
use keyring::{Snapshot, TagKeyState};
use storage::StorageError;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::durable::Durable;

/// The standing of a key whose tags may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// Its tags are plainly valid.
    Sound,
    /// Others have, or may have, its secret since then.
    Revoked {
        /// Batches minted from then on are not believed.
        compromised_since: OffsetDateTime,
    },
}

/// A key of whose tags none is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntrustedKey {
    /// Nothing can have been minted under it: who made an id has its secret, and should not.
    NeverInUse,
    /// Its time is over; what was printed under it may still lie about.
    Destroyed,
}

impl KeyStanding {
    /// Of the key of `epoch`. Redis is asked only of a key that is pending here or not known: it may have become active a moment ago, and
    /// a tag of its first batch must not be called forged. Nobody without the secret of that key can bring it about, and many that
    /// do at once share one question, which writes nothing.
    ///
    /// # Errors
    /// As [`Durable::keys`], and when Redis does not answer.
    pub async fn of(durable: &Durable, epoch: Epoch) -> Result<Result<Self, UntrustedKey>, StorageError> {
        let known = durable.keys()?;
        let standing = match known.tag_state(epoch) {
            // An instance that was away for a while may not have heard of a key at all.
            Some(TagKeyState::Pending) | None => Self::said(durable.refresh_keys().await?.tag_state(epoch)),
            state => Self::said(state),
        };
        Ok(standing)
    }

    /// Of the key of `epoch`, as this process knows it; for showing, not for judging an id.
    ///
    /// # Errors
    /// [`UntrustedKey`].
    pub fn known(keys: &Snapshot, epoch: Epoch) -> Result<Self, UntrustedKey> {
        Self::said(keys.tag_state(epoch))
    }

    fn said(state: Option<&TagKeyState>) -> Result<Self, UntrustedKey> {
        match state {
            Some(TagKeyState::Active | TagKeyState::VerifyOnly) => Ok(Self::Sound),
            Some(TagKeyState::Revoked(revocation)) => {
                Ok(Self::Revoked { compromised_since: revocation.compromised_since })
            }
            Some(TagKeyState::Destroyed) => Err(UntrustedKey::Destroyed),
            Some(TagKeyState::Pending | TagKeyState::NeverInUse) | None => Err(UntrustedKey::NeverInUse),
        }
    }

    /// Whether the batch was minted when others may have had the secret.
    #[must_use]
    pub fn disowns(self, batch: &Batch) -> bool {
        match self {
            Self::Sound => false,
            Self::Revoked { compromised_since } => batch.created_at >= compromised_since,
        }
    }

    /// Whether the batch is believed although others may be able to copy its ids.
    #[must_use]
    pub fn supersedes(self, batch: &Batch) -> bool {
        self != Self::Sound && !self.disowns(batch)
    }
}

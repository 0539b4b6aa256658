//! Why a move of a key is rejected.

use crate::number::{KeyFamily, KeyRef};
use crate::record::{KeyState, MAX_KEYS, MAX_REASON};

/// Why a move is rejected. The text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    /// The keyring has no such key.
    #[error("there is no {0}")]
    Unknown(KeyRef),
    /// The number is in use.
    #[error("{0} exists already; use the next number")]
    Exists(KeyRef),
    /// The same key exists under another number.
    #[error("{key} is the same key as {other}, so rotating to it would change nothing; generate a new key")]
    SameKey {
        /// The key to add.
        key: KeyRef,
        /// The existing key.
        other: KeyRef,
    },
    /// This process has no secret under that number.
    #[error("this process has no secret for {0}; configure one and restart it")]
    NoSecret(KeyRef),
    /// The secret of this process under that number is not the one that was added.
    #[error("the secret that this process has for {0} is not the one that was added; configure that one")]
    OtherSecret(KeyRef),
    /// The move does not start from the key's state: moves only go forward.
    #[error("{key} is {state}; {verb} takes {takes}")]
    Backward {
        /// The key.
        key: KeyRef,
        /// Its state.
        state: KeyState,
        /// Name of the move.
        verb: &'static str,
        /// The states that the move starts from.
        takes: &'static str,
    },
    /// An active key cannot be revoked, because a family must keep an active key.
    #[error("{0} is active; add and activate a successor first, then revoke it")]
    RevokeActive(KeyRef),
    /// No key is pending.
    #[error("no pending {family} key can replace it; add one first")]
    NoSuccessor {
        /// The family.
        family: KeyFamily,
    },
    /// More than one key is pending, so the successor is ambiguous.
    #[error("{pending} {family} keys are pending; activate the one that replaces it")]
    SeveralSuccessors {
        /// The family.
        family: KeyFamily,
        /// Number of pending keys.
        pending: usize,
    },
    /// The key is revoked with another date.
    #[error("{key} is already revoked with compromised_since {stored}; correct-date changes that date")]
    OtherDate {
        /// The key.
        key: KeyRef,
        /// The stored date, RFC 3339.
        stored: String,
    },
    /// `compromised_since` is in the future.
    #[error("compromised_since is in the future")]
    Future,
    /// The reason is empty or too long.
    #[error("a reason has 1 to {MAX_REASON} characters")]
    Reason,
    /// The record holds as many keys, or as high a revision, as it can.
    #[error("the keyring is full: it holds at most {MAX_KEYS} keys")]
    Full,
    /// Live instances lack the secret.
    #[error(
        "{instances} live {service} instances lack the secret of {key}; configure it there and restart them"
    )]
    Lacking {
        /// The key.
        key: KeyRef,
        /// The service.
        service: String,
        /// Number of its instances that lack the secret.
        instances: usize,
    },
    /// Live instances have not announced since the key was added.
    #[error(
        "{instances} live {service} instances have not read {key} from the keyring yet; try again (a killed \
         instance counts as live for ten more seconds)"
    )]
    NotYetRead {
        /// The key.
        key: KeyRef,
        /// The service.
        service: String,
        /// Number of its instances that have not read the key.
        instances: usize,
    },
}

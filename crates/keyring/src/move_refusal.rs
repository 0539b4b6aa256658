//! Why a move of a key cannot be made.

use crate::number::{KeyFamily, KeyRef};
use crate::record::{KeyState, MAX_KEYS, MAX_REASON};

/// Why a move is refused. Each says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    /// There is no such key.
    #[error("there is no {0}")]
    Unknown(KeyRef),
    /// The number is taken.
    #[error("there is a {0} already; take the next number")]
    Exists(KeyRef),
    /// Another number has the same signing key.
    #[error("{key} is the same key as {other}; rotating to it would change nothing")]
    SameKey {
        /// The one to be added.
        key: KeyRef,
        /// The one that is there.
        other: KeyRef,
    },
    /// This process holds no secret of that number.
    #[error("this process has no secret for {0}; give it one and start it again")]
    NoSecret(KeyRef),
    /// The process holds another secret under that number than the one that was added.
    #[error("the secret that this process has for {0} is not the one that was added")]
    OtherSecret(KeyRef),
    /// Moves only go forward.
    #[error("{key} is {state}; {verb} takes {takes}")]
    Backward {
        /// Which key.
        key: KeyRef,
        /// Where it stands.
        state: KeyState,
        /// The move.
        verb: &'static str,
        /// The states it starts from.
        takes: &'static str,
    },
    /// An active key cannot be revoked: something must be active.
    #[error("{0} is active; add and activate a successor first, then revoke it")]
    RevokeActive(KeyRef),
    /// Nothing can take over.
    #[error("no pending {family} key can take over; add one first")]
    NoSuccessor {
        /// The family.
        family: KeyFamily,
    },
    /// It is not clear which is to take over.
    #[error("{pending} {family} keys are pending; activate the one that is to take over")]
    SeveralSuccessors {
        /// The family.
        family: KeyFamily,
        /// How many are pending.
        pending: usize,
    },
    /// It is revoked, with another date.
    #[error("{key} is revoked with compromised_since {stands} already; another date takes correct-date")]
    OtherDate {
        /// Which key.
        key: KeyRef,
        /// What stands, RFC 3339.
        stands: String,
    },
    /// `compromised_since` lies in the future.
    #[error("compromised_since lies in the future")]
    Future,
    /// The reason has no characters, or too many.
    #[error("a reason has 1 to {MAX_REASON} characters")]
    Reason,
    /// There are as many keys as one record may hold.
    #[error("the keyring holds {MAX_KEYS} keys, which is the most it can")]
    Full,
    /// Live instances lack the secret.
    #[error(
        "{instances} live {service} instances lack the secret of {key}; give it to them and start them again"
    )]
    Lacking {
        /// Which key.
        key: KeyRef,
        /// Which service.
        service: String,
        /// How many of its instances.
        instances: usize,
    },
    /// Live instances have not answered for the key yet.
    #[error(
        "{instances} live {service} instances have not heard of {key} yet; one that is gone counts for ten seconds more"
    )]
    Unheard {
        /// Which key.
        key: KeyRef,
        /// Which service.
        service: String,
        /// How many of its instances.
        instances: usize,
    },
}

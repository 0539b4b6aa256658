//! Every key of the keyring.
//!
//! | key | type | holds | lasts |
//! | --- | --- | --- | --- |
//! | `vt1:keyring` | string | `u32be(revision) ‖ JSON`: states and public parts of all keys | for ever |
//! | `vt1:live` | sorted set | ids of instances; the score is when each ceases to count, Unix ms | for ever |
//! | `vt1:live-seq` | string | how many instances have come so far, in decimal | for ever |
//! | `vt1:live:<uuid>` | string | what one instance holds, JSON | 10 s |

use uuid::Uuid;

/// States and public parts of all keys.
pub const KEYRING: &str = "vt1:keyring";

/// The instances that live.
pub const LIVE: &str = "vt1:live";

/// Moves on with every instance that comes, so that a move can be bound to the instances that were looked at.
pub const LIVE_SEQ: &str = "vt1:live-seq";

/// What the id of an instance is put behind.
pub const INSTANCE_PREFIX: &str = "vt1:live:";

/// What one instance holds.
#[must_use]
pub fn instance(id: &Uuid) -> String {
    format!("{INSTANCE_PREFIX}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_is_already_stored() {
        assert_eq!((KEYRING, LIVE, LIVE_SEQ), ("vt1:keyring", "vt1:live", "vt1:live-seq"));
        let id: Uuid = "019c6652-5e00-7000-8000-0000000000aa".parse().unwrap();
        assert_eq!(instance(&id), "vt1:live:019c6652-5e00-7000-8000-0000000000aa");
    }
}

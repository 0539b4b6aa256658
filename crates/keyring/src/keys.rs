//! Redis keys of this crate.
//!
//! | key | type | value | TTL |
//! | --- | --- | --- | --- |
//! | `vt1:keyring` | string | `u32be(revision) ‖ JSON`: states and public parts of all keys | none |
//! | `vt1:live` | sorted set | ids of live instances; the score is the expiry, Unix ms | none |
//! | `vt1:live-seq` | string | number of registrations so far, in decimal | none |
//! | `vt1:live:<uuid>` | string | secrets that one instance holds, as check values in JSON | 10 s |

use uuid::Uuid;

/// Keyring record.
pub const KEYRING: &str = "vt1:keyring";

/// Live instances.
pub const LIVE: &str = "vt1:live";

/// Registration counter. It changes when an instance registers, so a move can check that none has since.
pub const LIVE_SEQ: &str = "vt1:live-seq";

/// Key prefix of instance records.
pub const INSTANCE_PREFIX: &str = "vt1:live:";

/// Key of an instance record.
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

//! Every key of the audit chain. All of one chain share the hash tag `{audit}`, so one script call can reach them.
//!
//! | key | type | holds | lasts |
//! | --- | --- | --- | --- |
//! | `vt1:{audit}:head` | string | `u64be(size) ‖ hash(32)` | for ever |
//! | `vt1:{audit}:seg:<n>` | list | entries `n × 4096 ..`, each `hash(32) ‖ payload` | for ever |
//! | `vt1:{audit}:gen` | string | `u64be(generation) ‖ u64be(born, Unix ms)` of the ids written now | for ever |
//! | `vt1:{audit}:ids:<g>` | hash | event id (16 bytes) → seq | 72 h, or until two generations later |
//! | `vt1:{audit}:range` | string | `u64be(size)`, then all leaves but the last as a compact range: the Merkle tree at the last checkpoint | for ever |
//! | `vt1:{audit}:notes` | hash | number of a signing key → its latest signed checkpoint | for ever |
//! | `vt1:{audit}:probe:<type>` | any | nothing | one script call; a second where Redis refuses `DEL` |

/// Where the chain ends.
pub const HEAD: &str = "vt1:{audit}:head";

/// Which generation of ids is written now.
pub const GENERATION: &str = "vt1:{audit}:gen";

/// The Merkle tree at the last checkpoint.
pub const RANGE: &str = "vt1:{audit}:range";

/// The latest signed checkpoint of each key.
pub const NOTES: &str = "vt1:{audit}:notes";

/// What the number of a generation is put behind.
pub const IDS_PREFIX: &str = "vt1:{audit}:ids:";

/// What the number of a segment is put behind.
pub const SEGMENT_PREFIX: &str = "vt1:{audit}:seg:";

/// Entries in a full segment. Segments keep any one key from growing without bound.
pub const SEGMENT_ENTRIES: u64 = 4096;

/// The segment that holds entry `seq`.
#[must_use]
pub fn segment_of(seq: u64) -> String {
    segment(seq / SEGMENT_ENTRIES)
}

/// The key of the `number`th segment.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{SEGMENT_PREFIX}{number}")
}

/// Where in its segment entry `seq` stands.
#[must_use]
pub const fn place_in_segment(seq: u64) -> u64 {
    seq % SEGMENT_ENTRIES
}

/// A key on which it is tried what this connection may do with one of that type.
pub(crate) fn probe(of_type: &str) -> String {
    format!("vt1:{{audit}}:probe:{of_type}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_change() {
        assert_eq!(HEAD, "vt1:{audit}:head");
        assert_eq!(GENERATION, "vt1:{audit}:gen");
        assert_eq!(IDS_PREFIX, "vt1:{audit}:ids:");
        assert_eq!((RANGE, NOTES), ("vt1:{audit}:range", "vt1:{audit}:notes"));
        assert_eq!(segment_of(0), "vt1:{audit}:seg:0");
        assert_eq!(segment_of(4_095), "vt1:{audit}:seg:0");
        assert_eq!((segment_of(4_096).as_str(), place_in_segment(4_096)), ("vt1:{audit}:seg:1", 0));
        assert_eq!(
            (segment_of(1_000_000).as_str(), place_in_segment(1_000_000)),
            ("vt1:{audit}:seg:244", 576)
        );
    }
}

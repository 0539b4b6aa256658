//! The keys of the audit chain in Redis.
//!
//! All of them share the hash tag `{audit}`, so one script call can reach them.
//!
//! | key | type | value | lifetime |
//! | --- | --- | --- | --- |
//! | `vt1:{audit}:head` | string | `u64be(size) ‖ hash(32)` | forever |
//! | `vt1:{audit}:seg:<n>` | list | entries `n × 4096 ..`, each `hash(32) ‖ payload` | forever |
//! | `vt1:{audit}:gen` | string | `u64be(generation) ‖ u64be(started at, Unix ms)` | forever |
//! | `vt1:{audit}:ids:<g>` | hash | event id (16 bytes) → seq | 72 h, or two generations |
//! | `vt1:{audit}:range` | string | `u64be(size) ‖ compact range` | forever |
//! | `vt1:{audit}:notes` | hash | number of a key → its latest signed checkpoint | forever |
//! | `vt1:{audit}:probe:<type>` | any | nothing | one script call, or 1 s |
//!
//! The generation is the one that ids are written to. The compact range is the Merkle tree at the last
//! checkpoint without its last leaf. Probe keys expire after a second where Redis does not allow `DEL`.

/// Key of the head.
pub const HEAD: &str = "vt1:{audit}:head";

/// Key of the current generation of ids.
pub const GENERATION: &str = "vt1:{audit}:gen";

/// Key of the cached compact range.
pub const RANGE: &str = "vt1:{audit}:range";

/// Key of the latest signed checkpoint of each key.
pub const NOTES: &str = "vt1:{audit}:notes";

/// Prefix of a generation of ids, before its number.
pub const IDS_PREFIX: &str = "vt1:{audit}:ids:";

/// Prefix of a segment, before its number.
pub const SEGMENT_PREFIX: &str = "vt1:{audit}:seg:";

/// Entries in a full segment. Segments bound the size of a key.
pub const SEGMENT_ENTRIES: u64 = 4096;

/// Returns the key of the segment that holds entry `seq`.
#[must_use]
pub fn segment_of(seq: u64) -> String {
    segment(seq / SEGMENT_ENTRIES)
}

/// Returns the key of a segment.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{SEGMENT_PREFIX}{number}")
}

/// Returns the index of entry `seq` in its segment, from 0.
#[must_use]
pub const fn place_in_segment(seq: u64) -> u64 {
    seq % SEGMENT_ENTRIES
}

/// Returns the key on which commands for this type are probed.
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

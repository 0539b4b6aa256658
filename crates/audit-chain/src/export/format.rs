//! The lines of an export.

use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::checkpoint::read_checkpoint;
use crate::read::pages::EntryView;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The `format` of the first line.
pub const FORMAT: &str = "voketag-audit-export/v2";

/// The previous format. Its files have no last record, so a file cut after an entry looks complete.
pub(crate) const FORMAT_WITHOUT_END: &str = "voketag-audit-export/v1";

/// Longest line, in bytes. An entry has at most 17 KiB, a first line with a hundred keys and their notes 200
/// KiB.
pub const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// [`FORMAT`].
    pub format: String,
    /// Name of the chain.
    pub origin: String,
    /// Number of entries that follow: all from the first.
    pub size: u64,
    /// Hash of the last entry.
    pub head: Hash,
    /// When the file was made, in RFC 3339.
    pub exported_at: String,
    /// Signed notes of at most `size` entries.
    pub checkpoints: Vec<String>,
    /// What the exporter knew about the keys that signed them. A reader uses it only to distrust a key, never
    /// to trust one.
    #[serde(default)]
    pub keys: Vec<serde_json::Value>,
}

impl ExportHeader {
    /// Makes the first line of an export of the chain `origin` up to `head`. Notes of more entries are left
    /// out.
    #[must_use]
    pub fn new(
        origin: &str,
        head: Head,
        exported_at: String,
        notes: Vec<String>,
        keys: Vec<serde_json::Value>,
    ) -> Self {
        let is_within = |note: &String| {
            read_checkpoint(note.as_bytes()).map_or(true, |(_, checkpoint)| checkpoint.size <= head.size)
        };
        Self {
            format: FORMAT.to_owned(),
            origin: origin.to_owned(),
            size: head.size,
            head: head.hash,
            exported_at,
            checkpoints: notes.into_iter().filter(is_within).collect(),
            keys,
        }
    }

    /// Returns the line with its line feed.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        line(self)
    }

    /// Returns the head that the entries lead to.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size, hash: self.head }
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("plain data is always serialisable into memory");
    line.push(b'\n');
    line
}

/// The last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportEnd {
    pub(crate) end: bool,
    pub(crate) size: u64,
    pub(crate) head: Hash,
}

/// Returns the line of the last record with its line feed.
#[must_use]
pub fn end_line(head: Head) -> Vec<u8> {
    line(&ExportEnd { end: true, size: head.size, head: head.hash })
}

#[derive(Serialize)]
struct ShownEntry<'a> {
    seq: u64,
    prev: Hash,
    payload_hash: Hash,
    hash: Hash,
    event: Option<&'a RawValue>,
}

/// Returns the line of one entry with its line feed. Its event is `null` unless `is_shown`.
#[must_use]
pub fn entry_line(entry: &EntryView, is_shown: bool) -> Vec<u8> {
    let EntryView { seq, prev, payload_hash, hash, event } = entry;
    let event = is_shown.then_some(&**event);
    line(&ShownEntry { seq: *seq, prev: *prev, payload_hash: *payload_hash, hash: *hash, event })
}

//! The chain as a file that can be verified anywhere, with public keys alone and in constant memory: lines of JSON.
//!
//! ```text
//! {"format":"voketag-audit-export/v2","origin":…,"size":…,"head":…,"exported_at":…,"checkpoints":[…],"keys":[…]}
//! {"seq":0,"prev":…,"payload_hash":…,"hash":…,"event":{…}}
//! {"seq":1,"prev":…,"payload_hash":…,"hash":…,"event":null}
//! {"end":true,"size":…,"head":…}
//! ```
//!
//! Signed checkpoints stand in the first line, so that a reader knows at which sizes it will need a root and takes it while it
//! streams. The last record says size and head once more: a file without it was cut, wherever that happened, and is not complete.
//! An entry whose event is `null` (another tenant's) verifies by its payload hash; only what it says is not known.
//!
//! Three kinds of "no": what the file holds is not right (in the report, with the first seq), the file was cut (in the report too:
//! what it holds is right as far as it goes), and the file could not be read ([`ExportError`]), of which nothing is said.

use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::checkpoint::read_checkpoint;
use crate::error::ReadError;
use crate::read::log::{AuditLog, EntryView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::num::NonZeroUsize;

mod verify;

pub use self::verify::{CheckedNote, ExportError, ExportReport, verify_export};

/// What the first line says the file is.
pub const FORMAT: &str = "voketag-audit-export/v2";

/// The format before, whose files have no last record: one that was cut behind an entry could not be told by its end.
const FORMAT_WITHOUT_END: &str = "voketag-audit-export/v1";

/// Longest line, bytes: an entry has at most 17 KiB, a first line with a hundred keys and their notes 200 KiB.
pub const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Entries asked for at once; a page is cut short once it weighs more than 1 MiB.
const PAGE: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// [`FORMAT`].
    pub format: String,
    /// The chain's name.
    pub origin: String,
    /// How many entries follow: all from the first.
    pub size: u64,
    /// The last entry's hash.
    pub head: Hash,
    /// When the file was made, RFC 3339.
    pub exported_at: String,
    /// Signed notes about sizes up to this one.
    pub checkpoints: Vec<String>,
    /// What the exporter knew of the keys that signed them; believed only where it makes a key worse.
    #[serde(default)]
    pub keys: Vec<serde_json::Value>,
}

impl ExportHeader {
    /// Of the chain `origin` up to `head`. Notes that speak of more are left out.
    #[must_use]
    pub fn new(
        origin: &str,
        head: Head,
        exported_at: String,
        notes: Vec<String>,
        keys: Vec<serde_json::Value>,
    ) -> Self {
        let within = |note: &String| {
            read_checkpoint(note.as_bytes()).map_or(true, |(_, checkpoint)| checkpoint.size <= head.size)
        };
        Self {
            format: FORMAT.to_owned(),
            origin: origin.to_owned(),
            size: head.size,
            head: head.hash,
            exported_at,
            checkpoints: notes.into_iter().filter(within).collect(),
            keys,
        }
    }

    /// The line, its end included.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        line(self)
    }

    /// The head that the entries lead to.
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
struct ExportEnd {
    end: bool,
    size: u64,
    head: Hash,
}

/// The line of the last record, its end included.
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

/// One entry's line, its end included; with `event: null` unless it is shown.
#[must_use]
pub fn entry_line(entry: &EntryView, shown: bool) -> Vec<u8> {
    let EntryView { seq, prev, payload_hash, hash, event } = entry;
    let event = shown.then_some(&**event);
    line(&ShownEntry { seq: *seq, prev: *prev, payload_hash: *payload_hash, hash: *hash, event })
}

/// Reads the lines of the entries, a page at a time, and gives the last record behind them.
#[derive(Debug)]
pub struct ExportPages {
    log: AuditLog,
    next: u64,
    head: Head,
    has_ended: bool,
}

impl ExportPages {
    /// The entries from the first up to `head`, which the log must have.
    #[must_use]
    pub fn new(log: AuditLog, head: Head) -> Self {
        Self { log, next: 0, head, has_ended: false }
    }

    /// The next lines; `None` after the last. `shown` says of each event whether it may be seen.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self, shown: impl Fn(&RawValue) -> bool) -> Result<Option<Vec<u8>>, ReadError> {
        let left = self.head.size.saturating_sub(self.next);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE.get());
        let Some(limit) = NonZeroUsize::new(limit) else {
            let has_ended = std::mem::replace(&mut self.has_ended, true);
            return Ok((!has_ended).then(|| end_line(self.head)));
        };
        let page = self.log.entries(self.next.checked_sub(1), limit).await?;
        if page.events.is_empty() {
            return Err(ReadError::Damaged { seq: self.next });
        }
        let mut lines = Vec::new();
        for entry in &page.events {
            lines.extend(entry_line(entry, shown(&entry.event)));
        }
        self.next += page.events.len() as u64;
        Ok(Some(lines))
    }
}

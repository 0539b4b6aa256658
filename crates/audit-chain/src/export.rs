//! The chain as a file that can be verified anywhere, with public keys alone and in constant memory: lines of JSON.
//!
//! ```text
//! {"format":"voketag-audit-export/v1","origin":…,"size":…,"head":…,"exported_at":…,"checkpoints":[…],"keys":[…]}
//! {"seq":0,"prev":…,"payload_hash":…,"hash":…,"event":{…}}
//! {"seq":1,"prev":…,"payload_hash":…,"hash":…,"event":null}
//! ```
//!
//! Signed checkpoints stand in the first line, so that a reader knows at which sizes it will need a root and takes it while it
//! streams. An entry whose event is `null` (another tenant's) verifies by its payload hash; only what it says is not known.
//!
//! Two kinds of "no": what the file holds is not right (in the report, with the first seq), and the file could not be read
//! ([`ExportError`]), of which nothing is said.

use crate::error::ReadError;
use crate::hash::Hash;
use crate::head::Head;
use crate::log::{AuditLog, EntryView};
use crate::merkle::CompactRange;
use crate::note::{Checkpoint, SignedNote};
use crate::verify::{FirstError, Flaw, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, BufRead, Read as _};
use std::num::NonZeroUsize;

/// What the first line says the file is.
pub const FORMAT: &str = "voketag-audit-export/v1";

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
        let speaks_of = |note: &String| SignedNote::parse(note.as_bytes()).ok()?.checkpoint().ok();
        let within = |note: &String| speaks_of(note).is_none_or(|checkpoint| checkpoint.size <= head.size);
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

/// Reads the lines of the entries, a page at a time.
#[derive(Debug)]
pub struct ExportPages {
    log: AuditLog,
    next: u64,
    size: u64,
}

impl ExportPages {
    /// The entries from the first up to `head`, which the log must have.
    #[must_use]
    pub fn new(log: AuditLog, head: Head) -> Self {
        Self { log, next: 0, size: head.size }
    }

    /// The next lines; `None` after the last. `shown` says of each event whether it may be seen.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self, shown: impl Fn(&RawValue) -> bool) -> Result<Option<Vec<u8>>, ReadError> {
        let left = self.size.saturating_sub(self.next);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE.get());
        let Some(limit) = NonZeroUsize::new(limit) else { return Ok(None) };
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

/// Why a file could not be checked. Nothing is said of the chain then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its first line is none of an export's.
    #[error("this is no audit export: {0}")]
    NotAnExport(String),
}

/// One checkpoint of the first line, against the entries. `S` is what the caller makes of its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedNote<S> {
    /// How many entries it speaks of, if it is a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it does not speak of these entries, whoever signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contradicted: Option<&'static str>,
    /// What its signature is worth, if it is a signed note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<S>,
}

/// What was found in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport<S> {
    /// Whether all entries are there and follow from each other, up to the head that the first line names.
    pub ok: bool,
    /// Entries found right, up to the first error.
    pub checked: u64,
    /// How many of them showed their event.
    pub shown: u64,
    /// The first line.
    #[serde(skip)]
    pub header: ExportHeader,
    /// The first entry that is not right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<FirstError>,
    /// Each checkpoint of the first line, in its order.
    pub checkpoints: Vec<CheckedNote<S>>,
}

#[derive(Deserialize)]
struct ReadEntry<'a> {
    seq: u64,
    prev: Hash,
    payload_hash: Hash,
    hash: Hash,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

/// Reads an export to its end and verifies it, a line at a time. `judge` says what a note's signature is worth, given the
/// first line.
///
/// # Errors
/// [`ExportError`] when it cannot be read. What is wrong with what it holds is in the report.
pub fn verify_export<R: BufRead, S>(
    mut from: R,
    mut judge: impl FnMut(&ExportHeader, &SignedNote) -> S,
) -> Result<ExportReport<S>, ExportError> {
    let mut buffer = Vec::new();
    let header = read_header(&mut from, &mut buffer)?;
    let mut notes = Notes::of(&header, &mut judge);
    let mut reading = Reading { verifier: Verifier::from_genesis(&header.origin), shown: 0 };
    let mut range = CompactRange::new();
    notes.reached(&range);
    let first_error = loop {
        if !read_line(&mut from, &mut buffer)? {
            break reading.ended(header.head()).err();
        }
        match reading.take(&buffer, header.size) {
            Ok(hash) => range.push(hash),
            Err(error) => break Some(error),
        }
        notes.reached(&range);
    };
    let Reading { verifier, shown } = reading;
    let (ok, checked) = (first_error.is_none(), verifier.next_seq());
    Ok(ExportReport { ok, checked, shown, first_error, checkpoints: notes.done(), header })
}

fn read_header(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<ExportHeader, ExportError> {
    let not_one = |why: String| ExportError::NotAnExport(why);
    if !read_line(from, buffer)? {
        return Err(not_one("it is empty".to_owned()));
    }
    let header: ExportHeader = serde_json::from_slice(buffer).map_err(|error| not_one(error.to_string()))?;
    if header.format == FORMAT { Ok(header) } else { Err(not_one(format!("its format is not {FORMAT}"))) }
}

/// The next line without its end; false at the end of the file. A line that is too long is cut, and then is no JSON.
fn read_line(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.clear();
    let read = from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', buffer)?;
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    }
    Ok(read > 0)
}

struct Reading {
    verifier: Verifier,
    shown: u64,
}

impl Reading {
    fn take(&mut self, line: &[u8], size: u64) -> Result<Hash, FirstError> {
        let seq = self.verifier.next_seq();
        let fail = |why| Err(FirstError { seq, why });
        if seq >= size {
            return fail(Flaw::Surplus);
        }
        let Ok(entry) = serde_json::from_slice::<ReadEntry<'_>>(line) else { return fail(Flaw::Unreadable) };
        if entry.seq != seq || entry.prev != self.verifier.reached().hash {
            return fail(Flaw::Hash);
        }
        let payload = entry.event.map(|event| event.get().as_bytes());
        self.verifier.push_hashed(&entry.payload_hash, &entry.hash, payload)?;
        self.shown += u64::from(payload.is_some());
        Ok(entry.hash)
    }

    fn ended(&self, head: Head) -> Result<(), FirstError> {
        let seq = self.verifier.next_seq();
        if seq < head.size {
            return Err(FirstError { seq, why: Flaw::Missing });
        }
        self.verifier.expect_head(head)
    }
}

/// The checkpoints of the first line, each waiting for the size it speaks of.
struct Notes<S> {
    checked: Vec<CheckedNote<S>>,
    /// Which of them, and what it says; the smallest size last.
    waiting: Vec<(usize, Checkpoint)>,
}

impl<S> Notes<S> {
    fn of(header: &ExportHeader, judge: &mut impl FnMut(&ExportHeader, &SignedNote) -> S) -> Self {
        let (mut checked, mut waiting) = (Vec::new(), Vec::new());
        for (index, text) in header.checkpoints.iter().enumerate() {
            let note = SignedNote::parse(text.as_bytes());
            let read = note.as_ref().map_err(|error| *error).and_then(SignedNote::checkpoint);
            let contradicted = match &read {
                Err(_) => Some("it cannot be read as a signed checkpoint"),
                Ok(checkpoint) if checkpoint.origin != header.origin => Some("it is of another origin"),
                Ok(checkpoint) if checkpoint.size > header.size => {
                    Some("it is of more entries than the export has")
                }
                Ok(_) => None,
            };
            let size = read.as_ref().ok().map(|checkpoint| checkpoint.size);
            let signature = note.ok().map(|note| judge(header, &note));
            checked.push(CheckedNote { size, contradicted, signature });
            if let (Ok(checkpoint), None) = (read, contradicted) {
                waiting.push((index, checkpoint));
            }
        }
        waiting.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.size));
        Self { checked, waiting }
    }

    /// Holds the checkpoints of this size against the root.
    fn reached(&mut self, range: &CompactRange) {
        while let Some((index, checkpoint)) = self.waiting.pop_if(|(_, waiting)| waiting.size == range.size())
        {
            if checkpoint.root != range.root() {
                self.checked[index].contradicted = Some("the entries have another root at this size");
            }
        }
    }

    /// All of them; those whose size was never reached are not spoken for.
    fn done(mut self) -> Vec<CheckedNote<S>> {
        for (index, _) in self.waiting.drain(..) {
            self.checked[index].contradicted = Some("the entries were not verified up to this size");
        }
        self.checked
    }
}

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

use crate::checkpoint_text::{Unreadable, read_checkpoint};
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
    /// Why it cannot be read as a signed checkpoint: it then speaks neither for nor against the entries.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub unreadable: Option<Unreadable>,
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
    /// Whether all entries are there and follow from each other, up to the head that first and last record name.
    pub ok: bool,
    /// Whether nothing is wrong with what is there and the end is missing: the file was cut, and says nothing of what follows.
    pub is_cut: bool,
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

fn shown<S: serde::Serializer>(why: &Option<Unreadable>, serializer: S) -> Result<S::Ok, S::Error> {
    match why {
        Some(why) => serializer.collect_str(why),
        None => serializer.serialize_none(),
    }
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
    let mut reading =
        Reading { verifier: Verifier::from_genesis(&header.origin), head: header.head(), shown: 0 };
    let mut range = CompactRange::new();
    notes.reached(&range);
    let ending = loop {
        let read = read_line(&mut from, &mut buffer)?;
        match reading.take(read, &buffer) {
            Step::Entry(hash) => range.push(hash),
            Step::End(ending) => break ending,
        }
        notes.reached(&range);
    };
    let ending = match ending {
        Ending::Complete if read_line(&mut from, &mut buffer)? != LineRead::Nothing => {
            Ending::Wrong(FirstError { seq: header.size, why: Flaw::Surplus })
        }
        ending => ending,
    };
    let (checked, shown, is_cut) = (reading.verifier.next_seq(), reading.shown, ending == Ending::Cut);
    let first_error = if let Ending::Wrong(error) = ending { Some(error) } else { None };
    let checkpoints = notes.done(is_cut);
    Ok(ExportReport {
        ok: ending == Ending::Complete,
        is_cut,
        checked,
        shown,
        first_error,
        checkpoints,
        header,
    })
}

fn read_header(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<ExportHeader, ExportError> {
    let not_one = |why: String| ExportError::NotAnExport(why);
    if read_line(from, buffer)? == LineRead::Nothing {
        return Err(not_one("it is empty".to_owned()));
    }
    let header: ExportHeader = serde_json::from_slice(buffer).map_err(|error| not_one(error.to_string()))?;
    match header.format.as_str() {
        FORMAT => Ok(header),
        FORMAT_WITHOUT_END => Err(not_one(format!(
            "its format is {FORMAT_WITHOUT_END}, which has no last record that shows that it is complete; export the chain again"
        ))),
        _ => Err(not_one(format!("its format is not {FORMAT}"))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineRead {
    /// The end of the file.
    Nothing,
    /// Without a line feed: the file ends behind it, or it is longer than a line can be.
    Unended,
    Whole,
}

/// The next line without its end. A line that is too long is cut, and then is no JSON.
fn read_line(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<LineRead> {
    buffer.clear();
    let read = from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', buffer)?;
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        return Ok(LineRead::Whole);
    }
    Ok(if read > 0 { LineRead::Unended } else { LineRead::Nothing })
}

/// How the lines of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Complete,
    /// All lines so far are right, and the last record is not there.
    Cut,
    Wrong(FirstError),
}

enum Step {
    Entry(Hash),
    End(Ending),
}

struct Reading {
    verifier: Verifier,
    /// What the first line says.
    head: Head,
    shown: u64,
}

impl Reading {
    fn take(&mut self, read: LineRead, line: &[u8]) -> Step {
        let fail = |seq, why| Step::End(Ending::Wrong(FirstError { seq, why }));
        let seq = self.verifier.next_seq();
        if read == LineRead::Nothing {
            return Step::End(Ending::Cut);
        }
        if let Ok(end) = serde_json::from_slice::<ExportEnd>(line) {
            return match self.ended(end) {
                Ok(()) => Step::End(Ending::Complete),
                Err(error) => Step::End(Ending::Wrong(error)),
            };
        }
        match self.entry(line) {
            Ok(hash) => Step::Entry(hash),
            // Half a line at the end of the file: that is where it was cut.
            Err(Flaw::Unreadable) if read == LineRead::Unended && (line.len() as u64) < MAX_LINE_BYTES => {
                Step::End(Ending::Cut)
            }
            Err(why) => fail(seq, why),
        }
    }

    fn entry(&mut self, line: &[u8]) -> Result<Hash, Flaw> {
        let entry: ReadEntry<'_> = serde_json::from_slice(line).map_err(|_| Flaw::Unreadable)?;
        let seq = self.verifier.next_seq();
        if seq >= self.head.size {
            return Err(Flaw::Surplus);
        }
        if entry.seq != seq || entry.prev != self.verifier.reached().hash {
            return Err(Flaw::Hash);
        }
        let payload = entry.event.map(|event| event.get().as_bytes());
        self.verifier.push_hashed(&entry.payload_hash, &entry.hash, payload).map_err(|error| error.why)?;
        self.shown += u64::from(payload.is_some());
        Ok(entry.hash)
    }

    fn ended(&self, end: ExportEnd) -> Result<(), FirstError> {
        let seq = self.verifier.next_seq();
        if seq < self.head.size {
            return Err(FirstError { seq, why: Flaw::Missing });
        }
        self.verifier.expect_head(self.head)?;
        let agrees = end == ExportEnd { end: true, size: self.head.size, head: self.head.hash };
        if agrees { Ok(()) } else { Err(FirstError { seq: seq.saturating_sub(1), why: Flaw::End }) }
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
            let read = read_checkpoint(text.as_bytes());
            let contradicted = match &read {
                Err(_) => None,
                Ok((_, checkpoint)) if checkpoint.origin != header.origin => Some("it is of another origin"),
                Ok((_, checkpoint)) if checkpoint.size > header.size => {
                    Some("it is of more entries than the export has")
                }
                Ok(_) => None,
            };
            let unreadable = read.as_ref().err().copied();
            let size = read.as_ref().ok().map(|(_, checkpoint)| checkpoint.size);
            let signature = read.as_ref().ok().map(|(note, _)| judge(header, note));
            checked.push(CheckedNote { size, unreadable, contradicted, signature });
            if let (Ok((_, checkpoint)), None) = (read, contradicted) {
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

    /// All of them; those whose size was never reached are not spoken for, and in a file that was cut not spoken against either.
    fn done(mut self, is_cut: bool) -> Vec<CheckedNote<S>> {
        for (index, _) in self.waiting.drain(..).filter(|_| !is_cut) {
            self.checked[index].contradicted = Some("the entries were not verified up to this size");
        }
        self.checked
    }
}

//! Verifying an export, a line at a time.

use super::{ExportEnd, ExportHeader, FORMAT, FORMAT_WITHOUT_END, MAX_LINE_BYTES};
use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::checkpoint::CompactRange;
use crate::checkpoint::{Checkpoint, SignedNote};
use crate::checkpoint::{CheckpointTextError, read_checkpoint};
use crate::read::verifier::{EntryFault, Verifier, VerifyError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, BufRead, Read as _};

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
    pub unreadable: Option<CheckpointTextError>,
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
    pub first_error: Option<VerifyError>,
    /// Each checkpoint of the first line, in its order.
    pub checkpoints: Vec<CheckedNote<S>>,
}

fn shown<S: serde::Serializer>(why: &Option<CheckpointTextError>, serializer: S) -> Result<S::Ok, S::Error> {
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
            Ending::Wrong(VerifyError { seq: header.size, why: EntryFault::Surplus })
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
    Wrong(VerifyError),
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
        let fail = |seq, why| Step::End(Ending::Wrong(VerifyError { seq, why }));
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
            Err(EntryFault::NotAnEntry)
                if read == LineRead::Unended && (line.len() as u64) < MAX_LINE_BYTES =>
            {
                Step::End(Ending::Cut)
            }
            Err(why) => fail(seq, why),
        }
    }

    fn entry(&mut self, line: &[u8]) -> Result<Hash, EntryFault> {
        let entry: ReadEntry<'_> = serde_json::from_slice(line).map_err(|_| EntryFault::NotAnEntry)?;
        let seq = self.verifier.next_seq();
        if seq >= self.head.size {
            return Err(EntryFault::Surplus);
        }
        if entry.seq != seq || entry.prev != self.verifier.reached().hash {
            return Err(EntryFault::Hash);
        }
        let payload = entry.event.map(|event| event.get().as_bytes());
        self.verifier.push_hashed(&entry.payload_hash, &entry.hash, payload).map_err(|error| error.why)?;
        self.shown += u64::from(payload.is_some());
        Ok(entry.hash)
    }

    fn ended(&self, end: ExportEnd) -> Result<(), VerifyError> {
        let seq = self.verifier.next_seq();
        if seq < self.head.size {
            return Err(VerifyError { seq, why: EntryFault::Missing });
        }
        self.verifier.expect_head(self.head)?;
        let agrees = end == ExportEnd { end: true, size: self.head.size, head: self.head.hash };
        if agrees { Ok(()) } else { Err(VerifyError { seq: seq.saturating_sub(1), why: EntryFault::End }) }
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

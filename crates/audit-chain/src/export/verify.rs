//! Verifying an export, a line at a time.

use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::checkpoint::{CompactRange, SignedNote};
use crate::export::checkpoints::{CheckedNote, PendingCheckpoints};
use crate::export::format::{ExportEnd, ExportHeader, FORMAT, FORMAT_WITHOUT_END, MAX_LINE_BYTES};
use crate::read::verifier::{EntryFault, Verifier, VerifyError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, BufRead, Read as _};

/// Why a file cannot be verified. It says nothing about the chain.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its first line is not the first line of an export.
    #[error("this is not an audit export: {0}")]
    NotAnExport(String),
}

/// The result of verifying an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport<S> {
    /// Whether all entries are there and verify, up to the head that the first and the last record name.
    pub ok: bool,
    /// Whether the file is cut: everything in it verifies, but its end is missing.
    pub is_cut: bool,
    /// Number of entries that verify, up to the first error.
    pub checked: u64,
    /// Number of these that show their event.
    pub shown: u64,
    /// The first line.
    #[serde(skip)]
    pub header: ExportHeader,
    /// The first entry that does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<VerifyError>,
    /// The checkpoints of the first line, in their order.
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

/// Reads an export to its end and verifies it. `judge` says what the signatures of a note are worth, given
/// the first line.
///
/// # Errors
/// [`ExportError`] when it cannot be read. A fault of its content is in the report.
///
/// ```
/// use audit_chain::export::{ExportHeader, end_line, verify_export};
/// use audit_chain::{Head, genesis_prev};
///
/// // An empty chain: a first line and a last record.
/// let head = Head { size: 0, hash: genesis_prev("example.com/audit") };
/// let header = ExportHeader::new("example.com/audit", head, "2026-02-16T12:00:00Z".into(), vec![], vec![]);
/// let file = [header.to_line(), end_line(head)].concat();
///
/// let report = verify_export(&file[..], |_, _| "no keys here")?;
/// assert!(report.ok && report.first_error.is_none());
///
/// // Without its last record the file is reported as cut.
/// assert!(verify_export(&header.to_line()[..], |_, _| ())?.is_cut);
/// # Ok::<(), audit_chain::export::ExportError>(())
/// ```
pub fn verify_export<R: BufRead, S>(
    mut from: R,
    mut judge: impl FnMut(&ExportHeader, &SignedNote) -> S,
) -> Result<ExportReport<S>, ExportError> {
    let mut buffer = Vec::new();
    let header = read_header(&mut from, &mut buffer)?;
    let mut checkpoints = PendingCheckpoints::new(&header, &mut judge);
    let mut entries = Entries::new(&header);
    let mut range = CompactRange::new();
    checkpoints.compare(&range);
    let ending = loop {
        let read = read_line(&mut from, &mut buffer)?;
        match entries.take(read, &buffer) {
            Step::Entry(hash) => range.push(hash),
            Step::End(ending) => break ending,
        }
        checkpoints.compare(&range);
    };
    let ending = match ending {
        Ending::Complete if read_line(&mut from, &mut buffer)? != LineRead::Nothing => {
            Ending::Wrong(VerifyError { seq: header.size, why: EntryFault::Surplus })
        }
        ending => ending,
    };
    let is_cut = ending == Ending::Cut;
    Ok(ExportReport {
        ok: ending == Ending::Complete,
        is_cut,
        checked: entries.verifier.next_seq(),
        shown: entries.shown,
        first_error: if let Ending::Wrong(error) = ending { Some(error) } else { None },
        checkpoints: checkpoints.finish(is_cut),
        header,
    })
}

fn read_header(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<ExportHeader, ExportError> {
    let not_an_export = |why: String| ExportError::NotAnExport(why);
    if read_line(from, buffer)? == LineRead::Nothing {
        return Err(not_an_export("it is empty".to_owned()));
    }
    let header: ExportHeader =
        serde_json::from_slice(buffer).map_err(|error| not_an_export(error.to_string()))?;
    match header.format.as_str() {
        FORMAT => Ok(header),
        FORMAT_WITHOUT_END => Err(not_an_export(format!(
            "its format is {FORMAT_WITHOUT_END}, which has no last record that shows that it is complete; \
             export the chain again"
        ))),
        _ => Err(not_an_export(format!("its format is not {FORMAT}"))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineRead {
    /// The file has ended.
    Nothing,
    /// The line has no line feed: the file ends after it, or the line is too long.
    Unended,
    /// The line is whole.
    Whole,
}

/// Reads the next line without its line feed. A line that is too long is cut, so it is not JSON.
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
    /// With the last record, and everything verifies.
    Complete,
    /// Everything verifies, but the last record is missing.
    Cut,
    /// With an entry that does not verify.
    Wrong(VerifyError),
}

enum Step {
    Entry(Hash),
    End(Ending),
}

/// Verifies the lines after the first.
struct Entries {
    verifier: Verifier,
    /// The head that the first line names.
    head: Head,
    /// Number of entries that showed their event.
    shown: u64,
}

impl Entries {
    fn new(header: &ExportHeader) -> Self {
        Self { verifier: Verifier::from_genesis(&header.origin), head: header.head(), shown: 0 }
    }

    fn take(&mut self, read: LineRead, line: &[u8]) -> Step {
        let seq = self.verifier.next_seq();
        if read == LineRead::Nothing {
            return Step::End(Ending::Cut);
        }
        if let Ok(end) = serde_json::from_slice::<ExportEnd>(line) {
            return match self.verify_end(end) {
                Ok(()) => Step::End(Ending::Complete),
                Err(error) => Step::End(Ending::Wrong(error)),
            };
        }
        match self.verify_entry(line) {
            Ok(hash) => Step::Entry(hash),
            // Half a line at the end of the file: the file was cut there.
            Err(EntryFault::NotAnEntry)
                if read == LineRead::Unended && (line.len() as u64) < MAX_LINE_BYTES =>
            {
                Step::End(Ending::Cut)
            }
            Err(why) => Step::End(Ending::Wrong(VerifyError { seq, why })),
        }
    }

    fn verify_entry(&mut self, line: &[u8]) -> Result<Hash, EntryFault> {
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

    fn verify_end(&self, end: ExportEnd) -> Result<(), VerifyError> {
        let seq = self.verifier.next_seq();
        if seq < self.head.size {
            return Err(VerifyError { seq, why: EntryFault::Missing });
        }
        self.verifier.expect_head(self.head)?;
        let agrees = end == ExportEnd { end: true, size: self.head.size, head: self.head.hash };
        if agrees { Ok(()) } else { Err(VerifyError { seq: seq.saturating_sub(1), why: EntryFault::End }) }
    }
}

//! Comparing the checkpoints of an export's first line with the entries.

use crate::checkpoint::{Checkpoint, CheckpointTextError, CompactRange, SignedNote, read_checkpoint};
use crate::export::format::ExportHeader;
use serde::Serialize;

/// One checkpoint of the first line, compared with the entries. `S` is what the caller says about its
/// signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedNote<S> {
    /// Number of entries it commits to, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it cannot be read as a signed checkpoint. It is then evidence neither for nor against the entries.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub unreadable: Option<CheckpointTextError>,
    /// Why it does not match these entries, whatever its signature is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contradicted: Option<&'static str>,
    /// What the caller says about its signature, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<S>,
}

fn as_text<S: serde::Serializer>(
    why: &Option<CheckpointTextError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match why {
        Some(why) => serializer.collect_str(why),
        None => serializer.serialize_none(),
    }
}

/// The checkpoints of the first line, each of which waits for the entry that it commits to.
pub(crate) struct PendingCheckpoints<S> {
    checked: Vec<CheckedNote<S>>,
    /// Index in `checked` and checkpoint, the smallest size last.
    pending: Vec<(usize, Checkpoint)>,
}

impl<S> PendingCheckpoints<S> {
    pub(crate) fn new(
        header: &ExportHeader,
        judge: &mut impl FnMut(&ExportHeader, &SignedNote) -> S,
    ) -> Self {
        let (mut checked, mut pending) = (Vec::new(), Vec::new());
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
                pending.push((index, checkpoint));
            }
        }
        pending.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.size));
        Self { checked, pending }
    }

    /// Compares the checkpoints of this size with the root.
    pub(crate) fn compare(&mut self, range: &CompactRange) {
        while let Some((index, checkpoint)) = self.pending.pop_if(|(_, next)| next.size == range.size()) {
            if checkpoint.root != range.root() {
                self.checked[index].contradicted = Some("the entries have another root at this size");
            }
        }
    }

    /// Returns all checkpoints. Those whose size was not reached are contradicted, unless the file is cut.
    pub(crate) fn finish(mut self, is_cut: bool) -> Vec<CheckedNote<S>> {
        for (index, _) in self.pending.drain(..).filter(|_| !is_cut) {
            self.checked[index].contradicted = Some("the entries were not verified up to this size");
        }
        self.checked
    }
}

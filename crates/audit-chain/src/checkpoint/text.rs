//! Reading a copy of a signed checkpoint. It distinguishes a damaged copy from a changed checkpoint.
//!
//! Reading is as strict as the format and repairs nothing. A text that is not read exactly as it was signed
//! is evidence neither for nor against a chain. A checkpoint that can be read but does not verify was not
//! damaged by copying.

use crate::checkpoint::note::{
    Checkpoint, MAX_NOTE_BYTES, NoteError, SignatureLine, SignedNote, is_key_name,
};

/// Length of an Ed25519 signature, in bytes.
const SIGNATURE_BYTES: usize = 64;

/// Why a text is not a readable signed checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointTextError {
    /// It is longer than a note can be.
    #[error("it has more than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// It is not UTF-8, or contains replacement characters.
    #[error("it is not UTF-8 text: it was saved in another encoding; fetch it again as bytes")]
    Encoding,
    /// Its lines end in CR LF, as Windows editors write them.
    #[error("its lines end in CR LF; they take LF alone")]
    CarriageReturns,
    /// It begins with U+FEFF.
    #[error("it begins with a byte order mark; save it without one")]
    ByteOrderMark,
    /// It was quoted by a mail program.
    #[error("its lines begin with '>', as in quoted mail; remove these")]
    Quoted,
    /// Its last line has no line feed.
    #[error("its last line does not end in a line feed")]
    NoLastLineFeed,
    /// It has spaces or empty lines where none belong.
    #[error("it holds blanks or empty lines that do not belong there")]
    Blanks,
    /// There is no empty line between the checkpoint and its signature.
    #[error("there is no empty line between its text and its signature")]
    NoEmptyLine,
    /// A signature line begins with another character, such as a hyphen.
    #[error("its signature line does not begin with an em dash (U+2014) and a space")]
    Dash,
    /// Its signature has another length.
    #[error("its signature is not 64 bytes long; it was cut short")]
    CutSignature,
    /// Any other reason.
    #[error("{0}")]
    Note(#[from] NoteError),
}

/// Reads a signed checkpoint. It does not check the signature.
///
/// # Errors
/// [`CheckpointTextError`] with the most likely damage.
///
/// ```
/// use audit_chain::{CheckpointTextError, read_checkpoint};
///
/// let copy = b"example.com/audit\r\n7\r\n";
/// assert_eq!(read_checkpoint(copy).unwrap_err(), CheckpointTextError::CarriageReturns);
/// ```
pub fn read_checkpoint(bytes: &[u8]) -> Result<(SignedNote, Checkpoint), CheckpointTextError> {
    let read = || {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = note.checkpoint()?;
        Ok((note, checkpoint))
    };
    let (note, checkpoint) = read().map_err(|error| likely_damage(bytes, error))?;
    // The format allows these, but our checkpoints contain them only if the copy was damaged. Without this
    // check the signature would fail as if it were forged.
    if checkpoint.origin.starts_with('\u{feff}') {
        return Err(CheckpointTextError::ByteOrderMark);
    }
    if !is_key_name(&checkpoint.origin) || note.text().lines().any(|line| line.trim() != line) {
        return Err(CheckpointTextError::Blanks);
    }
    let is_cut =
        |line: &SignatureLine| line.name() == checkpoint.origin && line.signature().len() != SIGNATURE_BYTES;
    if note.signatures().iter().any(is_cut) {
        return Err(CheckpointTextError::CutSignature);
    }
    Ok((note, checkpoint))
}

/// Returns the most likely damage of a text that the strict reading rejects. Causes come before their
/// consequences.
fn likely_damage(bytes: &[u8], error: NoteError) -> CheckpointTextError {
    if bytes.len() > MAX_NOTE_BYTES {
        return CheckpointTextError::TooLong;
    }
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(['\u{fffd}', '\0'])) else {
        return CheckpointTextError::Encoding;
    };
    if text.contains('\r') {
        CheckpointTextError::CarriageReturns
    } else if text.starts_with('\u{feff}') {
        CheckpointTextError::ByteOrderMark
    } else if !text.is_empty() && text.lines().all(|line| line.starts_with('>')) {
        CheckpointTextError::Quoted
    } else if text.lines().any(|line| line.trim() != line)
        || text.ends_with("\n\n")
        || text.contains("\n\n\n")
    {
        CheckpointTextError::Blanks
    } else if !text.ends_with('\n') {
        CheckpointTextError::NoLastLineFeed
    } else if !text.contains("\n\n") {
        CheckpointTextError::NoEmptyLine
    } else if matches!(error, NoteError::Signature { line: 1 }) && !text.contains("\n\n\u{2014} ") {
        CheckpointTextError::Dash
    } else {
        CheckpointTextError::Note(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::hash::Hash;

    fn good() -> String {
        let text =
            Checkpoint { origin: "o.example/log".to_owned(), size: 7, root: Hash::from_bytes([0xab; 32]) };
        let line = SignatureLine::new("o.example/log", [1, 2, 3, 4], vec![0xcd; SIGNATURE_BYTES]).unwrap();
        SignedNote::new(text.to_text(), vec![line]).unwrap().to_string()
    }

    #[test]
    fn damaged_copies_are_rejected_with_the_damage() {
        let good = good();
        assert_eq!(read_checkpoint(good.as_bytes()).unwrap().1.size, 7);
        let lines =
            |change: &dyn Fn(&str) -> String| good.lines().map(change).collect::<Vec<_>>().join("\n") + "\n";
        let signature = good.lines().last().unwrap();
        let cases: Vec<(String, CheckpointTextError)> = vec![
            (good.trim_end().to_owned(), CheckpointTextError::NoLastLineFeed),
            (good.replace('\n', "\r\n"), CheckpointTextError::CarriageReturns),
            (good.replace('\n', "\r\n").trim_end().to_owned(), CheckpointTextError::CarriageReturns),
            (good.replace('\n', "\r"), CheckpointTextError::CarriageReturns),
            (format!("\u{feff}{good}"), CheckpointTextError::ByteOrderMark),
            (lines(&|line| format!("> {line}")), CheckpointTextError::Quoted),
            (lines(&|line| format!(">{line}")), CheckpointTextError::Quoted),
            (format!(" {good}"), CheckpointTextError::Blanks),
            (
                format!("\n{good}"),
                CheckpointTextError::Note(NoteError::Checkpoint("one of its lines is empty")),
            ),
            (format!("{good}\n"), CheckpointTextError::Blanks),
            (format!("{good}  "), CheckpointTextError::Blanks),
            (lines(&|line| format!("{line} ")), CheckpointTextError::Blanks),
            (lines(&|line| format!("\t{line}")), CheckpointTextError::Blanks),
            (good.replacen("log\n", "log \n", 1), CheckpointTextError::Blanks),
            (good.replacen("7\n", "7 \n", 1), CheckpointTextError::Blanks),
            (good.replacen("\n\n", "\n \n", 1), CheckpointTextError::Blanks),
            (good.replacen("\n\n", "\n \n\n", 1), CheckpointTextError::Blanks),
            (good.replacen("\n\n", "\n\n\n", 1), CheckpointTextError::Blanks),
            (good.replace('\u{2014}', "\u{a0}\u{2014}"), CheckpointTextError::Blanks),
            (good.replacen("\n\n", "\n", 1), CheckpointTextError::NoEmptyLine),
            (good.replace('\u{2014}', "-"), CheckpointTextError::Dash),
            (good.replace('\u{2014}', "--"), CheckpointTextError::Dash),
            (good.replace('\u{2014}', "\u{2013}"), CheckpointTextError::Dash),
            (good.replace("\u{2014} ", "&mdash; "), CheckpointTextError::Dash),
            (good.replace('\u{2014}', "\u{fffd}"), CheckpointTextError::Encoding),
            (good.replace(signature, &signature[..signature.len() - 8]), CheckpointTextError::CutSignature),
            (good.replace("zc3N", "zc3N\n"), CheckpointTextError::Note(NoteError::Signature { line: 2 })),
            (good.replace('=', "=3D"), CheckpointTextError::Note(NoteError::Signature { line: 1 })),
            (good.replace("\u{2014} o", "\u{2014}o"), CheckpointTextError::Dash),
            (
                good.replace("q6ur", "\"q6ur"),
                CheckpointTextError::Note(NoteError::Checkpoint("its third line is no root")),
            ),
            (
                format!("Here it is:\n{good}"),
                CheckpointTextError::Note(NoteError::Checkpoint("its second line is no size")),
            ),
            (
                format!("{good}--\nSent from my phone\n"),
                CheckpointTextError::Note(NoteError::Signature { line: 2 }),
            ),
            (String::new(), CheckpointTextError::NoLastLineFeed),
            ("x".repeat(MAX_NOTE_BYTES + 1), CheckpointTextError::TooLong),
        ];
        for (text, why) in cases {
            assert_eq!(read_checkpoint(text.as_bytes()).unwrap_err(), why, "{text:?}");
        }
        let windows = good.replace('\u{2014}', "\u{1}").into_bytes();
        let windows: Vec<u8> = windows.iter().map(|byte| if *byte == 1 { 0x97 } else { *byte }).collect();
        assert_eq!(read_checkpoint(&windows).unwrap_err(), CheckpointTextError::Encoding);
        let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read_checkpoint(&utf16).unwrap_err(), CheckpointTextError::Encoding);
    }

    #[test]
    fn a_changed_checkpoint_can_be_read() {
        for changed in [good().replacen("7\n", "8\n", 1), good().replacen("q6ur", "q6us", 1)] {
            read_checkpoint(changed.as_bytes()).unwrap();
        }
    }
}

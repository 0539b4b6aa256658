//! Checkpoints of the chain as signed notes (C2SP `tlog-checkpoint` and `signed-note`).
//!
//! ```text
//! <origin>                                 the checkpoint: these three lines and any further lines
//! <size in decimal>
//! <base64 of the root>
//!                                          an empty line
//! — <name> <base64 of u32be(key hash) ‖ signature>      one line or more: signatures over the checkpoint
//! ```
//!
//! This module reads and writes the bytes; it makes and checks no signatures. Reading is strict, so that a
//! note has exactly one reading.

#[cfg(test)]
mod tests;

use crate::chain::hash::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Longest note that is read, in bytes. A checkpoint with a hundred signatures is far shorter.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Most signature lines of one note.
const MAX_SIGNATURES: usize = 100;

/// Beginning of a signature line: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a text is not a signed note, or not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is too long, not UTF-8, or has control characters.
    #[error("the note is not plain text of at most {MAX_NOTE_BYTES} bytes")]
    Text,
    /// It has no signature line after an empty line.
    #[error("the note has no signature")]
    Unsigned,
    /// A line after the empty one is not a signature line.
    #[error("signature line {line} of the note is malformed")]
    Signature {
        /// Number of the signature line, from 1.
        line: usize,
    },
    /// The text is not an origin, a size and a root.
    #[error("the note is no checkpoint: {0}")]
    Checkpoint(&'static str),
}

/// Returns whether a text can name a key: not empty, without white space, `+`, control characters and byte
/// order marks.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let is_forbidden =
        |char: char| char.is_whitespace() || char.is_control() || matches!(char, '+' | '\u{feff}');
    !name.is_empty() && !name.contains(is_forbidden)
}

/// The size and the Merkle root of a chain.
///
/// ```
/// use audit_chain::checkpoint::{Checkpoint, CompactRange};
///
/// let root = CompactRange::new().root();
/// let checkpoint = Checkpoint { origin: "example.com/audit".into(), size: 0, root };
/// assert_eq!(Checkpoint::parse(&checkpoint.to_text()), Ok(checkpoint));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the chain.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Merkle root over the hashes of these entries.
    pub root: Hash,
}

impl Checkpoint {
    /// Returns the three lines, each with its line feed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// Reads the text of a note. Lines after the third are allowed and ignored.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let fail = |why| Err(NoteError::Checkpoint(why));
        let Some(lines) = text.strip_suffix('\n') else { return fail("its last line does not end") };
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return fail("it has fewer than three lines");
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return fail("one of its lines is empty");
        }
        let Some(size) = size.parse::<u64>().ok().filter(|parsed| parsed.to_string() == size) else {
            return fail("its second line is no size");
        };
        let root = STANDARD.decode(root).ok().and_then(|root| <[u8; 32]>::try_from(root).ok());
        let Some(root) = root else { return fail("its third line is no root") };
        Ok(Self { origin: origin.to_owned(), size, root: Hash::from_bytes(root) })
    }
}

/// A signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    name: String,
    key_hash: [u8; 4],
    signature: Vec<u8>,
}

impl SignatureLine {
    /// Makes a line. `None` when `name` cannot name a key, or the signature is empty.
    #[must_use]
    pub fn new(name: &str, key_hash: [u8; 4], signature: Vec<u8>) -> Option<Self> {
        let is_valid = is_key_name(name) && !signature.is_empty();
        is_valid.then(|| Self { name: name.to_owned(), key_hash, signature })
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_hash, signature) = decoded.split_first_chunk::<4>()?;
        Self::new(name, *key_hash, signature.to_vec())
    }

    /// Returns the claimed name of the signing key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the claimed hash of the signing key.
    #[must_use]
    pub const fn key_hash(&self) -> [u8; 4] {
        self.key_hash
    }

    /// Returns the bytes of the signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_hash[..], &self.signature].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text with its signature lines. Reading one checks no signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// Makes a note.
    ///
    /// # Errors
    /// [`NoteError`] when it could not be read back: the text has control characters or does not end with a
    /// line feed, or there is no signature.
    pub fn new(text: String, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        let note = Self { text, signatures };
        if Self::parse(note.to_string().as_bytes())? == note { Ok(note) } else { Err(NoteError::Text) }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let is_plain = |text: &&str| !text.contains(|char: char| char.is_control() && char != '\n');
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Text);
        }
        let note = std::str::from_utf8(bytes).ok().filter(is_plain).ok_or(NoteError::Text)?;
        // The last empty line is the separator, because the text may contain empty lines.
        let at = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Unsigned)?;
        let mut signatures = Vec::new();
        for (index, line) in lines.split('\n').enumerate() {
            let malformed = NoteError::Signature { line: index + 1 };
            if index >= MAX_SIGNATURES {
                return Err(malformed);
            }
            signatures.push(SignatureLine::parse(line).ok_or(malformed)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Returns the signed text, with the line feed of its last line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the signature lines, at least one.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Reads the text as a checkpoint.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn checkpoint(&self) -> Result<Checkpoint, NoteError> {
        Checkpoint::parse(&self.text)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

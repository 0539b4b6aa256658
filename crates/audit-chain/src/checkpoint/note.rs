//! Checkpoints of the chain as signed notes (C2SP `tlog-checkpoint` and `signed-note`): bytes only, without any key.
//!
//! ```text
//! <origin>                                 the checkpoint: this and the two lines that follow, and any further lines
//! <size in decimal>
//! <base64 of the root>
//!                                          an empty line
//! — <name> <base64 of u32be(key hash) ‖ signature>      one line or more; the signature is over the checkpoint's lines
//! ```
//!
//! Whoever holds a key makes the signature and checks it; what is here says which bytes are meant. Reading is strict: of two
//! readings of the same note only one could be the signed one.

use crate::chain::hash::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Longest note that is read, bytes: a checkpoint with a hundred signatures is far below.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Most signature lines of one note.
const MAX_SIGNATURES: usize = 100;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A text that is no signed note, or no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too long, not UTF-8, or with control characters in it.
    #[error("the note is not plain text of at most {MAX_NOTE_BYTES} bytes")]
    Text,
    /// No empty line before signature lines, or no signature line.
    #[error("the note has no signature")]
    Unsigned,
    /// A line after the empty one is no signature line.
    #[error("signature line {line} of the note is malformed")]
    Signature {
        /// Which, from 1.
        line: usize,
    },
    /// The text is no origin, size and root.
    #[error("the note is no checkpoint: {0}")]
    Checkpoint(&'static str),
}

/// Whether a text can be the name of a key: not empty, no white space, no `+`, no control characters, no byte order mark.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let odd = |char: char| char.is_whitespace() || char.is_control() || matches!(char, '+' | '\u{feff}');
    !name.is_empty() && !name.contains(odd)
}

/// What a checkpoint commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The chain's name.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The Merkle root over their hashes.
    pub root: Hash,
}

impl Checkpoint {
    /// The three lines, the last line's end included.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// From the text of a note. Lines after the third are allowed and not looked at.
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

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    name: String,
    key_hash: [u8; 4],
    signature: Vec<u8>,
}

impl SignatureLine {
    /// `None` when the name cannot stand in a line, or there is no signature.
    #[must_use]
    pub fn new(name: &str, key_hash: [u8; 4], signature: Vec<u8>) -> Option<Self> {
        let sound = is_key_name(name) && !signature.is_empty();
        sound.then(|| Self { name: name.to_owned(), key_hash, signature })
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_hash, signature) = decoded.split_first_chunk::<4>()?;
        Self::new(name, *key_hash, signature.to_vec())
    }

    /// The name of the key it claims to be by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the key it claims to be by.
    #[must_use]
    pub const fn key_hash(&self) -> [u8; 4] {
        self.key_hash
    }

    /// The signature's bytes.
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

/// A text and the signatures under it. Reading one checks none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// A note of its parts.
    ///
    /// # Errors
    /// When the text could not be read back: it has control characters, does not end in a line's end, or has no signature.
    pub fn new(text: String, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        let note = Self { text, signatures };
        if Self::parse(note.to_string().as_bytes())? == note { Ok(note) } else { Err(NoteError::Text) }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let plain = |text: &&str| !text.contains(|char: char| char.is_control() && char != '\n');
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Text);
        }
        let note = std::str::from_utf8(bytes).ok().filter(plain).ok_or(NoteError::Text)?;
        // The last empty line divides: the text may hold empty lines itself.
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

    /// What was signed, the last line's end included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, at least one.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The text as a checkpoint.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint(size: u64) -> Checkpoint {
        Checkpoint { origin: "voketag.local/audit".to_owned(), size, root: Hash::from_bytes([0xab; 32]) }
    }

    fn line(name: &str) -> SignatureLine {
        SignatureLine::new(name, [1, 2, 3, 4], vec![0xcd; 64]).unwrap()
    }

    /// A reader of notes written apart, byte by byte and after the format's text, with its own base64.
    mod plain {
        type Signature = (String, Vec<u8>);

        pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            if text.is_empty() || !text.len().is_multiple_of(4) {
                return None;
            }
            let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
            if padding > 2 {
                return None;
            }
            let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
            for digit in &text[..text.len() - padding] {
                let value = ALPHABET.iter().position(|known| known == digit)?;
                bits = bits << 6 | u32::try_from(value).ok()?;
                held += 6;
                if held >= 8 {
                    held -= 8;
                    out.push((bits >> held & 0xff) as u8);
                    bits &= (1 << held) - 1;
                }
            }
            (bits == 0).then_some(out)
        }

        pub(super) fn note(bytes: &[u8]) -> Option<(String, Vec<Signature>)> {
            let text = String::from_utf8(bytes.to_vec()).ok()?;
            if text.chars().any(|char| char != '\n' && char.is_control()) || bytes.last() != Some(&b'\n') {
                return None;
            }
            let divider = (1..bytes.len()).rev().find(|at| bytes[*at] == b'\n' && bytes[*at - 1] == b'\n')?;
            let mut signatures = Vec::new();
            for line in text[divider + 1..].split_inclusive('\n') {
                let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
                let [dash, name, encoded] = words[..] else { return None };
                let odd = |char: char| char.is_whitespace() || char == '+' || char == '\u{feff}';
                let decoded = base64(encoded.as_bytes())?;
                if dash.as_bytes() != [0xe2, 0x80, 0x94]
                    || name.is_empty()
                    || name.contains(odd)
                    || decoded.len() < 5
                {
                    return None;
                }
                signatures.push((name.to_owned(), decoded));
            }
            (!signatures.is_empty() && signatures.len() <= 100)
                .then(|| (text[..divider].to_owned(), signatures))
        }
    }

    fn same_reading(bytes: &[u8]) -> bool {
        let ours = SignedNote::parse(bytes).ok().map(|note| {
            let lines = note.signatures.iter();
            let signature =
                |line: &SignatureLine| (line.name.clone(), [&line.key_hash[..], &line.signature].concat());
            (note.text.clone(), lines.map(signature).collect::<Vec<_>>())
        });
        ours == plain::note(bytes)
    }

    #[test]
    fn a_checkpoint_is_three_lines() {
        let text = checkpoint(7).to_text();
        assert_eq!(text, "voketag.local/audit\n7\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n");
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint(7)));
        assert_eq!(Checkpoint::parse(&format!("{text}extension\n")), Ok(checkpoint(7)));
        assert_eq!(plain::base64(text.lines().nth(2).unwrap().as_bytes()).unwrap(), [0xab; 32]);
    }

    #[test]
    fn anything_else_is_no_checkpoint() {
        let root = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
        for wrong in [
            String::new(),
            "o\n7\n".to_owned(),
            format!("o\n7\n{root}"),
            format!("\n7\n{root}\n"),
            format!("o\n07\n{root}\n"),
            format!("o\n-7\n{root}\n"),
            format!("o\n+7\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("o\n7\n{}\n", &root[4..]),
            format!("o\n7\n{}\n", root.trim_end_matches('=')),
            format!("o\n7\n{root}\n\nx\n"),
        ] {
            assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_note_is_written_and_read_the_same_by_both_readers() {
        let note = SignedNote::new(checkpoint(7).to_text(), vec![line("a"), line("b.example/log")]).unwrap();
        let text = note.to_string();
        assert!(text.contains("\n\n\u{2014} a AQIDBM3N"), "{text}");
        assert_eq!(SignedNote::parse(text.as_bytes()), Ok(note));
        assert!(same_reading(text.as_bytes()));
        let (body, signatures) = plain::note(text.as_bytes()).unwrap();
        assert_eq!((body, signatures.len()), (checkpoint(7).to_text(), 2));
        assert_eq!(signatures[1].1[..5], [1, 2, 3, 4, 0xcd]);
    }

    #[test]
    fn a_note_that_could_not_be_read_back_is_not_made() {
        for text in ["", "x", "x\ty\n", "x\n\n\u{2014} a AQIDBM3N\n"] {
            let made = SignedNote::new(text.to_owned(), vec![line("a")]);
            assert!(made.as_ref().is_ok_and(|note| note.text() == text) || made.is_err(), "{text:?}");
        }
        assert!(SignedNote::new("x".to_owned(), vec![line("a")]).is_err());
        assert!(SignedNote::new("x\ty\n".to_owned(), vec![line("a")]).is_err());
        assert!(SignedNote::new("x\n".to_owned(), Vec::new()).is_err());
        assert!(SignatureLine::new("a b", [0; 4], vec![1]).is_none());
        assert!(SignatureLine::new("a+b", [0; 4], vec![1]).is_none());
        assert!(SignatureLine::new("a", [0; 4], vec![]).is_none());
    }

    #[test]
    fn malformed_notes_are_refused_by_both_readers() {
        let good = SignedNote::new(checkpoint(7).to_text(), vec![line("a")]).unwrap().to_string();
        let body = checkpoint(7).to_text();
        let spoilt = [
            body.clone(),
            format!("{body}\n"),
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            good.replace("\u{2014} a ", "\u{2014} a  "),
            good.replace("\u{2014} a ", "\u{2014} a+b "),
            good.replace("\u{2014} a ", "\u{2014}  "),
            good.replace("\u{2014} a ", "\u{2014} a\u{a0}b "),
            good.replace('\n', "\r\n"),
            format!("{good}trailing\n"),
            format!("{good}\n"),
            format!("{body}\n\u{2014} a AQIDBA==\n"),
            format!("{body}\n\u{2014} a AQIDBM3N x\n"),
            format!("{body}\n{}", "\u{2014} a AQIDBM3N\n".repeat(101)),
        ];
        for wrong in spoilt {
            assert!(SignedNote::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
            assert!(same_reading(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(same_reading(format!("{body}\n{}", "\u{2014} a AQIDBM3N\n".repeat(100)).as_bytes()));
        assert!(same_reading(b"\xff\n\n\xe2\x80\x94 a AQIDBM3N\n"));
        assert_eq!(SignedNote::parse(&vec![b'x'; MAX_NOTE_BYTES + 1]), Err(NoteError::Text));
    }

    proptest! {
        #[test]
        fn both_readers_agree_on_any_note_and_on_what_a_change_makes_of_it(
            text in "[a-z \u{2014}+\n]{0,40}", names in prop::collection::vec("[a-z.+ \u{a0}]{0,6}", 0..4),
            signature in prop::collection::vec(any::<u8>(), 0..9), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let mut bytes = format!("{text}\n\n").into_bytes();
            for name in names {
                bytes.extend(format!("\u{2014} {name} {}\n", STANDARD.encode(&signature)).into_bytes());
            }
            prop_assert!(same_reading(&bytes));
            let at = at.index(bytes.len());
            bytes[at] = with;
            prop_assert!(same_reading(&bytes));
        }
    }
}

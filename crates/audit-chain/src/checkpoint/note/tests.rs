//! Notes and checkpoints, compared with a second reader.

use super::*;
use proptest::prelude::*;

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: "voketag.local/audit".to_owned(), size, root: Hash::from_bytes([0xab; 32]) }
}

fn line(name: &str) -> SignatureLine {
    SignatureLine::new(name, [1, 2, 3, 4], vec![0xcd; 64]).unwrap()
}

/// A second reader of notes, written independently from the format's text, with its own base64.
mod oracle {
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
        (!signatures.is_empty() && signatures.len() <= 100).then(|| (text[..divider].to_owned(), signatures))
    }
}

fn same_reading(bytes: &[u8]) -> bool {
    let ours = SignedNote::parse(bytes).ok().map(|note| {
        let lines = note.signatures.iter();
        let signature =
            |line: &SignatureLine| (line.name.clone(), [&line.key_hash[..], &line.signature].concat());
        (note.text.clone(), lines.map(signature).collect::<Vec<_>>())
    });
    ours == oracle::note(bytes)
}

#[test]
fn a_checkpoint_is_three_lines() {
    let text = checkpoint(7).to_text();
    assert_eq!(text, "voketag.local/audit\n7\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n");
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint(7)));
    assert_eq!(Checkpoint::parse(&format!("{text}extension\n")), Ok(checkpoint(7)));
    assert_eq!(oracle::base64(text.lines().nth(2).unwrap().as_bytes()).unwrap(), [0xab; 32]);
}

#[test]
fn malformed_checkpoints_are_rejected() {
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
fn both_readers_read_what_was_written() {
    let note = SignedNote::new(checkpoint(7).to_text(), vec![line("a"), line("b.example/log")]).unwrap();
    let text = note.to_string();
    assert!(text.contains("\n\n\u{2014} a AQIDBM3N"), "{text}");
    assert_eq!(SignedNote::parse(text.as_bytes()), Ok(note));
    assert!(same_reading(text.as_bytes()));
    let (body, signatures) = oracle::note(text.as_bytes()).unwrap();
    assert_eq!((body, signatures.len()), (checkpoint(7).to_text(), 2));
    assert_eq!(signatures[1].1[..5], [1, 2, 3, 4, 0xcd]);
}

#[test]
fn a_note_that_could_not_be_read_back_is_rejected() {
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
fn both_readers_reject_malformed_notes() {
    let good = SignedNote::new(checkpoint(7).to_text(), vec![line("a")]).unwrap().to_string();
    let body = checkpoint(7).to_text();
    let malformed = [
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
    for wrong in malformed {
        assert!(SignedNote::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        assert!(same_reading(wrong.as_bytes()), "{wrong:?}");
    }
    assert!(same_reading(format!("{body}\n{}", "\u{2014} a AQIDBM3N\n".repeat(100)).as_bytes()));
    assert!(same_reading(b"\xff\n\n\xe2\x80\x94 a AQIDBM3N\n"));
    assert_eq!(SignedNote::parse(&vec![b'x'; MAX_NOTE_BYTES + 1]), Err(NoteError::Text));
}

proptest! {
    #[test]
    fn both_readers_agree_on_any_note_and_on_any_changed_byte(
        text in "[a-z \u{2014}+\n]{0,40}", names in prop::collection::vec("[a-z.+ \u{a0}]{0,6}", 0..4),
        signature in prop::collection::vec(any::<u8>(), 0..9),
        at in any::<prop::sample::Index>(), with in any::<u8>(),
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

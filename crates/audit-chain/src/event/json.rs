//! Strings and key order of canonical JSON (RFC 8785, "JCS").
//!
//! Written by hand because verifying a chain spends most of its time here, and because `serde_json` does not
//! say whether the text that it read was canonical.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Compares keys by UTF-16 code units.
///
/// This differs from the order of UTF-8 bytes where a character beyond U+FFFF meets one of U+E000..=U+FFFF.
pub(crate) fn utf16_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Compares two escaped keys by the text they stand for.
pub(crate) fn escaped_key_order(a: &str, b: &str) -> Ordering {
    let is_plain = |key: &str| key.bytes().all(|byte| byte < 0x80 && byte != b'\\');
    if is_plain(a) && is_plain(b) { a.cmp(b) } else { utf16_order(&unescape(a), &unescape(b)) }
}

/// Appends `text` as a JSON string with the shortest escapes (RFC 8785 §3.2.2.2).
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(length) = unescaped_prefix(&bytes[done..]) {
        let at = done + length;
        out.extend_from_slice(&bytes[done..at]);
        write_escape(out, bytes[at]);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        b'"' | b'\\' => byte,
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Returns the number of bytes before the first quote, backslash or control character, `None` if there is
/// none.
///
/// It tests eight bytes at a time with the well-known "does a word contain a byte less than n" trick.
pub(crate) fn unescaped_prefix(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES * 0x80;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (chunks, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero_byte(word ^ (ONES * 0x22)) | zero_byte(word ^ (ONES * 0x5c));
        if found != 0 {
            // A borrow can only mark a byte after the first true one, so the lowest mark is right.
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    Some(at + tail)
}

/// Removes the escapes from the inside of a canonical string (without quotes). The reader must have accepted
/// it.
pub(crate) fn unescape(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return Cow::Borrowed(escaped);
    }
    Cow::Owned(Unescaped(escaped.chars()).collect())
}

struct Unescaped<'a>(std::str::Chars<'a>);

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = self.0.next()?;
        if first != '\\' {
            return Some(first);
        }
        Some(match self.0.next()? {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'u' => {
                let digits = self.0.by_ref().take(4);
                let code = digits.fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or(0));
                char::from_u32(code)?
            }
            quoted => quoted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for code in (0..0x300).chain([0x2028, 0x2029, 0xfb33, 0xffff, 0x1f69a]) {
            let c = char::from_u32(code).unwrap();
            for text in [format!("{c}"), format!("seven..{c}"), format!("eight...{c}and more behind it")] {
                assert_eq!(canonical(&text), serde_json::to_string(&text).unwrap());
                assert_eq!(
                    unescape(canonical(&text).trim_matches('"')).trim_matches('"'),
                    text.trim_matches('"')
                );
            }
        }
    }

    #[test]
    fn keys_beyond_u_ffff_sort_before_u_fb33() {
        assert_eq!(utf16_order("\u{1f69a}", "\u{fb33}"), Ordering::Less);
        assert!("\u{1f69a}" > "\u{fb33}", "UTF-8 order is the opposite");
        assert_eq!(escaped_key_order("\u{1f69a}", "\u{fb33}"), Ordering::Less);
        assert_eq!(escaped_key_order("\\n", "A"), Ordering::Less);
    }
}

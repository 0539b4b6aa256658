//! Canonical bytes (RFC 8785, JCS) of the few shapes an event has: writing them, and reading them back strictly.
//!
//! The members of an event are fixed, so their order is too, and only the keys of `details` have to be sorted: by
//! UTF-16 code units, which differs from the order of UTF-8 bytes where a character beyond U+FFFF meets one of
//! U+E000..=U+FFFF. Strings are written with the shortest escapes RFC 8785 §3.2.2.2 allows.
//!
//! [`scan`] accepts exactly the bytes the writer can produce and refuses everything else with [`NotCanonical`], in one
//! pass and without allocating: well-formedness, the set of members, their order and their canonical form at once.

use crate::event::MAX_SAFE_INTEGER;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Why bytes are not the canonical form of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical at byte {at}: {why}")]
pub struct NotCanonical {
    /// Offset of the first byte that does not fit.
    pub at: usize,
    /// What was wanted there.
    pub why: &'static str,
}

/// The order of JCS keys: by UTF-16 code units.
pub(crate) fn utf16_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Appends `text` as a JSON string in canonical form.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(step) = plain_run(&bytes[done..]) {
        let at = done + step;
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

/// How many bytes stand before the first quote, backslash or control character; `None` when there is none.
/// Eight bytes at a time (the classic "has a byte less than n" on a word), since verifying spends its time here.
fn plain_run(bytes: &[u8]) -> Option<usize> {
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

/// The text a canonical string's inside (no quotes) stands for. `raw` must have passed [`scan`].
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(Unescaped(raw.chars()).collect())
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
                let code = self
                    .0
                    .by_ref()
                    .take(4)
                    .fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or(0));
                char::from_u32(code)?
            }
            quoted => quoted,
        })
    }
}

/// The order of two raw keys by what they stand for.
fn raw_key_order(a: &str, b: &str) -> Ordering {
    let plain = |key: &str| key.bytes().all(|byte| byte < 0x80 && byte != b'\\');
    if plain(a) && plain(b) { a.cmp(b) } else { utf16_order(&unescape(a), &unescape(b)) }
}

/// An event's members as they stand in its bytes: strings without their quotes and still escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawEvent<'a> {
    pub(crate) action: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) id: &'a str,
    pub(crate) ip: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) ts: &'a str,
}

/// One value of `details` as it stands in the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawDetail<'a> {
    Str(&'a str),
    Bool(bool),
    Null,
    Int(i64),
}

/// Reads the canonical bytes of an event, giving each detail (raw key, value) to `visit` in turn.
pub(crate) fn scan<'a>(
    bytes: &'a [u8],
    visit: impl FnMut(&'a str, RawDetail<'a>),
) -> Result<RawEvent<'a>, NotCanonical> {
    let text = std::str::from_utf8(bytes).map_err(|e| NotCanonical { at: e.valid_up_to(), why: "UTF-8" })?;
    let mut s = Scanner { text, bytes, at: 0 };
    s.literal("{\"action\":")?;
    let action = s.string()?;
    s.literal(",\"actor\":")?;
    let actor = s.string()?;
    s.literal(",\"details\":")?;
    s.details(visit)?;
    s.literal(",\"id\":")?;
    let id = s.shaped(b"hhhhhhhh-hhhh-7hhh-vhhh-hhhhhhhhhhhh", "a version 7 UUID in lower case")?;
    let ip = if s.peek(",\"ip\":") {
        s.literal(",\"ip\":")?;
        Some(s.string()?)
    } else {
        None
    };
    s.literal(",\"nonce\":")?;
    let nonce = s.shaped(&[b'h'; 32], "32 hex digits in lower case")?;
    s.literal(",\"request_id\":")?;
    let request_id = s.string()?;
    s.literal(",\"resource\":")?;
    let resource = s.string()?;
    s.literal(",\"tenant\":")?;
    let tenant = s.string()?;
    s.literal(",\"ts\":")?;
    let ts = s.shaped(b"dddd-dd-ddTdd:dd:dd.dddZ", "a UTC time with milliseconds")?;
    s.literal("}")?;
    if s.at != bytes.len() {
        return s.fail("the end");
    }
    Ok(RawEvent { action, actor, id, ip, nonce, request_id, resource, tenant, ts })
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn fail<T>(&self, why: &'static str) -> Result<T, NotCanonical> {
        Err(NotCanonical { at: self.at, why })
    }

    fn peek(&self, want: &str) -> bool {
        self.bytes[self.at..].starts_with(want.as_bytes())
    }

    fn literal(&mut self, want: &'static str) -> Result<(), NotCanonical> {
        if !self.peek(want) {
            return self.fail(want);
        }
        self.at += want.len();
        Ok(())
    }

    /// A string whose characters follow `shape`: `h` hex digit, `d` digit, `v` a UUID variant digit, others themselves.
    /// Every character is looked at, right or wrong: a loop without a way out is the faster one.
    fn shaped<const N: usize>(
        &mut self,
        shape: &[u8; N],
        why: &'static str,
    ) -> Result<&'a str, NotCanonical> {
        let start = self.at;
        let raw = self.string()?;
        let fits = |byte: u8, want: u8| match want {
            b'h' => byte.is_ascii_digit() | matches!(byte, b'a'..=b'f'),
            b'd' => byte.is_ascii_digit(),
            b'v' => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => byte == want,
        };
        let right = |raw: &[u8; N]| (0..N).fold(true, |right, at| right & fits(raw[at], shape[at]));
        if !raw.as_bytes().try_into().is_ok_and(right) {
            self.at = start;
            return self.fail(why);
        }
        Ok(raw)
    }

    fn string(&mut self) -> Result<&'a str, NotCanonical> {
        self.literal("\"")?;
        let start = self.at;
        loop {
            let Some(step) = plain_run(&self.bytes[self.at..]) else {
                self.at = self.bytes.len();
                return self.fail("the end of a string");
            };
            self.at += step;
            match self.bytes[self.at] {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return self.fail("an escaped control character"),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(raw)
    }

    fn escape(&mut self) -> Result<(), NotCanonical> {
        let rest = &self.bytes[self.at + 1..];
        self.at += match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return self.fail("the shortest escape"),
        };
        Ok(())
    }

    fn details(&mut self, mut visit: impl FnMut(&'a str, RawDetail<'a>)) -> Result<(), NotCanonical> {
        self.literal("{")?;
        if self.peek("}") {
            return self.literal("}");
        }
        let mut before: Option<&str> = None;
        loop {
            let start = self.at;
            let key = self.string()?;
            if before.is_some_and(|before| raw_key_order(before, key) != Ordering::Less) {
                self.at = start;
                return self.fail("keys in ascending order, each once");
            }
            before = Some(key);
            self.literal(":")?;
            visit(key, self.detail()?);
            if self.peek("}") {
                return self.literal("}");
            }
            self.literal(",")?;
        }
    }

    fn detail(&mut self) -> Result<RawDetail<'a>, NotCanonical> {
        match self.bytes.get(self.at) {
            Some(b'"') => Ok(RawDetail::Str(self.string()?)),
            Some(b't') => self.literal("true").map(|()| RawDetail::Bool(true)),
            Some(b'f') => self.literal("false").map(|()| RawDetail::Bool(false)),
            Some(b'n') => self.literal("null").map(|()| RawDetail::Null),
            _ => self.integer().map(RawDetail::Int),
        }
    }

    fn integer(&mut self) -> Result<i64, NotCanonical> {
        const WHY: &str = "a string, a boolean, null or an integer within ±(2^53−1)";
        let negative = self.peek("-");
        let start = self.at + usize::from(negative);
        let digits = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let leading_zero = self.bytes.get(start) == Some(&b'0') && (digits > 1 || negative);
        if !(1..=16).contains(&digits) || leading_zero {
            return self.fail(WHY);
        }
        let digits = &self.bytes[start..start + digits];
        let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        if value > MAX_SAFE_INTEGER {
            return self.fail(WHY);
        }
        self.at = start + digits.len();
        Ok(if negative { -value } else { value })
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

    const GOOD: &str = concat!(
        r#"{"action":"a","actor":"b","details":{"A":-1,"k":"v\n"},"id":"019c6652-5e00-7000-8000-000000000001","#,
        r#""nonce":"000102030405060708090a0b0c0d0e0f","request_id":"r","resource":"p/1","tenant":"t","#,
        r#""ts":"2026-02-16T12:00:00.000Z"}"#
    );

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
        assert!("\u{1f69a}" > "\u{fb33}", "UTF-8 order is the other way round");
        assert_eq!(raw_key_order("\u{1f69a}", "\u{fb33}"), Ordering::Less);
        assert_eq!(raw_key_order("\\n", "A"), Ordering::Less);
    }

    #[test]
    fn canonical_bytes_are_accepted() {
        let mut seen = Vec::new();
        let raw = scan(GOOD.as_bytes(), |key, value| seen.push(format!("{key}={value:?}"))).unwrap();
        assert_eq!((raw.tenant, raw.ts, raw.ip), ("t", "2026-02-16T12:00:00.000Z", None));
        assert_eq!(seen, ["A=Int(-1)", "k=Str(\"v\\\\n\")"]);
    }

    #[test]
    fn anything_that_is_not_canonical_is_refused() {
        let spoilt = [
            ("{\"action\"", "{ \"action\""),
            ("\"a\",", "\"a\", "),
            ("\"a\"", "\"\\u0061\""),
            ("\"b\"", "\"\\/\""),
            ("\"b\"", "\"\\u000A\""),
            ("\"b\"", "\"\\u000a\""),
            ("\"b\"", "\"\t\""),
            ("\"b\"", "1"),
            ("\"A\":-1", "\"A\":-0"),
            ("\"A\":-1", "\"A\":01"),
            ("\"A\":-1", "\"A\":1.0"),
            ("\"A\":-1", "\"A\":1e3"),
            ("\"A\":-1", "\"A\":9007199254740992"),
            ("\"A\":-1", "\"A\":[]"),
            ("\"A\":-1", "\"A\":{}"),
            ("\"A\":-1", "\"l\":-1"),
            ("\"A\":-1", "\"k\":-1"),
            ("\"A\":-1,", "\"A\":-1,,"),
            ("\"v\\n\"}", "\"v\\n\",}"),
            ("-7000-", "-4000-"),
            ("-8000-", "-c000-"),
            ("0e0f\"", "0E0f\""),
            ("0e0f\"", "0e\""),
            (".000Z", "Z"),
            ("\"tenant\":\"t\",", ""),
            ("\"tenant\":\"t\",", "\"tenant\":\"t\",\"tenant\":\"t\","),
            (",\"ts\"", ",\"extra\":1,\"ts\""),
            (".000Z\"}", ".000Z\"}\n"),
            (".000Z\"}", ".000Z\""),
            (".000Z\"}", ".000Z"),
        ];
        for (from, to) in spoilt {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{from} was not found");
            assert!(scan(bad.as_bytes(), |_, _| ()).is_err(), "accepted: {bad}");
        }
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[11] = 0xff;
        assert_eq!(scan(&bytes, |_, _| ()).unwrap_err(), NotCanonical { at: 11, why: "UTF-8" });
    }

    #[test]
    fn every_cut_of_canonical_bytes_is_refused_without_a_panic() {
        for end in 0..GOOD.len() {
            assert!(scan(&GOOD.as_bytes()[..end], |_, _| ()).is_err());
        }
    }
}

//! Reading canonical JSON (RFC 8785) strictly.
//!
//! [`read_canonical`] accepts exactly the bytes that `writer` can produce. It checks well-formedness, the set
//! of members, their order and their canonical form in one pass, without allocating, and rejects everything
//! else with [`NotCanonical`].

use crate::event::json::{escaped_key_order, unescaped_prefix};
use crate::event::limits::MAX_SAFE_INTEGER;
use std::cmp::Ordering;

/// Why bytes are not the canonical form of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical at byte {at}: {why}")]
pub struct NotCanonical {
    /// Offset of the first byte that does not fit.
    pub at: usize,
    /// What was expected there.
    pub why: &'static str,
}

/// The members of an event as they are in its bytes: strings without quotes, still escaped.
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

/// One value of `details` as it is in the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawDetail<'a> {
    Str(&'a str),
    Bool(bool),
    Null,
    Int(i64),
}

/// Reads the canonical bytes of an event. Calls `visit` with each detail: escaped key and value.
///
/// # Errors
/// [`NotCanonical`] with the offset of the first byte that does not fit.
pub(crate) fn read_canonical<'a>(
    bytes: &'a [u8],
    visit: impl FnMut(&'a str, RawDetail<'a>),
) -> Result<RawEvent<'a>, NotCanonical> {
    let text = std::str::from_utf8(bytes).map_err(|e| NotCanonical { at: e.valid_up_to(), why: "UTF-8" })?;
    let mut s = Reader { text, bytes, at: 0 };
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

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
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

    /// Reads a string whose characters match `shape`: `h` is a hex digit, `d` a digit, `v` a UUID variant
    /// digit, anything else itself. It tests every character, even after a wrong one: a loop without an early
    /// exit is faster.
    fn shaped<const N: usize>(
        &mut self,
        shape: &[u8; N],
        why: &'static str,
    ) -> Result<&'a str, NotCanonical> {
        let start = self.at;
        let raw = self.string()?;
        let matches = |byte: u8, want: u8| match want {
            b'h' => byte.is_ascii_digit() | matches!(byte, b'a'..=b'f'),
            b'd' => byte.is_ascii_digit(),
            b'v' => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => byte == want,
        };
        let all_match = |raw: &[u8; N]| (0..N).fold(true, |all, at| all & matches(raw[at], shape[at]));
        if !raw.as_bytes().try_into().is_ok_and(all_match) {
            self.at = start;
            return self.fail(why);
        }
        Ok(raw)
    }

    fn string(&mut self) -> Result<&'a str, NotCanonical> {
        self.literal("\"")?;
        let start = self.at;
        loop {
            let Some(length) = unescaped_prefix(&self.bytes[self.at..]) else {
                self.at = self.bytes.len();
                return self.fail("the end of a string");
            };
            self.at += length;
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
        let mut previous: Option<&str> = None;
        loop {
            let start = self.at;
            let key = self.string()?;
            if previous.is_some_and(|previous| escaped_key_order(previous, key) != Ordering::Less) {
                self.at = start;
                return self.fail("keys in ascending order, each once");
            }
            previous = Some(key);
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

    const GOOD: &str = concat!(
        r#"{"action":"a","actor":"b","details":{"A":-1,"k":"v\n"},"#,
        r#""id":"019c6652-5e00-7000-8000-000000000001","#,
        r#""nonce":"000102030405060708090a0b0c0d0e0f","request_id":"r","resource":"p/1","tenant":"t","#,
        r#""ts":"2026-02-16T12:00:00.000Z"}"#
    );

    #[test]
    fn canonical_bytes_are_accepted() {
        let mut seen = Vec::new();
        let raw =
            read_canonical(GOOD.as_bytes(), |key, value| seen.push(format!("{key}={value:?}"))).unwrap();
        assert_eq!((raw.tenant, raw.ts, raw.ip), ("t", "2026-02-16T12:00:00.000Z", None));
        assert_eq!(seen, ["A=Int(-1)", "k=Str(\"v\\\\n\")"]);
    }

    #[test]
    fn anything_that_is_not_canonical_is_rejected() {
        let changes = [
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
        for (from, to) in changes {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{from} is not in the text");
            assert!(read_canonical(bad.as_bytes(), |_, _| ()).is_err(), "accepted: {bad}");
        }
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[11] = 0xff;
        assert_eq!(read_canonical(&bytes, |_, _| ()).unwrap_err(), NotCanonical { at: 11, why: "UTF-8" });
    }

    #[test]
    fn every_prefix_of_canonical_bytes_is_rejected_without_a_panic() {
        for end in 0..GOOD.len() {
            assert!(read_canonical(&GOOD.as_bytes()[..end], |_, _| ()).is_err());
        }
    }
}

//! The header `Idempotency-Key`.

use std::fmt;

/// Longest key, characters.
pub const MAX_KEY: usize = 255;

/// Longest part of a wrong value that an error quotes, bytes.
const MAX_QUOTED: usize = 40;

/// The client's name for its request: 1 to 255 printable ASCII characters.
///
/// ```
/// use idempotency::IdempotencyKey;
///
/// let quoted = IdempotencyKey::parse(&[b"\"order-17\""]).unwrap();
/// assert_eq!(quoted, IdempotencyKey::parse(&[b"order-17"]).unwrap());
/// assert!(IdempotencyKey::parse(&[b"two words"]).is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The header is malformed or given more than once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Idempotency-Key {held}; it takes 1 to 255 printable ASCII characters, as a quoted string or bare, once, \
     e.g. \"order-4711\""
)]
pub struct KeyError {
    held: String,
}

impl IdempotencyKey {
    /// The regular expression of a valid header value.
    pub const PATTERN: &str = r#"^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-\[\]-~]{1,255})$"#;

    /// Parses the header's lines; returns `None` if there is none. A quoted string (RFC 8941 §3.3.3) is
    /// unquoted; a bare token, which many clients send, is the same key as its quoted form
    /// (draft-ietf-httpapi-idempotency-key-header-07 §2.1 takes the string alone).
    ///
    /// # Errors
    /// [`KeyError`] if there are several lines, or one that is neither form.
    pub fn parse(lines: &[&[u8]]) -> Result<Option<Self>, KeyError> {
        let line = match lines {
            [] => return Ok(None),
            [line] => line.trim_ascii(),
            several => return Err(KeyError { held: format!("is given {} times", several.len()) }),
        };
        let read = match line {
            [b'"', inner @ .., b'"'] => unquoted(inner),
            bare => bare.iter().all(|byte| is_bare(*byte)).then(|| bare.to_vec()),
        };
        let held = || {
            let shown = String::from_utf8_lossy(&line[..line.len().min(MAX_QUOTED)]).into_owned();
            let more = if line.len() > MAX_QUOTED { "…" } else { "" };
            KeyError { held: format!("is {shown:?}{more}") }
        };
        let read = read.filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(held)?;
        String::from_utf8(read).map(|key| Some(Self(key))).map_err(|_| held())
    }

    /// Returns the characters without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows the length alone, because a key may name an order or a person and must stay out of logs.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} characters)", self.0.len())
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';')
}

fn unquoted(inner: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        let read = match byte {
            b'\\' => bytes.next().filter(|escaped| matches!(escaped, b'"' | b'\\'))?,
            b'"' => return None,
            b' '..=b'~' => byte,
            _ => return None,
        };
        key.push(read);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pattern_matches_what_the_parser_accepts(
            text in concat!(
                r#"[!-~]{1,4}|"[ -~é]{0,6}"|"(a|b|\\"|\\\\|\\|"){0,5}""#,
                r#"|a{254,257}|"(a|\\"){254,256}""#,
            )
        ) {
            let pattern = regex::Regex::new(IdempotencyKey::PATTERN).unwrap();
            let read = matches!(IdempotencyKey::parse(&[text.as_bytes()]), Ok(Some(_)));
            prop_assert_eq!(read, pattern.is_match(&text), "{}", text);
        }
    }

    fn parse(line: &str) -> Result<String, KeyError> {
        IdempotencyKey::parse(&[line.as_bytes()]).map(|key| key.unwrap().0)
    }

    #[test]
    fn a_string_and_a_token_of_the_same_characters_are_one_key() {
        assert_eq!(parse("\"8e03978e-40d5\""), parse("8e03978e-40d5"));
        assert_eq!(parse(" \"a b\" ").unwrap(), "a b");
        assert_eq!(parse(r#""a\"b\\c""#).unwrap(), r#"a"b\c"#);
        assert_eq!(IdempotencyKey::parse(&[]), Ok(None));
        assert!(parse(&"k".repeat(255)).is_ok() && parse(&format!("\"{}\"", "k".repeat(255))).is_ok());
    }

    #[test]
    fn other_values_are_rejected_and_quoted_in_part() {
        let long = "k".repeat(256);
        for wrong in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a b",
            "a,b",
            "\"a\", \"b\"",
            "\"a\";p",
            "\"\\x\"",
            "\"\\\"",
            "é",
            &long,
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("Idempotency-Key is ") && error.contains("1 to 255"), "{error}");
            assert!(error.len() < 250, "{error}");
        }
        assert!(IdempotencyKey::parse(&[b"a", b"b"]).unwrap_err().to_string().contains("2 times"));
        assert!(IdempotencyKey::parse(&[b"\"a\nb\""]).is_err());
    }

    #[test]
    fn a_key_is_not_shown_in_logs() {
        let key = IdempotencyKey::parse(&[b"order-4711"]).unwrap().unwrap();
        assert_eq!(format!("{key:?}"), "IdempotencyKey(10 characters)");
    }
}

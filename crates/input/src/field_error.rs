//! The error for a field: its name, what it holds, what it takes, and an example.

use std::fmt;

/// Longest quote of a field's text, bytes.
const QUOTED: usize = 50;

/// A field that is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field has the wrong form.
    #[error("{0}")]
    Malformed(FieldFault),
    /// The field has the right form and is wrong.
    #[error("{0}")]
    Unacceptable(FieldFault),
}

/// What is wrong with a field. No part can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    field: &'static str,
    held: String,
    takes: String,
    example: String,
}

impl FieldError {
    /// A field of the wrong form. `held` is a predicate, such as `has 201 characters`; see [`is`].
    pub fn malformed(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self::Malformed(FieldFault::new(field, held, takes, example))
    }

    /// A field of the right form that is wrong. The arguments are those of [`Self::malformed`].
    pub fn unacceptable(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self::Unacceptable(FieldFault::new(field, held, takes, example))
    }
}

impl FieldFault {
    fn new(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self { field, held: held.into(), takes: takes.into(), example: example.to_string() }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, held, takes, example } = self;
        write!(f, "{field} {held}; it takes {takes}, e.g. {example}")
    }
}

/// `is "…"`, with the text [`quoted`].
#[must_use]
pub fn is(text: &str) -> String {
    format!("is {}", quoted(text))
}

/// A text of the client in quotation marks, cut at 50 bytes, with unprintable characters escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(QUOTED)];
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_cut_and_escaped() {
        assert_eq!(quoted("a\u{202e}\"b"), "\"a\\u{202e}\\\"b\"");
        assert!(quoted(&"é".repeat(1_000)).len() < 70);
    }
}

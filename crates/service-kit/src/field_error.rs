//! The error for a field: which one, what it held, what it takes, an example.

use std::fmt;

use http_edge::quoted;

/// A field that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is of the wrong form.
    #[error("{0}")]
    Malformed(Fault),
    /// It is of the right form, and wrong.
    #[error("{0}")]
    Unacceptable(Fault),
}

/// What is wrong with a field. Every part is there, so none can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    field: &'static str,
    held: String,
    takes: String,
    example: String,
}

impl FieldError {
    /// A field of the wrong form. `held` is what it held as a predicate, such as `has 201 characters`; see [`is`].
    pub fn malformed(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self::Malformed(Fault::new(field, held, takes, example))
    }

    /// The same for one that reads well and is wrong.
    pub fn unacceptable(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self::Unacceptable(Fault::new(field, held, takes, example))
    }
}

impl Fault {
    fn new(
        field: &'static str,
        held: impl Into<String>,
        takes: impl Into<String>,
        example: impl fmt::Display,
    ) -> Self {
        Self { field, held: held.into(), takes: takes.into(), example: example.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, held, takes, example } = self;
        write!(f, "{field} {held}; it takes {takes}, e.g. {example}")
    }
}

/// `is "…"`, with the text cut and escaped.
#[must_use]
pub fn is(text: &str) -> String {
    format!("is {}", quoted(text))
}

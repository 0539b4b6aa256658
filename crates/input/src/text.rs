//! Text that one client writes and others see: one rule for a line (names, brands, labels, reasons), and one
//! for a text of several lines.
//!
//! A text that renders as nothing, or that turns the direction of the text around it, lets one product or
//! brand look like another. Unicode's properties tell which characters are blank; a short list adds the few
//! whose glyph has no ink.

use std::fmt;

use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory, WhiteSpace};
use icu_properties::{CodePointMapData, CodePointSetData};

use crate::field_error::{FieldError, is};

/// Characters whose glyph is blank although their properties say otherwise: the Braille pattern without dots,
/// the notehead without a note, and the blank Egyptian hieroglyphs.
const INKLESS: [char; 4] = ['\u{2800}', '\u{1d159}', '\u{13441}', '\u{13442}'];

/// What a [`Line`] matches, as a regular expression that JSON Schema, Rust and Python read alike. A pattern
/// cannot require that something is visible.
pub const LINE_PATTERN: &str =
    r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+$";
/// What [`Lines`] match.
pub const LINES_PATTERN: &str =
    r"^(\r\n|[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069])*$";

/// 1 to `MAX` characters (Unicode scalar values) on one line. At least one is visible, and none is a control
/// of the line or of the direction of text.
#[derive(Clone, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

/// Up to `MAX` characters (Unicode scalar values) on any number of lines. At least one is visible. The only
/// controls are the tab and the line feed; none changes the direction of text.
#[derive(Clone, PartialEq, Eq)]
pub struct Lines<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// Parses a line. `field` names it in the error.
    ///
    /// # Errors
    /// [`FieldError::Malformed`] if the text is no such line.
    pub fn parse(field: &'static str, text: String) -> Result<Self, FieldError> {
        let length = text.chars().count();
        let held = if !(1..=MAX).contains(&length) {
            format!("has {length} characters")
        } else if let Some(control) = text.chars().find(|&one| breaks_line(one) || turns_text(one)) {
            holds(&text, control)
        } else if shows_nothing(&text) {
            format!("is {}, which shows nothing", codes_of(&text))
        } else {
            return Ok(Self(text));
        };
        let takes = format!(
            "1 to {MAX} characters on one line, at least one of them visible, without controls of lines or \
             text direction"
        );
        Err(FieldError::malformed(field, held, takes, example_of(field)))
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> Lines<MAX> {
    /// Parses a text; `None` if nothing in it is visible. CR LF counts as one line feed. `field` names it in
    /// the error.
    ///
    /// # Errors
    /// [`FieldError::Malformed`] if the text is too long or holds another control.
    pub fn parse(field: &'static str, text: &str) -> Result<Option<Self>, FieldError> {
        let text = text.replace("\r\n", "\n");
        let length = text.chars().count();
        let unfit = |one: &char| !matches!(one, '\n' | '\t') && (breaks_line(*one) || turns_text(*one));
        let held = if length > MAX {
            format!("has {length} characters")
        } else if let Some(control) = text.chars().find(unfit) {
            holds(&text, control)
        } else {
            return Ok((!shows_nothing(&text)).then_some(Self(text)));
        };
        let takes = format!("up to {MAX} characters, without controls other than tabs and line feeds");
        Err(FieldError::malformed(field, held, takes, example_of(field)))
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// `text` without controls of its direction. Phones insert them into copied text, where they are invisible.
#[must_use]
pub fn without_direction(text: &str) -> String {
    text.chars().filter(|one| !turns_text(*one)).collect()
}

/// An example of `field`, for errors.
fn example_of(field: &str) -> &'static str {
    match field {
        "brand" | "brands" => "\"Northern\"",
        "reason" => "\"lost in transport\"",
        "label" => "\"Spring run\"",
        "details" => "\"The seal is broken.\"",
        _ => "\"Rain jacket\"",
    }
}

fn holds(text: &str, control: char) -> String {
    format!("{} and holds the control character U+{:04X}", is(text), u32::from(control))
}

/// The first characters by their codes, because they are invisible.
fn codes_of(text: &str) -> String {
    let codes = text.chars().take(8).map(|one| format!("U+{:04X}", u32::from(one)));
    codes.collect::<Vec<_>>().join(" ")
}

fn shows_nothing(text: &str) -> bool {
    !text.chars().any(is_visible)
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> fmt::Debug for Lines<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn category(one: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(one)
}

/// Controls, and the line and paragraph separators.
fn breaks_line(one: char) -> bool {
    use GeneralCategory::{Control, LineSeparator, ParagraphSeparator};
    matches!(category(one), Control | LineSeparator | ParagraphSeparator)
}

fn turns_text(one: char) -> bool {
    CodePointSetData::new::<BidiControl>().contains(one)
}

/// Whether the character is visible alone. A combining mark needs a character before it.
fn is_visible(one: char) -> bool {
    use GeneralCategory::{EnclosingMark, Format, NonspacingMark, SpacingMark, Unassigned};
    let blank = CodePointSetData::new::<WhiteSpace>().contains(one)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(one)
        || matches!(category(one), Format | NonspacingMark | EnclosingMark | SpacingMark | Unassigned)
        || INKLESS.contains(&one);
    !blank
}

#[cfg(test)]
mod tests;

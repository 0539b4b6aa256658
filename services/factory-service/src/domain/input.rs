//! What a client may write, each as a type that cannot hold anything else.

use std::fmt;

use time::{OffsetDateTime, UtcOffset};

/// A field that is refused. Its text begins with the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    /// It is of the wrong form.
    #[error("{field} {why}")]
    Malformed { field: &'static str, why: String },
    /// It is of the right form, and wrong.
    #[error("{field} {why}")]
    Unacceptable { field: &'static str, why: String },
}

/// 1 to `MAX` characters (Unicode scalar values), not all blank, none of them a control character.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line<const MAX: usize>(String);

/// A product's name or brand, a batch's label.
pub(crate) type Label = Line<200>;
/// Why something is taken back.
pub(crate) type Reason = Line<500>;

impl<const MAX: usize> Line<MAX> {
    pub(crate) fn parse(field: &'static str, text: String) -> Result<Self, FieldError> {
        let length = text.chars().count();
        let why = if !(1..=MAX).contains(&length) {
            format!("has {length} characters; it takes 1 to {MAX}")
        } else if text.chars().any(char::is_control) {
            "holds a control character; it takes plain text on one line".to_owned()
        } else if text.chars().all(char::is_whitespace) {
            "is blank".to_owned()
        } else {
            return Ok(Self(text));
        };
        Err(FieldError::Malformed { field, why })
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A Global Trade Item Number: 8, 12, 13 or 14 digits, the last of them the check digit (GS1 General Specifications,
/// section 7.9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gtin(String);

impl Gtin {
    pub(crate) fn parse(field: &'static str, text: String) -> Result<Self, FieldError> {
        let digits = text.as_bytes();
        if !matches!(digits.len(), 8 | 12..=14) || !digits.iter().all(u8::is_ascii_digit) {
            let why = "takes 8, 12, 13 or 14 digits".to_owned();
            return Err(FieldError::Malformed { field, why });
        }
        let weights = [1, 3].into_iter().cycle();
        let sum: u32 =
            digits.iter().rev().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
        if !sum.is_multiple_of(10) {
            let why = "has a wrong check digit".to_owned();
            return Err(FieldError::Unacceptable { field, why });
        }
        Ok(Self(text))
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// How many tags a batch has: 1 to 16,777,216.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize(u32);

impl BatchSize {
    const MAX: u32 = 1 << 24;

    pub(crate) fn parse(field: &'static str, number: u64) -> Result<Self, FieldError> {
        let size = u32::try_from(number).ok().filter(|size| (1..=Self::MAX).contains(size));
        size.map(Self).ok_or_else(|| FieldError::Malformed {
            field,
            why: format!("is {number}; it takes 1 to {}", Self::MAX),
        })
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// The same instant in UTC, within the years that RFC 3339 can write.
pub(crate) fn instant(field: &'static str, given: OffsetDateTime) -> Result<OffsetDateTime, FieldError> {
    let utc = given.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()));
    utc.ok_or_else(|| FieldError::Malformed {
        field,
        why: "is not within the years 0000 to 9999 UTC".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn lines_are_counted_in_characters() {
        assert!(Label::parse("name", "é".repeat(200)).is_ok());
        assert!(Label::parse("name", "é".repeat(201)).is_err());
        assert!(Reason::parse("reason", "x".repeat(500)).is_ok());
        assert!(Reason::parse("reason", "x".repeat(501)).is_err());
        assert!(Label::parse("name", " a ".to_owned()).is_ok());
        for wrong in ["", " ", "\u{3000}", "a\nb", "a\0", "\u{85}"] {
            let error = Label::parse("name", wrong.to_owned()).unwrap_err();
            assert!(matches!(error, FieldError::Malformed { field: "name", .. }), "{wrong:?}");
        }
    }

    #[test]
    fn a_gtins_check_digit_is_verified() {
        for good in ["96385074", "012345678905", "4006381333931", "10012345678902", "00000000"] {
            assert!(Gtin::parse("gtin", good.to_owned()).is_ok(), "{good}");
        }
        for wrong in ["96385075", "012345678906", "4006381333932", "10012345678903"] {
            let error = Gtin::parse("gtin", wrong.to_owned()).unwrap_err();
            assert!(matches!(error, FieldError::Unacceptable { .. }), "{wrong}");
        }
        for wrong in
            ["", "123", "4006381333931 ", "400638133393x", "٤٠٠٦٣٨١٣", "123456789", "123456789012345"]
        {
            let error = Gtin::parse("gtin", wrong.to_owned()).unwrap_err();
            assert!(matches!(error, FieldError::Malformed { .. }), "{wrong}");
        }
    }

    #[test]
    fn every_single_digit_error_of_a_gtin_is_caught() {
        let good = "4006381333931";
        for place in 0..good.len() {
            for digit in b'0'..=b'9' {
                let mut digits = good.as_bytes().to_vec();
                digits[place] = digit;
                let text = String::from_utf8(digits).unwrap();
                assert_eq!(Gtin::parse("gtin", text.clone()).is_ok(), text == good, "{text}");
            }
        }
    }

    #[test]
    fn sizes_fit_the_24_bits_of_an_index() {
        for (number, good) in
            [(0, false), (1, true), (16_777_216, true), (16_777_217, false), (u64::MAX, false)]
        {
            assert_eq!(BatchSize::parse("size", number).is_ok(), good, "{number}");
        }
    }

    #[test]
    fn instants_are_kept_in_utc_or_refused() {
        let at = |text| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let utc = instant("expires_at", at("2026-01-01T01:00:00+01:00")).unwrap();
        assert_eq!(utc.format(&Rfc3339).unwrap(), "2026-01-01T00:00:00Z");
        for beyond in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
            assert!(instant("expires_at", at(beyond)).is_err(), "{beyond}");
        }
    }
}

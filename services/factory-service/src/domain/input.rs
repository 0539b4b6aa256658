//! The values that clients send, parsed into types that hold only valid values.

use time::{OffsetDateTime, UtcOffset};

use input::Line;
pub(crate) use input::{FieldError, is};

/// A short text: the name or brand of a product, the label of a batch or key.
pub(crate) type Label = Line<200>;
/// A reason for a revocation, recall or suspension.
pub(crate) type Reason = Line<500>;

/// An example of an instant in error messages.
pub(crate) const INSTANT: &str = "2099-01-31T00:00:00Z";
/// An example of an id in error messages and in the API document.
pub(crate) const EXAMPLE_ID: &str = "019c6652-5e00-7000-8000-0000000000aa";
/// The allowed years of an instant, both in UTC and in its own offset.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

/// A Global Trade Item Number: 8, 12, 13 or 14 digits. The last is the check digit (GS1 General
/// Specifications, section 7.9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gtin(String);

/// An example of a GTIN in error messages.
const GTIN: &str = "\"4006381333931\"";

impl Gtin {
    /// The regular expression that a GTIN matches. It does not cover the check digit.
    pub(crate) const PATTERN: &str = "^([0-9]{8}|[0-9]{12,14})$";

    pub(crate) fn parse(field: &'static str, text: String) -> Result<Self, FieldError> {
        let digits = text.as_bytes();
        if !matches!(digits.len(), 8 | 12..=14) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(FieldError::malformed(field, is(&text), "8, 12, 13 or 14 digits", GTIN));
        }
        if digits.iter().all(|digit| *digit == b'0') {
            let takes = "a GTIN that GS1 has assigned, not all zeros";
            return Err(FieldError::unacceptable(field, is(&text), takes, GTIN));
        }
        let weights = [1, 3].into_iter().cycle();
        let sum: u32 =
            digits.iter().rev().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
        if !sum.is_multiple_of(10) {
            let held = format!("{}, whose check digit is wrong", is(&text));
            return Err(FieldError::unacceptable(
                field,
                held,
                "a GTIN with its check digit at the end",
                GTIN,
            ));
        }
        Ok(Self(text))
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// The number of tags in a batch, 1 to 16,777,216.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize(u32);

impl BatchSize {
    const MAX: u32 = 1 << 24;

    pub(crate) fn parse(field: &'static str, number: u64) -> Result<Self, FieldError> {
        let size = u32::try_from(number).ok().filter(|size| (1..=Self::MAX).contains(size));
        let takes = || format!("1 to {}", Self::MAX);
        size.map(Self).ok_or_else(|| FieldError::malformed(field, format!("is {number}"), takes(), 1000))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// Converts an instant to UTC. It must lie within the years 1900 to 9999: an earlier year, such as 26 or
/// 0001, is a typing error.
pub(crate) fn instant(field: &'static str, given: OffsetDateTime) -> Result<OffsetDateTime, FieldError> {
    let utc = given.checked_to_offset(UtcOffset::UTC).filter(|utc| YEARS.contains(&utc.year()));
    utc.filter(|_| YEARS.contains(&given.year())).ok_or_else(|| {
        let held = format!("is {}", ambient::rfc3339::format(given));
        FieldError::malformed(field, held, "an instant within the years 1900 to 9999", INSTANT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn a_gtins_check_digit_is_verified() {
        for good in ["96385074", "012345678905", "4006381333931", "10012345678902"] {
            assert!(Gtin::parse("gtin", good.to_owned()).is_ok(), "{good}");
        }
        for wrong in [
            "00000000",
            "000000000000",
            "0000000000000",
            "00000000000000",
            "96385075",
            "012345678906",
            "4006381333932",
            "10012345678903",
        ] {
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

    proptest! {
        #[test]
        fn the_pattern_matches_exactly_the_texts_that_are_not_malformed(text in "[0-9]{7,15}[x\n٣]?") {
            let pattern = regex::Regex::new(Gtin::PATTERN).unwrap();
            let malformed = matches!(Gtin::parse("gtin", text.clone()), Err(FieldError::Malformed(_)));
            prop_assert_eq!(malformed, !pattern.is_match(&text));
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
    fn instants_are_converted_to_utc_or_rejected() {
        let at = |text| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let utc = instant("expires_at", at("2026-01-01T01:00:00+01:00")).unwrap();
        assert_eq!(utc.format(&Rfc3339).unwrap(), "2026-01-01T00:00:00Z");
        for good in ["1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert!(instant("expires_at", at(good)).is_ok(), "{good}");
        }
        for beyond in [
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
            "0026-01-01T00:00:00Z",
            "1899-12-31T23:59:59Z",
            "1899-12-31T23:30:00-01:00",
            "1900-01-01T00:30:00+01:00",
        ] {
            let error = instant("expires_at", at(beyond)).unwrap_err().to_string();
            assert!(error.contains("1900 to 9999, e.g. 2099-01-31T00:00:00Z"), "{error}");
        }
    }
}

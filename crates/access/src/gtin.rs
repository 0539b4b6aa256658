//! GTIN company prefixes (GS1 General Specifications, section 1.4), and the GTINs that each prefix covers.
//!
//! A GTIN of any length is padded with leading zeros to 14 digits (GTIN-14). The first digit is the packaging
//! level and the last is the check digit. The twelve digits between them begin with the company prefix, so a
//! prefix corresponds to a range of twelve-digit numbers.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Number of digits of a GTIN-14 between the first and the last.
const PLACES: usize = 12;
/// Lengths of GS1 company prefixes, in digits.
const LENGTHS: RangeInclusive<usize> = 4..=PLACES;

/// The text is not a GTIN company prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it takes 4 to 12 digits as GS1 assigned them, e.g. 4006381; a U.P.C. company prefix takes a leading 0"
)]
pub struct NotAGtinPrefix;

/// A company prefix: 4 to 12 digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct GtinPrefix(String);

/// A range of the twelve-digit numbers by which GTINs are compared.
pub type GtinRange = RangeInclusive<u64>;

impl GtinPrefix {
    /// Regular expression that exactly the valid prefixes match.
    pub const PATTERN: &str = "^[0-9]{4,12}$";

    /// Returns the digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the twelve-digit numbers that begin with this prefix.
    #[must_use]
    pub fn range(&self) -> GtinRange {
        let first = number(&self.0) * 10_u64.pow(u32::try_from(PLACES - self.0.len()).unwrap_or_default());
        let last = number(&format!("{:9<PLACES$}", self.0));
        first..=last
    }

    /// Returns whether this prefix covers the GTIN. A text that is not a GTIN is not covered.
    #[must_use]
    pub fn covers(&self, gtin: &str) -> bool {
        gtin_number(gtin).is_some_and(|number| self.range().contains(&number))
    }

    /// Returns whether some GTIN is covered by both prefixes.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

/// Returns the twelve-digit number by which a GTIN of 8, 12, 13 or 14 digits is compared; `None` for other
/// texts.
#[must_use]
pub fn gtin_number(gtin: &str) -> Option<u64> {
    let is_gtin = matches!(gtin.len(), 8 | 12..=14) && gtin.bytes().all(|byte| byte.is_ascii_digit());
    let padded = format!("{gtin:0>width$}", width = PLACES + 2);
    padded.get(1..=PLACES).filter(|_| is_gtin).map(number)
}

/// Parses at most twelve digits, which always fit.
fn number(digits: &str) -> u64 {
    digits.bytes().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')))
}

impl FromStr for GtinPrefix {
    type Err = NotAGtinPrefix;

    fn from_str(text: &str) -> Result<Self, NotAGtinPrefix> {
        let is_prefix = LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_prefix { Ok(Self(text.to_owned())) } else { Err(NotAGtinPrefix) }
    }
}

impl fmt::Display for GtinPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GtinPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> GtinPrefix {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn the_pattern_matches_exactly_the_accepted_texts(text in "[0-9]{0,14}[x\n٣]?") {
            let pattern = regex::Regex::new(GtinPrefix::PATTERN).unwrap();
            prop_assert_eq!(text.parse::<GtinPrefix>().is_ok(), pattern.is_match(&text));
        }
    }

    #[test]
    fn a_prefix_covers_the_gtins_of_its_company_in_all_lengths() {
        let table = [
            ("4006381", "4006381333931", true),
            ("4006381", "04006381333931", true),
            ("4006381", "14006381333938", true),
            ("4006382", "4006381333931", false),
            ("0012345", "012345678905", true),
            ("012345", "012345678905", false),
            ("400638133393", "4006381333931", true),
            ("0000096", "96385074", true),
            ("9638", "96385074", false),
            ("4006381", "400638133393", false),
        ];
        for (company, gtin, covered) in table {
            assert_eq!(prefix(company).covers(gtin), covered, "{company} {gtin}");
        }
        assert!(!prefix("4006381").covers("4006381") && !prefix("4006381").covers("400638133393x"));
    }

    #[test]
    fn prefixes_are_4_to_12_digits() {
        for wrong in ["", "400", "4006381333931", "40063 1", "400x", "٤٠٠٦", "-4006"] {
            assert_eq!(wrong.parse::<GtinPrefix>(), Err(NotAGtinPrefix), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn prefixes_overlap_exactly_if_their_ranges_do(one in "[01]{4,12}", other in "[01]{4,12}") {
            let (one, other) = (prefix(&one), prefix(&other));
            let (a, b) = (one.range(), other.range());
            prop_assert_eq!(one.overlaps(&other), a.start() <= b.end() && b.start() <= a.end());
        }

        #[test]
        fn a_prefix_covers_the_gtins_that_begin_with_it(one in "[0-2]{4,12}", gtin in "[0-2]{14}") {
            prop_assert_eq!(prefix(&one).covers(&gtin), gtin[1..13].starts_with(&one));
        }
    }
}

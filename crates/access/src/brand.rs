//! Brand names, and the comparison of brands that look alike.
//!
//! Two texts name the same brand if they are equal after NFKC and full case folding. Two texts look alike if
//! they share a skeleton of UTS #39 (confusables). [`BrandKeys::lookalikes`] returns the skeletons of the
//! text as written, in lower case and in upper case, because letters that differ in one case may look the
//! same in the other (`М` and `M`, but `м` and `m`). The tenant that owns a brand owns all its skeletons; a
//! text that shares one of them is rejected for other tenants.

use std::collections::BTreeSet;

use icu_casemap::CaseMapper;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// A brand name as an operator entered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BrandName(String);

/// The text has no visible character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a brand takes at least one visible character")]
pub struct NotABrand;

/// The normalized forms by which brands are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandKeys {
    folded: String,
    lookalikes: BTreeSet<String>,
}

impl BrandName {
    /// Takes `text` as a brand name.
    ///
    /// # Errors
    /// [`NotABrand`] if the text has no visible character.
    pub fn new(text: impl Into<String>) -> Result<Self, NotABrand> {
        let text = text.into();
        if BrandKeys::of(&text).folded.is_empty() { Err(NotABrand) } else { Ok(Self(text)) }
    }

    /// Returns the name as it was entered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the forms by which this brand is compared.
    #[must_use]
    pub fn keys(&self) -> BrandKeys {
        BrandKeys::of(&self.0)
    }
}

impl BrandKeys {
    /// Returns the forms by which `text` is compared, whether or not it is a valid brand name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let plain = normalize(text);
        let folded = normalize_spaces(&fold(&plain));
        let lookalikes = [&plain, &folded, &plain.to_uppercase()].map(|form| folded_skeleton(form));
        Self { folded, lookalikes: lookalikes.into() }
    }

    /// Returns the case-folded form, which is equal for two texts that name the same brand.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Returns one to three skeletons. Two brands that look alike share at least one.
    pub fn lookalikes(&self) -> impl Iterator<Item = &str> {
        self.lookalikes.iter().map(String::as_str)
    }
}

/// Applies NFKC, removes invisible characters, and reduces white space like [`normalize_spaces`].
fn normalize(text: &str) -> String {
    let hidden = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let shown: String = text.nfkc().filter(|character| !hidden.contains(*character)).collect();
    normalize_spaces(&shown)
}

/// Replaces each run of white space by one space, trims both ends, and applies NFKC.
fn normalize_spaces(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").nfkc().collect()
}

fn fold(text: &str) -> String {
    CaseMapper::new().fold_string(text).into_owned()
}

/// Returns the skeleton of the folded skeleton, because folding a skeleton may yield a letter with another
/// skeleton.
fn folded_skeleton(text: &str) -> String {
    let first: String = skeleton(text).collect();
    skeleton(&fold(&first)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        let (one, other) = (BrandKeys::of(one), BrandKeys::of(other));
        one.lookalikes().any(|look| other.lookalikes().any(|theirs| theirs == look))
    }

    fn same(one: &str, other: &str) -> bool {
        BrandKeys::of(one).folded() == BrandKeys::of(other).folded()
    }

    #[test]
    fn brands_that_differ_in_case_width_or_spacing_are_the_same() {
        for other in
            ["acme", "ACME", " Acme ", "Ａｃｍｅ", "Ac\u{200b}me", "A\u{ad}cme", "Acme\u{2060}", "Ⓐcme"]
        {
            assert!(same("Acme", other) && alike("Acme", other), "{other:?}");
        }
        assert!(same("STRASSE", "straße") && same("Ac  me", "Ac\u{a0}me"));
        assert!(same("Café", "Cafe\u{301}") && same("ΟΔΟΣ", "οδος") && same("ﬁne", "FINE"));
        for other in ["Acne", "Acme Ltd", "Acm", "Ac me"] {
            assert!(!same("Acme", other), "{other:?}");
        }
    }

    #[test]
    fn brands_that_look_alike_share_a_skeleton() {
        let pairs = [
            ("Acme", "Αcme"),
            ("Acme", "АСМЕ"),
            ("ACME", "АСМЕ"),
            ("acme", "Асmе"),
            ("Acme", "Acrne"),
            ("Nike", "N1KE"),
            ("NIKE", "NlKE"),
            ("nike", "NІKE"),
            ("Northern", "N0rthern"),
            ("Hilti", "HiIti"),
            ("Ölüm", "O\u{308}lu\u{308}m"),
        ];
        for (one, other) in pairs {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
        for (one, other) in [("Acme", "Acne"), ("Nike", "Mike"), ("Puma", "Pume"), ("Bosch", "Busch")] {
            assert!(!alike(one, other), "{one} {other}");
        }
    }

    #[test]
    fn brands_that_only_look_alike_are_not_the_same() {
        assert!(!same("Nike", "N1KE") && !same("Acme", "АСМЕ"));
    }

    #[test]
    fn a_brand_name_needs_a_visible_character() {
        for nothing in ["", " ", "\u{200b}", "\u{3164}", "\u{ad}\u{2060} "] {
            assert_eq!(BrandName::new(nothing), Err(NotABrand), "{nothing:?}");
        }
        assert_eq!(BrandName::new("Acme").unwrap().as_str(), "Acme");
    }

    #[test]
    fn the_keys_of_the_longest_text_are_bounded() {
        // NFKC turns this character into eighteen characters, the most for any character.
        let keys = BrandKeys::of(&"\u{fdfa}".repeat(200));
        assert!(keys.lookalikes().all(|look| look.len() < 16_384));
    }
}

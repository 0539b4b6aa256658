//! Brand names, and when one could be taken for another.
//!
//! Two texts name the same brand when they are equal after NFKC and full case folding. One could be taken for the other when they
//! look alike: [`BrandKeys::lookalikes`] are the skeletons of UTS #39 (confusables) of the text as it is, in lower case and in upper
//! case, because letters that differ in one case may look the same in the other (`М` and `M`, but `м` and `m`). Whoever has a brand
//! holds all of its skeletons, and a text that shares one with it is refused.

use std::collections::BTreeSet;

use icu_casemap::CaseMapper;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// A brand as an operator has written it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BrandName(String);

/// A text that shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a brand takes at least one visible character")]
pub struct NotABrand;

/// What a brand is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandKeys {
    folded: String,
    lookalikes: BTreeSet<String>,
}

impl BrandName {
    /// A brand called `text`.
    ///
    /// # Errors
    /// When nothing of the text is visible.
    pub fn new(text: impl Into<String>) -> Result<Self, NotABrand> {
        let text = text.into();
        if BrandKeys::of(&text).folded.is_empty() { Err(NotABrand) } else { Ok(Self(text)) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is compared by.
    #[must_use]
    pub fn keys(&self) -> BrandKeys {
        BrandKeys::of(&self.0)
    }
}

impl BrandKeys {
    /// What `text` is compared by.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let plain = plain(text);
        let folded = plain_again(&fold(&plain));
        let lookalikes = [&plain, &folded, &plain.to_uppercase()].map(|form| look_of(form));
        Self { folded, lookalikes: lookalikes.into() }
    }

    /// Equal for two texts that name the same brand.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// One to three texts; two brands that look alike share one.
    pub fn lookalikes(&self) -> impl Iterator<Item = &str> {
        self.lookalikes.iter().map(String::as_str)
    }
}

/// NFKC without characters that are not shown; a run of white space is one space, none at the ends.
fn plain(text: &str) -> String {
    let hidden = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let shown: String = text.nfkc().filter(|character| !hidden.contains(*character)).collect();
    plain_again(&shown)
}

fn plain_again(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").nfkc().collect()
}

fn fold(text: &str) -> String {
    CaseMapper::new().fold_string(text).into_owned()
}

/// Folding a skeleton may bring back a letter that has another skeleton.
fn look_of(text: &str) -> String {
    let seen: String = skeleton(text).collect();
    skeleton(&fold(&seen)).collect()
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
    fn case_width_and_spacing_make_no_other_brand() {
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
    fn what_looks_like_a_brand_is_told_though_it_is_another_text() {
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
    fn a_verified_brand_is_not_verified_for_what_merely_looks_like_it() {
        assert!(!same("Nike", "N1KE") && !same("Acme", "АСМЕ"));
    }

    #[test]
    fn what_shows_nothing_is_no_brand() {
        for nothing in ["", " ", "\u{200b}", "\u{3164}", "\u{ad}\u{2060} "] {
            assert_eq!(BrandName::new(nothing), Err(NotABrand), "{nothing:?}");
        }
        assert_eq!(BrandName::new("Acme").unwrap().as_str(), "Acme");
    }

    #[test]
    fn the_longest_text_has_keys_of_bounded_size() {
        // Each of these is eighteen characters after NFKC, the most there is.
        let keys = BrandKeys::of(&"\u{fdfa}".repeat(200));
        assert!(keys.lookalikes().all(|look| look.len() < 16_384));
    }
}

//! Checks the brands, GTIN prefixes and quotas that an operator gives a tenant.

use access::{BrandName, GtinPrefix, MAX_CLAIMS};

use input::quoted;

use crate::domain::input::{FieldError, Label};

/// Examples in error messages.
const BRANDS: &str = r#"["Acme"]"#;
const PREFIXES: &str = r#"["4006381"]"#;

/// The most bytes that all brands of a tenant may have together. They must fit an audit event, in which a
/// byte may take up to four.
const MAX_BRAND_BYTES: usize = 3_000;
/// The most batches that can exist: batch numbers have 24 bits.
const MOST_BATCHES: u64 = 1 << 24;

/// Checks a tenant's brands. No brand may be named twice.
pub(crate) fn brands(field: &'static str, names: Vec<String>) -> Result<Vec<BrandName>, FieldError> {
    bounded(field, names.len())?;
    let bytes: usize = names.iter().map(String::len).sum();
    if bytes > MAX_BRAND_BYTES {
        let (held, takes) = (format!("has {bytes} bytes in all"), format!("up to {MAX_BRAND_BYTES}"));
        return Err(FieldError::malformed(field, held, takes, BRANDS));
    }
    let mut brands: Vec<BrandName> = Vec::with_capacity(names.len());
    for name in names {
        let name = Label::parse(field, name)?.into_string();
        let blank =
            |_| FieldError::malformed(field, "holds a blank", "brands with visible characters", BRANDS);
        let brand = BrandName::new(name).map_err(blank)?;
        let keys = brand.keys();
        if let Some(same) = brands.iter().find(|other| other.keys().folded() == keys.folded()) {
            let held = format!("names {} twice, also as {}", quoted(same.as_str()), quoted(brand.as_str()));
            return Err(FieldError::unacceptable(field, held, "each brand once", BRANDS));
        }
        brands.push(brand);
    }
    Ok(brands)
}

/// Checks a tenant's GTIN prefixes. No prefix may begin with another.
pub(crate) fn gtin_prefixes(field: &'static str, texts: &[String]) -> Result<Vec<GtinPrefix>, FieldError> {
    bounded(field, texts.len())?;
    let mut prefixes: Vec<GtinPrefix> = Vec::with_capacity(texts.len());
    for text in texts {
        let takes = "4 to 12 digits each as GS1 assigned them, a U.P.C. company prefix with a 0 in front";
        let malformed = |_| FieldError::malformed(field, format!("holds {}", quoted(text)), takes, PREFIXES);
        let prefix: GtinPrefix = text.parse().map_err(malformed)?;
        if let Some(other) = prefixes.iter().find(|other| other.overlaps(&prefix)) {
            let held = format!("holds {other} and {prefix}, of which one begins with the other");
            return Err(FieldError::unacceptable(field, held, "the shorter one of them", PREFIXES));
        }
        prefixes.push(prefix);
    }
    Ok(prefixes)
}

/// Checks the most batches that a tenant may have.
pub(crate) fn max_batches(field: &'static str, number: u64) -> Result<u32, FieldError> {
    let most = u32::try_from(number).ok().filter(|_| number <= MOST_BATCHES);
    let takes = || format!("0 to {MOST_BATCHES}");
    most.ok_or_else(|| FieldError::malformed(field, format!("is {number}"), takes(), 100_000))
}

fn bounded(field: &'static str, number: usize) -> Result<(), FieldError> {
    if number <= MAX_CLAIMS {
        return Ok(());
    }
    let example = if field == "brands" { BRANDS } else { PREFIXES };
    Err(FieldError::malformed(field, format!("has {number} items"), format!("up to {MAX_CLAIMS}"), example))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn brands_are_limited_in_number_and_length_and_named_once() {
        assert!(brands("brands", owned(&["Acme", "Acme Home", "AcMe X"])).is_ok());
        for twice in [["Acme", "ACME"], ["Straße", "STRASSE"], ["Acme", "Ａｃｍｅ"]] {
            let error = brands("brands", owned(&twice)).unwrap_err();
            assert!(matches!(error, FieldError::Unacceptable { .. }), "{twice:?}");
        }
        let many: Vec<String> = (0..=MAX_CLAIMS).map(|i| format!("b{i}")).collect();
        let long: Vec<String> = (0..16).map(|i| format!("{i}{}", "x".repeat(198))).collect();
        for wrong in [many, long, owned(&[""]), owned(&["\u{200b}"]), owned(&["a\nb"]), vec!["x".repeat(201)]]
        {
            let error = brands("brands", wrong).unwrap_err();
            assert!(error.to_string().starts_with("brands "), "{error}");
        }
    }

    #[test]
    fn prefixes_are_limited_in_number_and_do_not_overlap() {
        assert_eq!(gtin_prefixes("p", &owned(&["4006381", "4006382"])).unwrap().len(), 2);
        let error = gtin_prefixes("p", &owned(&["4006381", "400638"])).unwrap_err();
        assert!(matches!(error, FieldError::Unacceptable { .. }), "{error}");
        for wrong in ["400", "4006381333931", "x", ""] {
            let error = gtin_prefixes("p", &owned(&[wrong])).unwrap_err();
            assert!(matches!(error, FieldError::Malformed { .. }), "{wrong}");
        }
        let many: Vec<String> = (0..=MAX_CLAIMS).map(|i| format!("{:06}", i)).collect();
        assert!(gtin_prefixes("p", &many).is_err());
    }

    #[test]
    fn max_batches_is_at_most_the_number_of_batch_numbers() {
        for (number, good) in [(0, true), (1 << 24, true), ((1 << 24) + 1, false), (u64::MAX, false)] {
            assert_eq!(max_batches("max_batches", number).is_ok(), good, "{number}");
        }
    }
}

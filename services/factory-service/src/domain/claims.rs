//! What an operator says a tenant has: brands, GTIN prefixes and bounds, each checked as a whole.

use access::{BrandName, GtinPrefix, MAX_CLAIMS};

use crate::domain::input::{FieldError, Label};

/// Most bytes of a tenant's brands together: they must fit an audit event, in which each byte may take up to four.
const MAX_BRAND_BYTES: usize = 3_000;
/// Most batches there can be: numbers have 24 bits.
const MOST_BATCHES: u64 = 1 << 24;

/// A tenant's brands: none named twice.
pub(crate) fn brands(field: &'static str, names: Vec<String>) -> Result<Vec<BrandName>, FieldError> {
    bounded(field, names.len())?;
    let bytes: usize = names.iter().map(String::len).sum();
    if bytes > MAX_BRAND_BYTES {
        let why = format!("has {bytes} bytes in all; it takes up to {MAX_BRAND_BYTES}");
        return Err(FieldError::Malformed { field, why });
    }
    let mut brands: Vec<BrandName> = Vec::with_capacity(names.len());
    for name in names {
        let name = Label::parse(field, name)?.into_string();
        let malformed = |why: String| FieldError::Malformed { field, why };
        let brand = BrandName::new(name).map_err(|error| malformed(format!("holds a blank: {error}")))?;
        let keys = brand.keys();
        if let Some(same) = brands.iter().find(|other| other.keys().folded() == keys.folded()) {
            let why = format!("names {:?} twice, also as {:?}", same.as_str(), brand.as_str());
            return Err(FieldError::Unacceptable { field, why });
        }
        brands.push(brand);
    }
    Ok(brands)
}

/// A tenant's GTIN prefixes: none that another of them holds already.
pub(crate) fn gtin_prefixes(field: &'static str, texts: &[String]) -> Result<Vec<GtinPrefix>, FieldError> {
    bounded(field, texts.len())?;
    let mut prefixes: Vec<GtinPrefix> = Vec::with_capacity(texts.len());
    for text in texts {
        let malformed = |error| FieldError::Malformed { field, why: format!("holds {text:?}: {error}") };
        let prefix: GtinPrefix = text.parse().map_err(malformed)?;
        if let Some(other) = prefixes.iter().find(|other| other.overlaps(&prefix)) {
            let why = format!(
                "holds {other} and {prefix}, of which one begins with the other; give the shorter one"
            );
            return Err(FieldError::Unacceptable { field, why });
        }
        prefixes.push(prefix);
    }
    Ok(prefixes)
}

/// How many batches a tenant may have.
pub(crate) fn max_batches(field: &'static str, number: u64) -> Result<u32, FieldError> {
    let most = u32::try_from(number).ok().filter(|_| number <= MOST_BATCHES);
    let why = || format!("is {number}; it takes 0 to {MOST_BATCHES}, e.g. 100000");
    most.ok_or_else(|| FieldError::Malformed { field, why: why() })
}

fn bounded(field: &'static str, number: usize) -> Result<(), FieldError> {
    let why = || format!("has {number} items; it takes up to {MAX_CLAIMS}");
    if number > MAX_CLAIMS { Err(FieldError::Malformed { field, why: why() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn brands_are_few_short_and_named_once() {
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
    fn prefixes_are_few_and_apart() {
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
    fn a_tenant_has_at_most_as_many_batches_as_there_are_numbers() {
        for (number, good) in [(0, true), (1 << 24, true), ((1 << 24) + 1, false), (u64::MAX, false)] {
            assert_eq!(max_batches("max_batches", number).is_ok(), good, "{number}");
        }
    }
}

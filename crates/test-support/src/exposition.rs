//! A strict reader of Prometheus's text format 0.0.4, as `promtool check metrics` reads it.

use std::collections::{BTreeMap, BTreeSet};

/// Fails unless `text` is sound: each sample belongs to the family announced before it, with a help and a
/// known type; names, labels and values are well-formed; no series or family comes twice; a counter's name
/// ends in `_total`, nothing else's does; the buckets of a histogram grow up to its count.
///
/// # Panics
///
/// With the line that is not sound.
pub fn assert_sound_exposition(text: &str) {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut series, mut help, mut family) = (BTreeSet::new(), None, ("", ""));
    let (mut buckets, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, said) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!said.is_empty(), "no help: {line}");
            help = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(help.take(), Some(family.0), "no help before: {line}");
            assert!(["counter", "gauge", "histogram", "untyped"].contains(&family.1), "unknown type: {line}");
            assert_eq!(family.0.ends_with("_total"), family.1 == "counter", "{line}");
            assert!(families.insert(family.0, family.1).is_none(), "twice: {line}");
        } else {
            assert!(!line.starts_with('#'), "neither help nor type: {line}");
            let (name, labels, value) = sample(line);
            let ending = name.strip_prefix(family.0).unwrap_or_else(|| panic!("of no family: {line}"));
            let histogram = family.1 == "histogram" && ["_bucket", "_sum", "_count"].contains(&ending);
            assert!(histogram || ending.is_empty() && family.1 != "histogram", "of no family: {line}");
            assert!(series.insert((name.to_owned(), labels.clone())), "twice: {line}");
            if ending == "_bucket" {
                let of: Vec<_> = labels.iter().filter(|(name, _)| name != "le").collect();
                let least: Option<f64> = buckets.insert(format!("{} {of:?}", family.0), value);
                assert!(least.is_none_or(|least| least <= value), "it shrinks: {line}");
            } else if ending == "_count" {
                let of: Vec<_> = labels.iter().collect();
                counts.insert(format!("{} {of:?}", family.0), value);
            }
        }
    }
    assert!(!families.is_empty(), "there is nothing");
    assert_eq!(buckets, counts, "the last bucket of a histogram holds all");
}

type Labels = BTreeSet<(String, String)>;

fn sample(line: &str) -> (&str, Labels, f64) {
    let at = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(at);
    assert!(is_name(name), "no name: {line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            let end = end_of_text(after).unwrap_or_else(|| panic!("no end: {line}"));
            assert!(is_name(label) && !label.contains(':'), "no label: {line}");
            assert!(labels.insert((label.to_owned(), after[..end].to_owned())), "twice: {line}");
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name, labels, value.replace("Inf", "inf").parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

/// Where the quote is that ends a label's value.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sound_is_found() {
        let sound = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"\\\"}\",y=\"\"} 1\na_total 2\n\
                     # HELP h H.\n# TYPE h histogram\nh_sum 1.5\n\
                     h_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n";
        assert_sound_exposition(sound);
        for (good, bad) in [
            ("# HELP a_total A.\n", ""),
            ("a_total counter", "a_total gauge"),
            ("a_total 2", "b_total 2"),
            ("a_total 2", "a_total{x=\"\\\"}\",y=\"\"} 2"),
            ("a_total 2", "a_total two"),
            ("a_total 2\n", "a_total 2"),
            ("histogram", "info"),
            ("h_count 2\n", "h_count 2\n# EOF\n"),
            ("h_count 2", "h_count 3"),
            ("\"1.0\"} 1", "\"1.0\"} 3"),
            ("x=", "1x="),
        ] {
            let text = if good == "a_total 2\n" { bad.to_owned() } else { sound.replacen(good, bad, 1) };
            assert_ne!(text, sound, "{good}");
            assert!(std::panic::catch_unwind(|| assert_sound_exposition(&text)).is_err(), "{bad}");
        }
    }
}

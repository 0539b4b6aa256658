//! The reference of the metrics, generated from what a service that has just started exposes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// A label with more values than this is shown without them: routes, statuses, problems.
const MOST_VALUES: usize = 8;

/// Fails unless `docs/operations/metrics.md` describes exactly the families of `exposition`, the text of
/// `/metrics` of a service that has just started.
///
/// With `write`, it writes the service's section instead.
///
/// # Panics
/// If the section differs, or if the file lacks the marks between which it stands.
pub fn assert_metrics_documented(service: &str, exposition: &str, write: bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations/metrics.md");
    let document = std::fs::read_to_string(&path).expect("docs/operations/metrics.md can be read");
    let (begin, end) = (format!("<!-- begin {service} -->\n"), format!("<!-- end {service} -->"));
    let (before, rest) = document.split_once(&begin).expect("the document has the begin mark");
    let (section, after) = rest.split_once(&end).expect("the document has the end mark");
    let current = metrics_table(exposition);
    if write {
        std::fs::write(&path, format!("{before}{begin}{current}{end}{after}")).expect("it can be written");
        return;
    }
    assert!(
        section == current,
        "the section {service} of docs/operations/metrics.md differs from the code; this writes it: \
         VOKETAG_WRITE_DOCS=1 cargo test -p scan-service -p factory-service every_metric_is_documented\n\
         expected:\n{current}"
    );
}

/// Returns one table row for each family of an exposition in Prometheus's text format, sorted by name.
#[must_use]
pub fn metrics_table(exposition: &str) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut current = "";
    for line in exposition.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name).or_default().help = help.trim_end_matches('.');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name).or_default().kind = kind;
            current = name;
        } else if let Some(labels) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) {
            families.entry(current).or_default().add_labels(labels.0);
        }
    }
    let mut table =
        String::from("| name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (name, Family { kind, help, labels }) in families {
        let labels: Vec<_> = labels.into_iter().map(|(label, values)| described(label, &values)).collect();
        let (unit, labels) = (unit_of(name), labels.join("; "));
        writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {} |", help.replace('|', "\\|"))
            .expect("a String takes all");
    }
    table
}

#[derive(Default)]
struct Family<'a> {
    kind: &'a str,
    help: &'a str,
    labels: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Family<'a> {
    /// Adds the labels of one series, `name="value",…`. No value of a fresh service has a quote in it.
    fn add_labels(&mut self, labels: &'a str) {
        let mut rest = labels;
        while let Some((name, (value, after))) =
            rest.split_once("=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?)))
        {
            if name != "le" {
                self.labels.entry(name).or_default().insert(value);
            }
            rest = after.trim_start_matches(',');
        }
    }
}

fn described(label: &str, values: &BTreeSet<&str>) -> String {
    if values.len() > MOST_VALUES || label == "version" {
        return format!("`{label}`");
    }
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    format!("`{label}`: {}", values.join(", "))
}

fn unit_of(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    match base.rsplit('_').next() {
        Some("seconds") => "seconds",
        Some("bytes") => "bytes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_one_row_with_the_values_of_its_labels() {
        let table = metrics_table(
            "# HELP b_total Things | more.\n# TYPE b_total counter\nb_total{x=\"1\",y=\"a\"} 0\n\
             b_total{x=\"2\",y=\"a\"} 0\n# HELP a_seconds Time.\n# TYPE a_seconds histogram\n\
             a_seconds_bucket{le=\"+Inf\"} 0\na_seconds_count 0\n",
        );
        assert_eq!(
            table,
            "| name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n\
             | `a_seconds` | histogram | seconds |  | Time |\n\
             | `b_total` | counter |  | `x`: `1`, `2`; `y`: `a` | Things \\| more |\n"
        );
    }

    #[test]
    fn many_values_are_left_out() {
        let series: String = (0..9).map(|n| format!("a{{x=\"{n}\"}} 0\n")).collect();
        let table = metrics_table(&format!("# HELP a A.\n# TYPE a gauge\n{series}"));
        assert!(table.ends_with("| `a` | gauge |  | `x` | A |\n"), "{table}");
    }
}

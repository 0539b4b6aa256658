//! The two text formats of metrics, and the choice between them by `Accept`.
//!
//! The encoder writes OpenMetrics. Prometheus's text format (0.0.4) has other family names: a counter's ends
//! in `_total`, and an info is a gauge whose name ends in `_info`. It has neither units nor an end mark.

/// The beginning of an exemplar, which only OpenMetrics has. No label value of this project holds it.
const EXEMPLAR: &str = " # {trace_id=";

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpositionFormat {
    /// Prometheus's text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// Selects the format by the values of `Accept`: OpenMetrics if they name it with at least the weight of
    /// plain text.
    pub(crate) fn preferred_by<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for range in accept.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let mut weight =
                || parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok()).unwrap_or(1.0_f32);
            if name.eq_ignore_ascii_case("application/openmetrics-text") {
                open = weight().max(open);
            } else if name.eq_ignore_ascii_case("text/plain") {
                text = weight().max(text);
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics to Prometheus's text format 0.0.4.
pub(crate) fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // HELP comes before TYPE, and the name in the output depends on the type.
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line.split_once(EXEMPLAR).map_or(line, |(sample, _)| sample));
            text.push('\n');
            continue;
        };
        if let Some(rest) = comment.strip_prefix("HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                text.push_str(&format!("# HELP {name}{ending} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_sent_only_to_clients_that_prefer_it() {
        let format = |accept: &[&'static str]| ExpositionFormat::preferred_by(accept.iter().copied());
        for text in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["text/html, application/json;q=0.9"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.5"],
            &["text/plain;version=0.0.4, application/openmetrics-text;q=0.9"],
        ] {
            assert_eq!(format(text), ExpositionFormat::Text, "{text:?}");
        }
        for open in [
            &["application/openmetrics-text"][..],
            &["application/openmetrics-text; version=1.0.0; charset=utf-8"],
            &["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
            &["text/plain;q=0.5", "Application/OpenMetrics-Text"],
        ] {
            assert_eq!(format(open), ExpositionFormat::OpenMetrics, "{open:?}");
        }
    }

    #[test]
    fn a_family_has_the_name_of_its_samples() {
        let open = "# HELP a_b Sold.\n# TYPE a_b counter\na_b_total{x=\"# TYPE\"} 1 # {trace_id=\"0a\"} 0.5\n\
                    # HELP c C.\n# TYPE c gauge\n# UNIT c seconds\nc 2\n\
                    # HELP d D.\n# TYPE d info\nd_info{v=\"1\"} 1\n# TYPE e unknown\ne 3\n# EOF\n";
        let text = "# HELP a_b_total Sold.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE\"} 1\n\
                    # HELP c C.\n# TYPE c gauge\nc 2\n\
                    # HELP d_info D.\n# TYPE d_info gauge\nd_info{v=\"1\"} 1\n# TYPE e untyped\ne 3\n";
        assert_eq!(to_text(open), text);
    }
}

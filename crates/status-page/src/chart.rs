//! One chart as SVG. All text in it is escaped.

use std::fmt::Write;
use std::time::Duration;

use crate::history::{Curve, SPAN};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 112.0;
/// The area of the curves.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 314.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 92.0;

/// The scale and the labels of the vertical axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Axis {
    /// From 0 to a round number above the highest value, which is at least the given one.
    Number { least: f64, unit: &'static str },
    /// Fixed steps from 0, each with a name. The curve is drawn in steps.
    Steps(&'static [&'static str]),
}

/// One curve with its name in the legend.
pub(crate) struct ChartLine {
    pub(crate) name: String,
    pub(crate) curve: Curve,
}

/// Returns a figure: title, legend with the present values, and the curves.
pub(crate) fn figure(title: &str, axis: Axis, lines: &[ChartLine]) -> String {
    let mut html = String::with_capacity(8 * 1024);
    let _ = write!(html, "<figure><figcaption><h2>{}</h2><ul>", escape(title));
    for (index, line) in lines.iter().enumerate() {
        let _ = write!(
            html,
            "<li><svg class=\"key\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"l{}\" \
             d=\"M0 4H24\"/></svg>{} <b>{}</b></li>",
            index % 4,
            escape(&line.name),
            escape(&present(axis, &line.curve)),
        );
    }
    html.push_str("</ul></figcaption>");
    draw(&mut html, title, axis, lines);
    html.push_str("</figure>");
    html
}

fn draw(html: &mut String, title: &str, axis: Axis, lines: &[ChartLine]) {
    let highest = lines.iter().flat_map(|line| &line.curve).flatten().map(|(_, value)| *value);
    let top = match axis {
        Axis::Number { least, .. } => round_above(highest.fold(least, f64::max)),
        #[expect(clippy::cast_precision_loss, reason = "few steps")]
        Axis::Steps(names) => (names.len() - 1) as f64,
    };
    let y = |value: f64| BOTTOM - (value / top).clamp(0.0, 1.0) * (BOTTOM - TOP);
    let _ = write!(
        html,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{}: the last 15 minutes\">",
        escape(title)
    );
    for (value, label) in ticks(axis, top) {
        let at = y(value);
        let _ = write!(
            html,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            at + 3.5,
            escape(&label)
        );
    }
    for (minutes, anchor) in [(15_u32, "start"), (10, "middle"), (5, "middle"), (0, "end")] {
        let label = if minutes == 0 { "now".to_owned() } else { format!("−{minutes} min") };
        let _ = write!(
            html,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
            x(Duration::from_secs(u64::from(minutes) * 60)),
            HEIGHT - 4.0,
        );
    }
    let in_steps = matches!(axis, Axis::Steps(_));
    for (index, line) in lines.iter().enumerate() {
        let _ = write!(html, "<path class=\"l{}\" d=\"{}\"/>", index % 4, path(&line.curve, y, in_steps));
    }
    html.push_str("</svg>");
}

fn x(age: Duration) -> f64 {
    RIGHT - age.as_secs_f64() / SPAN.as_secs_f64() * (RIGHT - LEFT)
}

/// Returns the commands of a path. A gap starts a new piece, and a single value is a dot.
fn path(curve: &Curve, y: impl Fn(f64) -> f64, in_steps: bool) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for point in curve {
        let Some((age, value)) = *point else {
            drawing = false;
            continue;
        };
        let (x, y) = (x(age), y(value));
        let _ = match (drawing, in_steps) {
            (true, true) => write!(path, "H{x:.1}V{y:.1}"),
            (true, false) => write!(path, "L{x:.1} {y:.1}"),
            (false, _) => write!(path, "M{x:.1} {y:.1}h.1"),
        };
        drawing = true;
    }
    path
}

fn ticks(axis: Axis, top: f64) -> Vec<(f64, String)> {
    match axis {
        Axis::Number { unit, .. } => {
            [0.0, top / 2.0, top].into_iter().map(|value| (value, number(value, unit))).collect()
        }
        Axis::Steps(names) => {
            (0_u32..).zip(names).map(|(n, name)| (f64::from(n), (*name).to_owned())).collect()
        }
    }
}

/// Returns the last value as text.
fn present(axis: Axis, curve: &Curve) -> String {
    let Some((_, value)) = curve.last().copied().flatten() else { return "no data".to_owned() };
    match axis {
        Axis::Number { unit: "/s", .. } => format!("{value:.1}/s"),
        Axis::Number { unit, .. } => number(value, unit),
        Axis::Steps(names) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
            let name = names.get(value.max(0.0) as usize);
            (*name.unwrap_or(&"unknown")).to_owned()
        }
    }
}

/// Returns a number with up to three digits, and its unit.
fn number(value: f64, unit: &str) -> String {
    let digits = if value >= 100.0 || value == value.trunc() { 0 } else { usize::from(value < 10.0) + 1 };
    let text =
        if value >= 10_000.0 { format!("{:.0}k", value / 1_000.0) } else { format!("{value:.digits$}") };
    format!("{text}{unit}")
}

/// Returns the lowest of 1, 2, 4, 5 and 10 times a power of ten that is not below the value.
fn round_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(power * 10.0)
}

/// Escapes text for HTML, also within an attribute in double quotes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_ago(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_curve_starts_anew_after_a_gap() {
        let curve = vec![
            Some((seconds_ago(900), 0.0)),
            Some((seconds_ago(450), 2.0)),
            None,
            Some((seconds_ago(0), 4.0)),
        ];
        let y = |value: f64| BOTTOM - value;
        assert_eq!(path(&curve, y, false), "M64.0 92.0h.1L189.0 90.0M314.0 88.0h.1");
        assert_eq!(path(&curve, y, true), "M64.0 92.0h.1H189.0V90.0M314.0 88.0h.1");
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (value, top) in [(1.0, 1.0), (1.1, 2.0), (3.0, 4.0), (4.5, 5.0), (51.0, 100.0), (0.03, 0.04)] {
            assert!((round_above(value) - top).abs() < 1e-9, "{value}: {}", round_above(value));
        }
    }

    #[test]
    fn the_legend_has_the_present_value_and_text_is_escaped() {
        let line = |name: &str, value| ChartLine { name: name.to_owned(), curve: vec![value] };
        let html = figure(
            "a<b>\"",
            Axis::Steps(&["closed", "half-open", "open"]),
            &[line("<x>", Some((seconds_ago(0), 2.0))), line("y", None)],
        );
        assert!(html.contains("&lt;x&gt; <b>open</b>"), "{html}");
        assert!(html.contains("y <b>no data</b>"), "{html}");
        assert!(html.contains("a&lt;b&gt;&quot;") && !html.contains("<x>"), "{html}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.25"), (3.5, "3.50"), (35.5, "35.5"), (350.4, "350"), (35_000.0, "35k")]
        {
            assert_eq!(number(value, ""), text);
        }
    }
}

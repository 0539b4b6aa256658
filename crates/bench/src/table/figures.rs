//! The figures of a table, their baselines and bars, and their format.
//!
//! A figure and its baseline are series with one number per round. The ratio is the median of the ratios of
//! the rounds, because a disturbance of a round affects both. A bar is met, missed, or unknown if the system
//! does not provide the figure.

use std::fmt::Write as _;

/// The unit of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    PerSecond,
    Seconds,
    Millis,
    Nanos,
    /// Millions of bytes.
    Megabytes,
    Bytes,
    Count,
}

impl Unit {
    fn show(self, number: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", grouped(number)),
            Self::Seconds => format!("{number:.2} s"),
            Self::Millis => format!("{number:.2} ms"),
            Self::Nanos => format!("{number:.1} ns"),
            Self::Megabytes => format!("{number:.1} MB"),
            Self::Bytes => format!("{number:.1} B"),
            Self::Count => grouped(number),
        }
    }
}

/// The requirement of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    RatioAtLeast(f64),
    RatioAtMost(f64),
}

/// One number per round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    unit: Unit,
    rounds: Vec<f64>,
}

impl Series {
    pub(super) fn new(unit: Unit, rounds: Vec<f64>) -> Self {
        Self { unit, rounds }
    }

    fn show(&self) -> String {
        let Some(middle) = median(&self.rounds) else { return "unknown".to_owned() };
        let mut text = self.unit.show(middle);
        let (low, high) =
            self.rounds.iter().fold((middle, middle), |(low, high), n| (low.min(*n), high.max(*n)));
        let (low, high) = (self.unit.show(low), self.unit.show(high));
        if low != high {
            let _ = write!(text, " ({low} … {high})");
        }
        text
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    name: String,
    value: Series,
    baseline: Option<(&'static str, Series)>,
    bar: Option<Bar>,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, unit: Unit, rounds: Vec<f64>) -> Self {
        Self { name: name.into(), value: Series::new(unit, rounds), baseline: None, bar: None }
    }

    /// Sets the baseline, measured in the same rounds.
    pub(super) fn beside(mut self, name: &'static str, unit: Unit, rounds: Vec<f64>) -> Self {
        self.baseline = Some((name, Series::new(unit, rounds)));
        self
    }

    pub(super) fn bar(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    /// Returns the median of the rounds' ratios to the baseline.
    fn ratio(&self) -> Option<f64> {
        let (_, baseline) = self.baseline.as_ref()?;
        let pairs = self.value.rounds.iter().zip(&baseline.rounds);
        median(&pairs.filter(|(_, by)| **by > 0.0).map(|(value, by)| value / by).collect::<Vec<_>>())
    }

    /// Returns whether the bar is met, or `None` without a bar or a figure.
    fn met(&self) -> Option<bool> {
        let value = median(&self.value.rounds);
        Some(match self.bar? {
            Bar::AtLeast(bar) => value? >= bar,
            Bar::AtMost(bar) => value? <= bar,
            Bar::Below(bar) => value? < bar,
            Bar::RatioAtLeast(bar) => self.ratio()? >= bar,
            Bar::RatioAtMost(bar) => self.ratio()? <= bar,
        })
    }

    fn show_bar(&self) -> String {
        let unit = self.value.unit;
        match self.bar {
            None => "–".to_owned(),
            Some(Bar::AtLeast(bar)) => format!("≥ {}", unit.show(bar)),
            Some(Bar::AtMost(bar)) => format!("≤ {}", unit.show(bar)),
            Some(Bar::Below(bar)) => format!("< {}", unit.show(bar)),
            Some(Bar::RatioAtLeast(bar)) => format!("ratio ≥ {bar:.2}"),
            Some(Bar::RatioAtMost(bar)) => format!("ratio ≤ {bar:.2}"),
        }
    }

    /// Returns why the bar was missed, if it was.
    pub(super) fn missed(&self) -> Option<String> {
        (self.met() == Some(false)).then(|| {
            let ratio = self.ratio().map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default();
            format!("{}: {}{ratio}, where the bar is {}", self.name, self.value.show(), self.show_bar())
        })
    }
}

/// Formats the rows as a Markdown table.
pub(super) fn markdown(figures: &[Figure]) -> String {
    let mut text = String::from(
        "| figure | value | baseline | ratio | bar | met |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for figure in figures {
        let baseline = figure
            .baseline
            .as_ref()
            .map_or_else(|| "–".to_owned(), |(name, series)| format!("{name}: {}", series.show()));
        let ratio = figure.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let met = match figure.met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let (name, value, bar) = (&figure.name, figure.value.show(), figure.show_bar());
        let _ = writeln!(text, "| {name} | {value} | {baseline} | {ratio} | {bar} | {met} |");
    }
    text
}

/// Returns the median.
fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// Formats a rounded number in groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::from(if number <= -0.5 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rounds: &[f64], baseline: &[f64], bar: Bar) -> Figure {
        Figure::new("scan", Unit::PerSecond, rounds.to_vec())
            .beside("floor", Unit::PerSecond, baseline.to_vec())
            .bar(bar)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_own() {
        // The second round was disturbed as a whole, so its ratio equals the others'.
        let figure =
            figure(&[24_000.0, 6_000.0, 25_000.0], &[48_000.0, 12_000.0, 50_000.0], Bar::RatioAtLeast(0.5));
        assert_eq!(figure.ratio(), Some(0.5));
        assert_eq!(figure.met(), Some(true));
        assert_eq!(figure.missed(), None);
    }

    #[test]
    fn every_kind_of_bar_is_met_and_missed_on_its_own_side() {
        for (bar, met) in [
            (Bar::AtLeast(10.0), true),
            (Bar::AtLeast(10.1), false),
            (Bar::AtMost(10.0), true),
            (Bar::AtMost(9.9), false),
            (Bar::Below(10.1), true),
            (Bar::Below(10.0), false),
            (Bar::RatioAtLeast(0.5), true),
            (Bar::RatioAtLeast(0.6), false),
            (Bar::RatioAtMost(0.5), true),
            (Bar::RatioAtMost(0.4), false),
        ] {
            let figure = figure(&[10.0], &[20.0], bar);
            assert_eq!(figure.met(), Some(met), "{bar:?}");
            assert_eq!(figure.missed().is_some(), !met, "{bar:?}");
        }
    }

    #[test]
    fn what_could_not_be_measured_is_neither_met_nor_missed() {
        let unknown = Figure::new("RSS", Unit::Megabytes, Vec::new()).bar(Bar::Below(64.0));
        assert_eq!((unknown.met(), unknown.missed()), (None, None));
        assert!(markdown(&[unknown]).contains("| RSS | unknown | – | – | < 64.0 MB | – |"));
    }

    #[test]
    fn a_row_reads_as_it_should() {
        let shown =
            markdown(&[figure(&[21_000.4, 20_500.0, 1_234_567.0], &[50_000.0; 3], Bar::RatioAtLeast(0.5))]);
        let row =
            "| scan | 21,000/s (20,500/s … 1,234,567/s) | floor: 50,000/s | 0.42 | ratio ≥ 0.50 | **no** |";
        assert!(shown.contains(row), "{shown}");
    }

    #[test]
    fn numbers_are_grouped_and_medians_are_in_the_middle() {
        for (number, text) in
            [(0.0, "0"), (-0.2, "0"), (999.6, "1,000"), (-12_345.0, "-12,345"), (100.0, "100")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}

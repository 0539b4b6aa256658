//! The samples of the last 15 minutes, and the curves that follow from them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sample::{Pool, Sample};

/// How often to record a sample.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// The time that the page shows.
pub const SPAN: Duration = Duration::from_secs(15 * 60);
/// The bound on the samples: those of [`SPAN`], and one before it.
const MOST_SAMPLES: usize = 181;
/// Two samples that are further apart have a gap between them: the process was not running.
const MOST_APART: Duration = Duration::from_secs(15);

/// The samples of the last 15 minutes.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

/// A curve: how long ago each value was, and the value. `None` is a gap.
pub(crate) type Curve = Vec<Option<(Duration, f64)>>;

impl History {
    /// Creates an empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records what `/metrics` says at `now`, a monotonic time. Forgets what is older than [`SPAN`].
    pub fn record(&mut self, now: Duration, exposition: &str) {
        self.samples.push_back(Sample::read(now, exposition));
        let old = |samples: &VecDeque<Sample>| {
            samples.len() > MOST_SAMPLES
                || samples.get(1).is_some_and(|next| now.saturating_sub(next.at) > SPAN)
        };
        while old(&self.samples) {
            self.samples.pop_front();
        }
    }

    /// Returns the same history with what `/metrics` says at `now` as the last sample.
    #[must_use]
    pub fn with(&self, now: Duration, exposition: &str) -> Self {
        let mut samples = self.samples.clone();
        samples.push_back(Sample::read(now, exposition));
        Self { samples }
    }

    pub(crate) fn latest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Returns a value of each sample.
    pub(crate) fn values(&self, now: Duration, value: impl Fn(&Sample) -> Option<f64>) -> Curve {
        let mut curve = Curve::new();
        let mut before: Option<Duration> = None;
        for sample in &self.samples {
            if before.is_some_and(|before| sample.at.saturating_sub(before) > MOST_APART) {
                curve.push(None);
            }
            before = Some(sample.at);
            let age = now.saturating_sub(sample.at);
            curve.push(value(sample).filter(|_| age <= SPAN).map(|value| (age, value)));
        }
        curve
    }

    /// Returns the value of one pool in each sample.
    pub(crate) fn pool_values(&self, now: Duration, name: &str, value: impl Fn(&Pool) -> f64) -> Curve {
        self.values(now, |sample| sample.pools.iter().find(|pool| pool.name == name).map(&value))
    }

    /// Returns a value of each two samples in succession.
    pub(crate) fn differences(
        &self,
        now: Duration,
        value: impl Fn(&Sample, &Sample) -> Option<f64>,
    ) -> Curve {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs
            .map(|(before, sample)| {
                let apart = sample.at.saturating_sub(before.at);
                let age = now.saturating_sub(sample.at);
                let value = value(before, sample).filter(|_| apart <= MOST_APART && age <= SPAN);
                value.map(|value| (age, value))
            })
            .collect()
    }

    /// Returns the growth of a counter per second.
    pub(crate) fn rate(&self, now: Duration, counter: impl Fn(&Sample) -> f64) -> Curve {
        self.differences(now, |before, sample| {
            let apart = sample.at.saturating_sub(before.at).as_secs_f64();
            (apart > 0.0).then(|| (counter(sample) - counter(before)).max(0.0) / apart)
        })
    }

    /// Returns a quantile of the latency in seconds. Without requests there is none.
    pub(crate) fn quantile(&self, now: Duration, quantile: f64) -> Curve {
        self.differences(now, |before, sample| quantile_between(before, sample, quantile))
    }
}

/// Returns the quantile of the requests between two samples, by linear interpolation in its bucket, as
/// Prometheus does. In the last bucket it is that bucket's lower bound.
fn quantile_between(before: &Sample, sample: &Sample, quantile: f64) -> Option<f64> {
    let count_before = |index: usize| before.buckets.get(index).map_or(0.0, |(_, count)| *count);
    let counts: Vec<_> = sample
        .buckets
        .iter()
        .enumerate()
        .map(|(index, (bound, count))| (*bound, (count - count_before(index)).max(0.0)))
        .collect();
    let (_, total) = *counts.last()?;
    if total <= 0.0 {
        return None;
    }
    let rank = quantile * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in counts {
        if count >= rank {
            let within = if count > below { (rank - below) / (count - below) } else { 1.0 };
            return Some(if bound.is_finite() { lower + (bound - lower) * within } else { lower });
        }
        (lower, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn requests(count: u32) -> String {
        format!("voketag_http_requests_total{{route=\"/v1/scan\",status=\"200\"}} {count}\n")
    }

    #[test]
    fn a_rate_is_the_growth_by_second_and_a_pause_is_a_gap() {
        let mut history = History::new();
        for (seconds, count) in [(0, 100), (5, 150), (10, 150), (70, 1_000), (75, 1_010)] {
            history.record(at(seconds), &requests(count));
        }
        let rate = history.rate(at(75), |sample| sample.requests);
        assert_eq!(
            rate,
            [Some((at(70), 10.0)), Some((at(65), 0.0)), None, Some((at(0), 2.0))],
            "nothing is known of the minute between"
        );
        let values = history.values(at(75), |sample| Some(sample.requests));
        assert_eq!(values.iter().filter(|value| value.is_none()).count(), 1);
    }

    #[test]
    fn the_history_is_bounded_in_time_and_number() {
        let mut history = History::new();
        for second in 0..5_000 {
            history.record(at(second), &requests(0));
        }
        assert_eq!(history.samples.len(), MOST_SAMPLES);
        for minute in 0..60 {
            history.record(at(5_000 + minute * 60), &requests(0));
        }
        assert_eq!(history.samples.len(), 17, "16 within the span, and one before");
    }

    #[test]
    fn without_requests_there_is_no_quantile() {
        let mut history = History::new();
        history.record(at(0), "");
        history.record(at(5), "");
        assert_eq!(history.quantile(at(5), 0.5), [None]);
    }

    fn with_buckets(seconds: u64, latencies: &[f64], bounds: &[f64]) -> Sample {
        #[expect(clippy::cast_precision_loss, reason = "few latencies")]
        let count = |bound: f64| latencies.iter().filter(|latency| **latency <= bound).count() as f64;
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Sample {
            at: at(seconds),
            buckets: bounds.map(|bound| (bound, count(bound))).collect(),
            ..Sample::default()
        }
    }

    proptest! {
        /// A quantile from buckets lies in the bucket of the exact one.
        #[test]
        fn a_quantile_lies_in_the_bucket_of_the_exact_one(
            earlier in prop::collection::vec(0.0..12.0_f64, 0..50),
            later in prop::collection::vec(0.0..12.0_f64, 1..200),
            percent in 1_u32..100,
        ) {
            let bounds = [0.5, 1.0, 2.0, 5.0, 10.0];
            let quantile = f64::from(percent) / 100.0;
            let all: Vec<_> = earlier.iter().chain(&later).copied().collect();
            let shown = quantile_between(
                &with_buckets(0, &earlier, &bounds), &with_buckets(5, &all, &bounds), quantile,
            ).unwrap();
            let mut sorted = later;
            sorted.sort_by(f64::total_cmp);
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "few latencies")]
            let exact = sorted[((quantile * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
            let upper = bounds.iter().copied().find(|bound| exact <= *bound).unwrap_or(10.0);
            let lower = bounds.iter().copied().rfind(|bound| *bound < exact).unwrap_or(0.0);
            prop_assert!(lower - 1e-9 <= shown && shown <= upper + 1e-9, "{lower} {shown} {upper}");
        }
    }
}

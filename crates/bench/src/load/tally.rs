//! The results of a load run: responses by status, and latencies.
//!
//! Latencies are counted in buckets whose width is below one per cent of the latency, so that counting takes
//! a few nanoseconds and no allocation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::ResponseHead;

/// Buckets per doubling, as a power of two.
const PRECISION: u32 = 7;
const PER_DOUBLING: usize = 1 << PRECISION;
const BUCKETS: usize = (64 - PRECISION as usize + 1) * PER_DOUBLING;

/// The counts during a run.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    by_status: Vec<u64>,
    buckets: Vec<u64>,
    longest: u64,
    missing_retry_after: u64,
    errors: u64,
    first_error: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            by_status: vec![0; 600],
            buckets: vec![0; BUCKETS],
            longest: 0,
            missing_retry_after: 0,
            errors: 0,
            first_error: None,
        }
    }
}

impl Tally {
    /// Counts a response.
    pub(crate) fn answered(&mut self, head: &ResponseHead, took: Duration) {
        self.by_status[usize::from(head.status)] += 1;
        if matches!(head.status, 429 | 503) && !head.has_retry_after {
            self.missing_retry_after += 1;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)] += 1;
        self.longest = self.longest.max(nanos);
    }

    /// Counts a request without a response.
    pub(crate) fn failed(&mut self, why: &dyn std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.by_status.iter_mut().zip(&other.by_status) {
            *mine += theirs;
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.longest = self.longest.max(other.longest);
        self.missing_retry_after += other.missing_retry_after;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
    }

    /// Returns the figures of a run that took `elapsed`.
    pub(crate) fn report(&self, elapsed: Duration) -> LoadReport {
        let statuses: BTreeMap<u16, u64> = (0..)
            .zip(&self.by_status)
            .filter(|(_, count)| **count > 0)
            .map(|(code, count)| (code, *count))
            .collect();
        let requests = statuses.values().sum();
        LoadReport {
            requests,
            statuses,
            rps: requests as f64 / elapsed.as_secs_f64().max(1e-9),
            p50_ms: self.percentile(500),
            p90_ms: self.percentile(900),
            p99_ms: self.percentile(990),
            max_ms: self.longest as f64 / 1e6,
            missing_retry_after: self.missing_retry_after,
            errors: self.errors,
            first_error: self.first_error.clone(),
        }
    }

    /// Returns the time in milliseconds within which `permille` thousandths of the responses arrived.
    fn percentile(&self, permille: u64) -> f64 {
        let total: u64 = self.buckets.iter().sum();
        let rank = (total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top_of(bucket).min(self.longest) as f64 / 1e6;
            }
        }
        0.0
    }
}

fn bucket_of(nanos: u64) -> usize {
    let doublings = (64 - nanos.leading_zeros()).saturating_sub(PRECISION + 1);
    let within = usize::try_from(nanos >> doublings).unwrap_or(usize::MAX);
    (doublings as usize * PER_DOUBLING + within).min(BUCKETS - 1)
}

/// Returns the largest number of nanoseconds in a bucket.
fn top_of(bucket: usize) -> u64 {
    let doublings = (bucket / PER_DOUBLING).saturating_sub(1);
    let within = (bucket - doublings * PER_DOUBLING) as u64;
    ((within + 1) << doublings).wrapping_sub(1)
}

/// The figures of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadReport {
    /// Responses.
    pub(crate) requests: u64,
    /// Responses by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Responses per second.
    pub(crate) rps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Responses with 429 or 503 without a `Retry-After`.
    pub(crate) missing_retry_after: u64,
    /// Requests whose connection failed, or that got no response in time.
    pub(crate) errors: u64,
    /// The error of the first of them.
    pub(crate) first_error: Option<String>,
}

impl LoadReport {
    /// Returns the number of responses with that status.
    pub(crate) fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn to_json(&self) -> Value {
        let statuses: BTreeMap<String, u64> =
            self.statuses.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        json!({
            "requests": self.requests,
            "statuses": statuses,
            "rps": self.rps.round(),
            "p50_ms": thousandths(self.p50_ms),
            "p90_ms": thousandths(self.p90_ms),
            "p99_ms": thousandths(self.p99_ms),
            "max_ms": thousandths(self.max_ms),
            "missing_retry_after": self.missing_retry_after,
            "errors": self.errors,
            "first_error": self.first_error,
        })
    }
}

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "requests             {}", self.requests)?;
        for (code, count) in &self.statuses {
            writeln!(f, "  status {code}         {count}")?;
        }
        writeln!(f, "requests/s           {:.0}", self.rps)?;
        let (p50, p90, p99, max) = (self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms);
        writeln!(f, "p50 p90 p99 max (ms) {p50:.3} {p90:.3} {p99:.3} {max:.3}")?;
        writeln!(f, "without Retry-After  {}", self.missing_retry_after)?;
        write!(f, "errors               {}", self.errors)?;
        if let Some(error) = &self.first_error {
            write!(f, " (first: {error})")?;
        }
        Ok(())
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_narrow_and_holds_what_falls_into_it() {
        let mut previous = 0;
        for nanos in
            (0..300).chain((9..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]))
        {
            let bucket = bucket_of(nanos);
            assert!(bucket >= previous, "{nanos}");
            previous = bucket;
            let top = top_of(bucket);
            assert!(
                top >= nanos && (top - nanos) as f64 <= nanos as f64 / 100.0,
                "{nanos} in {bucket} up to {top}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let mut tally = Tally::default();
        let head = ResponseHead::of_status(200, true);
        for micros in 1..=1_000 {
            tally.answered(&head, Duration::from_micros(micros));
        }
        let report = tally.report(Duration::from_secs(2));
        for (got, expected) in [(report.p50_ms, 0.5), (report.p90_ms, 0.9), (report.p99_ms, 0.99)] {
            assert!((got - expected).abs() <= expected / 100.0, "{got} for {expected}");
        }
        assert_eq!((report.max_ms, report.rps, report.requests), (1.0, 500.0, 1_000));
    }

    #[test]
    fn refusals_without_retry_after_are_counted() {
        let mut tally = Tally::default();
        for (status, has) in [(429, true), (429, false), (503, false), (404, false), (500, false)] {
            tally.answered(&ResponseHead::of_status(status, has), Duration::from_millis(1));
        }
        let mut all = Tally::default();
        all.failed(&"cut");
        all.merge(&tally);
        let json = all.report(Duration::from_secs(1)).to_json();
        assert_eq!(json["missing_retry_after"], 2);
        assert_eq!(json["statuses"], json!({"404": 1, "429": 2, "500": 1, "503": 1}));
        assert_eq!((&json["errors"], &json["first_error"]), (&json!(1), &json!("cut")));
    }

    #[test]
    fn a_run_without_answers_has_figures_too() {
        let report = Tally::default().report(Duration::ZERO);
        assert_eq!((report.requests, report.p99_ms, report.max_ms), (0, 0.0, 0.0));
    }
}

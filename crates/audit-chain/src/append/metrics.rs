//! The metrics of appends: `audit_appends_total{result}`, `audit_append_duration_seconds`,
//! `audit_head_conflicts_total`, `audit_appends_waiting` and `audit_append_group_size`.
//!
//! All counters are looked up once, so that an append costs one increment.

use crate::append::appended::Appended;
use crate::error::AppendError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of `audit_append_duration_seconds`, in seconds; the last is the appender's usual deadline.
const BUCKETS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.0];

/// Upper bounds of `audit_append_group_size`, in entries; the last is the most that one script call takes.
const GROUP_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Values of the label `result`, in the order of [`index_of`].
const RESULTS: [&str; 11] = [
    "ok",
    "duplicate",
    "precondition",
    "id_reused",
    "too_large",
    "contention",
    "state_lost",
    "overloaded",
    "unavailable",
    "internal",
    "end_fault",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// The metrics of a process's appends.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    family: Family<ResultLabel, Counter>,
    appends: [Counter; RESULTS.len()],
    duration: Histogram,
    conflicts: Counter,
    waiting: Gauge,
    group_size: Histogram,
}

/// An event that waits for an answer. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct WaitingAppend(Gauge);

impl Drop for WaitingAppend {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for AuditMetrics {
    fn default() -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        let appends = RESULTS.map(|result| family.get_or_create_owned(&ResultLabel { result }));
        Self {
            family,
            appends,
            duration: Histogram::new(BUCKETS),
            conflicts: Counter::default(),
            waiting: Gauge::default(),
            group_size: Histogram::new(GROUP_BUCKETS),
        }
    }
}

impl AuditMetrics {
    /// Registers the metrics under the registry's prefix.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("audit_appends", "Audit appends by result", metrics.family.clone());
        registry.register(
            "audit_append_duration_seconds",
            "Time from the call of an append to its answer, in seconds",
            metrics.duration.clone(),
        );
        registry.register(
            "audit_head_conflicts",
            "Script calls that found a head moved by another appender",
            metrics.conflicts.clone(),
        );
        registry.register(
            "audit_appends_waiting",
            "Audit appends that are not answered yet",
            metrics.waiting.clone(),
        );
        registry.register(
            "audit_append_group_size",
            "Entries in each script call that appends",
            metrics.group_size.clone(),
        );
        metrics
    }

    /// Counts one append.
    pub(crate) fn count(&self, result: &Result<Appended, AppendError>) {
        self.appends[index_of(result)].inc();
    }

    /// Observes the duration of one append.
    pub(crate) fn took(&self, seconds: f64) {
        self.duration.observe(seconds);
    }

    /// Counts one event as waiting until the returned value is dropped.
    pub(crate) fn wait(&self) -> WaitingAppend {
        self.waiting.inc();
        WaitingAppend(self.waiting.clone())
    }

    /// Observes the number of entries of one script call.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn group(&self, entries: usize) {
        self.group_size.observe(entries as f64);
    }

    /// Counts one script call that found another head.
    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }
}

fn index_of(result: &Result<Appended, AppendError>) -> usize {
    match result {
        Ok(Appended { duplicate: false, .. }) => 0,
        Ok(Appended { duplicate: true, .. }) => 1,
        Err(AppendError::Precondition { .. }) => 2,
        Err(AppendError::IdReused { .. }) => 3,
        Err(AppendError::TooLarge) => 4,
        Err(AppendError::Contention) => 5,
        Err(AppendError::StateLost(_)) => 6,
        Err(AppendError::Overloaded { .. }) => 7,
        Err(AppendError::Unavailable { .. }) => 8,
        Err(AppendError::Internal(_)) => 9,
        Err(AppendError::EndFault(_)) => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::hash::Hash;

    #[test]
    fn metrics_are_exposed_under_their_public_names() {
        let mut registry = Registry::with_prefix("voketag");
        let metrics = AuditMetrics::register(&mut registry);
        metrics.count(&Ok(Appended { seq: 0, hash: Hash::from_bytes([0; 32]), duplicate: true }));
        metrics.count(&Err(AppendError::Contention));
        metrics.took(0.003);
        metrics.conflict();
        metrics.group(3);
        let answered = metrics.wait();
        let waiting = metrics.wait();
        drop(answered);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "voketag_audit_appends_total{result=\"duplicate\"} 1",
            "voketag_audit_appends_total{result=\"contention\"} 1",
            "voketag_audit_appends_total{result=\"ok\"} 0",
            "voketag_audit_append_duration_seconds_count 1",
            "voketag_audit_head_conflicts_total 1",
            "voketag_audit_appends_waiting 1",
            "voketag_audit_append_group_size_bucket{le=\"2.0\"} 0",
            "voketag_audit_append_group_size_bucket{le=\"4.0\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop(waiting);
        assert_eq!(metrics.waiting.get(), 0);
    }
}

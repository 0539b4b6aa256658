//! `scans_total{outcome,counted}`: the outcomes of scans, and whether they counted as scans of their tag.
//! `scan_verdicts_total{verdict,risk,counted}`: the verdicts alone, by their risk. `reports_total{result}`.
//! `scan_call_size`: how many scans share a call to Redis.

use catalog::Lifecycle;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::admission::KeyRejection;
use crate::domain::report::{ReportRejection, Taken};
use crate::domain::risk::RiskLevel;
use crate::domain::scan::{Rejection, Scanned};
use crate::domain::verdict::Verdict;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
    counted: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
    risk: &'static str,
    counted: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// The values of `verdict`, at the indices that [`verdict_index`] returns.
const VERDICTS: [&str; 5] = ["active", "revoked", "recalled", "key_revoked", "expired"];

/// The values of `risk`, at the indices that [`risk_index`] returns.
const RISKS: [&str; 3] = ["low", "medium", "high"];

/// The values of `result`, at the indices that [`report_index`] returns.
const REPORTS: [&str; 13] = [
    "received",
    "unproven",
    "unproven_key_leak",
    "forged",
    "not_minted",
    "rate_limited",
    "daily_limit",
    "unauthenticated",
    "forbidden",
    "overloaded",
    "unavailable",
    "state_lost",
    "error",
];

/// The values of `outcome`, at the indices that [`index_of`] returns.
const OUTCOMES: [&str; 15] = [
    "active",
    "revoked",
    "recalled",
    "expired",
    "invalid_id",
    "forged",
    "not_minted",
    "rate_limited",
    "overloaded",
    "unavailable",
    "state_lost",
    "error",
    "unauthenticated",
    "forbidden",
    "key_revoked",
];
const INVALID_ID: usize = 4;

/// The counters of scans. Each is looked up only once, at the start.
#[derive(Debug, Clone)]
pub(crate) struct ScanMetrics {
    /// Requests that did not count as scans: those of machines, and those without a verdict.
    uncounted: [Counter; OUTCOMES.len()],
    counted: [Counter; OUTCOMES.len()],
    /// By verdict, by risk, and by whether the scan counted.
    verdicts: [[[Counter; 2]; RISKS.len()]; VERDICTS.len()],
    reports: [Counter; REPORTS.len()],
    call_sizes: Histogram,
}

/// Upper bounds of `scan_call_size`, in scans; the last is the most that one call takes.
const CALL_BUCKETS: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

impl ScanMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let family = Family::<OutcomeLabel, Counter>::default();
        let of =
            |counted| OUTCOMES.map(|outcome| family.get_or_create_owned(&OutcomeLabel { outcome, counted }));
        let (uncounted, counted) = (of("false"), of("true"));
        registry.register(
            "scans",
            "Scans by outcome, and whether they increased their tag's count; not_minted is a key-leak alarm",
            family,
        );
        let family = Family::<VerdictLabel, Counter>::default();
        let verdicts = VERDICTS.map(|verdict| {
            RISKS.map(|risk| {
                ["false", "true"]
                    .map(|counted| family.get_or_create_owned(&VerdictLabel { verdict, risk, counted }))
            })
        });
        let help =
            "Scans with a verdict, by verdict, risk level and whether they increased their tag's count";
        registry.register("scan_verdicts", help, family);
        let family = Family::<ResultLabel, Counter>::default();
        let reports = REPORTS.map(|result| family.get_or_create_owned(&ResultLabel { result }));
        let help =
            "Reports by result: received is in the owner's audit trail, unproven in the operator's list";
        registry.register("reports", help, family);
        let call_sizes = Histogram::new(CALL_BUCKETS);
        let help = "Scans that one call to Redis counts together; 1 where the limiter has a Redis of its own";
        registry.register("scan_call_size", help, call_sizes.clone());
        Self { uncounted, counted, verdicts, reports, call_sizes }
    }

    /// Returns the histogram of how many scans share a call.
    pub(crate) fn call_sizes(&self) -> Histogram {
        self.call_sizes.clone()
    }

    pub(crate) fn count(&self, scanned: &Scanned) {
        let counted = scanned.outcome.as_ref().is_ok_and(|verdict| verdict.counted);
        let counters = if counted { &self.counted } else { &self.uncounted };
        counters[index_of(scanned)].inc();
        if let Ok(verdict) = &scanned.outcome {
            self.verdicts[verdict_index(verdict)][risk_index(verdict.risk.level)][usize::from(counted)].inc();
        }
    }

    pub(crate) fn count_report(&self, taken: Result<Taken, &ReportRejection>) {
        self.reports[report_index(taken)].inc();
    }

    pub(crate) fn count_invalid_id(&self) {
        self.uncounted[INVALID_ID].inc();
    }
}

fn verdict_index(verdict: &Verdict) -> usize {
    match verdict.lifecycle {
        Lifecycle::Active => 0,
        Lifecycle::Revoked => 1,
        Lifecycle::Recalled => 2,
        Lifecycle::KeyRevoked => 3,
        Lifecycle::Expired => 4,
    }
}

fn risk_index(level: RiskLevel) -> usize {
    match level {
        RiskLevel::Low => 0,
        RiskLevel::Medium => 1,
        RiskLevel::High => 2,
    }
}

fn report_index(taken: Result<Taken, &ReportRejection>) -> usize {
    use redis_pool::PoolError;
    match taken {
        Ok(Taken::ByBrand) => 0,
        Ok(Taken::Unproven { key_leak: false }) => 1,
        Ok(Taken::Unproven { key_leak: true }) => 2,
        Err(ReportRejection::Forged) => 3,
        Err(ReportRejection::NotMinted) => 4,
        Err(ReportRejection::Denied { .. }) => 5,
        Err(ReportRejection::DailyLimit { .. }) => 6,
        Err(ReportRejection::Key(KeyRejection::Invalid)) => 7,
        Err(ReportRejection::Key(KeyRejection::Forbidden)) => 8,
        Err(ReportRejection::Redis(PoolError::Overloaded { .. })) => 9,
        Err(ReportRejection::Redis(PoolError::Unavailable { .. })) => 10,
        Err(ReportRejection::RecordLost) => 11,
        Err(ReportRejection::Store(error)) if error.is_state_lost() => 11,
        Err(ReportRejection::Store(_)) => 10,
        Err(ReportRejection::Redis(_)) => 12,
    }
}

fn index_of(scanned: &Scanned) -> usize {
    match &scanned.outcome {
        Ok(verdict) => match verdict.lifecycle {
            Lifecycle::Active => 0,
            Lifecycle::Revoked => 1,
            Lifecycle::Recalled => 2,
            Lifecycle::Expired => 3,
            Lifecycle::KeyRevoked => 14,
        },
        Err(Rejection::Forged) => 5,
        Err(Rejection::NotMinted) => 6,
        Err(Rejection::Denied { .. }) => 7,
        Err(Rejection::Redis(redis_pool::PoolError::Overloaded { .. })) => 8,
        Err(Rejection::Redis(redis_pool::PoolError::Unavailable { .. })) => 9,
        Err(Rejection::StateLost | Rejection::RecordLost) => 10,
        Err(Rejection::Store(error)) if error.is_state_lost() => 10,
        Err(Rejection::Store(_)) => 9,
        Err(Rejection::Redis(_)) => 11,
        Err(Rejection::Key(KeyRejection::Invalid)) => 12,
        Err(Rejection::Key(KeyRejection::Forbidden)) => 13,
    }
}

//! `scans_total{outcome,counted}`: the outcomes of scans, and whether they counted as scans of their tag.

use catalog::Lifecycle;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::admission::KeyRejection;
use crate::domain::scan::{Rejection, Scanned};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
    counted: &'static str,
}

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
}

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
        Self { uncounted, counted }
    }

    pub(crate) fn count(&self, scanned: &Scanned) {
        let counted = scanned.outcome.as_ref().is_ok_and(|verdict| verdict.counted);
        let counters = if counted { &self.counted } else { &self.uncounted };
        counters[index_of(scanned)].inc();
    }

    pub(crate) fn count_invalid_id(&self) {
        self.uncounted[INVALID_ID].inc();
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

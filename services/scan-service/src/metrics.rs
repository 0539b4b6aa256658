//! `scans_total{outcome,counted}`: how scans end, and whether they were counted as scans of their tag.

use catalog::Lifecycle;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::admission::KeyRefusal;
use crate::domain::scan::{Refusal, Scanned};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
    counted: &'static str,
}

/// The values of `outcome`, in the order of [`place_of`].
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

/// Counters of scans, each looked up once.
#[derive(Debug, Clone)]
pub(crate) struct ScanMetrics {
    /// Of looks that were not counted: those of machines, and all that have no verdict.
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
            "Scans by how they ended, and whether their tag's count grew; not_minted is a key-leak alarm",
            family,
        );
        Self { uncounted, counted }
    }

    pub(crate) fn count(&self, scanned: &Scanned) {
        let counted = scanned.outcome.as_ref().is_ok_and(|verdict| verdict.counted);
        let counters = if counted { &self.counted } else { &self.uncounted };
        counters[place_of(scanned)].inc();
    }

    pub(crate) fn count_invalid_id(&self) {
        self.uncounted[INVALID_ID].inc();
    }
}

fn place_of(scanned: &Scanned) -> usize {
    match &scanned.outcome {
        Ok(verdict) => match verdict.lifecycle {
            Lifecycle::Active => 0,
            Lifecycle::Revoked => 1,
            Lifecycle::Recalled => 2,
            Lifecycle::Expired => 3,
            Lifecycle::KeyRevoked => 14,
        },
        Err(Refusal::Forged) => 5,
        Err(Refusal::NotMinted) => 6,
        Err(Refusal::Denied { .. }) => 7,
        Err(Refusal::Redis(redis_pool::PoolError::Overloaded { .. })) => 8,
        Err(Refusal::Redis(redis_pool::PoolError::Unavailable { .. })) => 9,
        Err(Refusal::StateLost | Refusal::RecordLost) => 10,
        Err(Refusal::Store(error)) if error.is_state_lost() => 10,
        Err(Refusal::Store(_)) => 9,
        Err(Refusal::Redis(_)) => 11,
        Err(Refusal::Key(KeyRefusal::Invalid)) => 12,
        Err(Refusal::Key(KeyRefusal::Forbidden)) => 13,
    }
}

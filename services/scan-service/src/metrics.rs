//! `scans_total{outcome}`: how scans end.

use catalog::Lifecycle;
use http_edge::ApiError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::admission::KeyRefusal;
use crate::domain::scan::{Refusal, Scanned};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The values of the label, in the order of [`place_of`].
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
    counters: [Counter; OUTCOMES.len()],
}

impl ScanMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let family = Family::<OutcomeLabel, Counter>::default();
        let counters = OUTCOMES.map(|outcome| family.get_or_create_owned(&OutcomeLabel { outcome }));
        registry.register("scans", "Scans by how they ended; not_minted is a key-leak alarm", family);
        Self { counters }
    }

    pub(crate) fn count(&self, scanned: &Scanned) {
        self.counters[place_of(scanned)].inc();
    }

    pub(crate) fn count_invalid_id(&self) {
        self.counters[INVALID_ID].inc();
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
        Err(Refusal::Redis(redis_pool::Error::Overloaded { .. })) => 8,
        Err(Refusal::Redis(redis_pool::Error::Unavailable { .. })) => 9,
        Err(Refusal::StateLost | Refusal::Store(ApiError::StateLost { .. })) => 10,
        Err(Refusal::Store(_)) => 9,
        Err(Refusal::Redis(_) | Refusal::Record(_)) => 11,
        Err(Refusal::Key(KeyRefusal::Invalid)) => 12,
        Err(Refusal::Key(KeyRefusal::Forbidden)) => 13,
    }
}

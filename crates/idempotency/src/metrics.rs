//! `idempotency_outcomes_total{outcome}`: what became of requests with an idempotency key.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::error::IdempotencyError;
use crate::outcome::{ClaimOutcome, ClaimRejection};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The values of `outcome`, at the indices that [`index_of`] returns.
const OUTCOMES: [&str; 7] =
    ["executed", "replayed", "key_reused", "in_flight", "too_many_records", "state_lost", "error"];

/// The metrics of a process's idempotent requests. The default value is not registered anywhere.
#[derive(Debug, Clone)]
pub struct IdempotencyMetrics {
    family: Family<OutcomeLabel, Counter>,
    outcomes: [Counter; OUTCOMES.len()],
}

impl Default for IdempotencyMetrics {
    fn default() -> Self {
        let family = Family::<OutcomeLabel, Counter>::default();
        let outcomes = OUTCOMES.map(|outcome| family.get_or_create_owned(&OutcomeLabel { outcome }));
        Self { family, outcomes }
    }
}

impl IdempotencyMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Requests with an Idempotency-Key, by what became of them";
        registry.register("idempotency_outcomes", help, metrics.family.clone());
        metrics
    }

    pub(crate) fn count(&self, outcome: &Result<ClaimOutcome, IdempotencyError>) {
        self.outcomes[index_of(outcome)].inc();
    }
}

fn index_of(outcome: &Result<ClaimOutcome, IdempotencyError>) -> usize {
    match outcome {
        Ok(ClaimOutcome::Claimed(_)) => 0,
        Ok(ClaimOutcome::Replay(_)) => 1,
        Ok(ClaimOutcome::Rejected(ClaimRejection::KeyReused)) => 2,
        Ok(ClaimOutcome::Rejected(ClaimRejection::InFlight { .. })) => 3,
        Ok(ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { .. })) => 4,
        Ok(ClaimOutcome::Rejected(ClaimRejection::StateLost)) => 5,
        Err(_) => 6,
    }
}

//! Verifies a chain in this process, to measure the speed and whether memory depends on the chain's length.
//!
//! It verifies the first tenth, then all, and reads the maximum memory of the process after each. The
//! difference is the growth.

use std::hint::black_box;
use std::sync::Arc;

use ambient::{Clock, SystemClock, entropy};
use audit_chain::{AuditLog, VerifyReport, entry_hash, genesis_prev, payload_hash};
use redis_pool::{PoolMetrics, RedisUrl};
use serde_json::{Value, json};

use super::appending::ORIGIN;
use crate::baseline;
use crate::error::BenchError;
use crate::process::memory_of;

/// The bytes of a payload in the baseline, about those of an event.
const PAYLOAD: usize = 360;
const HASHED: u32 = 200_000;

/// Verifies the chain in that Redis, and returns the figures as JSON.
///
/// # Errors
/// Fails if the chain cannot be read, is empty, or is not valid.
pub(super) async fn verify(url: &RedisUrl) -> Result<Value, BenchError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let hashing_per_second = hashing_alone(&*clock);
    let log = AuditLog::new(baseline::pool("verify", url, &clock, &PoolMetrics::default()), ORIGIN);
    let size = log.head().await.map_err(BenchError::unexpected("reading the audit head"))?.size;
    checked(log.verify(0..(size / 10).max(1)).await)?;
    let after_a_tenth = memory_of(None, "VmHWM");
    let began = clock.monotonic();
    let entries = checked(log.verify(0..u64::MAX).await)?;
    let took = clock.monotonic().saturating_sub(began);
    let after_all = memory_of(None, "VmHWM");
    let grown_bytes = after_all.zip(after_a_tenth).map(|(all, tenth)| all.saturating_sub(tenth));
    Ok(json!({
        "entries": entries,
        "per_second": entries as f64 / took.as_secs_f64().max(1e-9),
        "hashing_per_second": hashing_per_second,
        "grown_bytes": grown_bytes,
    }))
}

fn checked(outcome: Result<VerifyReport, audit_chain::ReadError>) -> Result<u64, BenchError> {
    let report = outcome.map_err(BenchError::unexpected("reading the audit chain"))?;
    match report.first_error {
        Some(error) => {
            Err(BenchError::Unexpected(format!("entry {} of the chain: {}", error.seq, error.why)))
        }
        None if report.checked == 0 => Err(BenchError::Unexpected("the audit chain is empty".to_owned())),
        None => Ok(report.checked),
    }
}

/// Returns the entries per second that one thread hashes: the payload, then the entry with the previous hash.
fn hashing_alone(clock: &dyn Clock) -> f64 {
    let payload: Vec<u8> = entropy::random_bytes::<PAYLOAD>().to_vec();
    let began = clock.monotonic();
    let mut prev = genesis_prev(ORIGIN);
    for seq in 0..HASHED {
        prev = entry_hash(seq.into(), &prev, &payload_hash(black_box(&payload)));
    }
    black_box(prev);
    f64::from(HASHED) / clock.monotonic().saturating_sub(began).as_secs_f64().max(1e-9)
}

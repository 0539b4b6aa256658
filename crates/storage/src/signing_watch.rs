//! Watches how far the audit chain is signed: `audit_checkpoint_age_seconds`, `audit_unsigned_entries` and
//! `audit_oldest_unsigned_seconds`.
//!
//! Checkpoints bear no time, so ages are those of entries. Every process watches, so the metrics are there
//! even if no process that signs is up.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, entropy};
use audit_chain::checkpoint::{CheckpointStore, SignedNote};
use audit_chain::{AuditLog, Event, ReadError};
use keyring::{AuditKeys, KeyringRecord, NoteTrust};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::audit_writer::AuditWriter;
use crate::error::StorageError;
use crate::live_keyring::LiveKeyring;

/// Pause between two reads.
const READ_EVERY: Duration = Duration::from_secs(2);

/// The last signed entry and the first unsigned one.
const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// How far the chain is signed. All times are Unix milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SignedExtent {
    /// Entries that the largest trusted checkpoint covers.
    signed: u64,
    /// Entries after them.
    unsigned: u64,
    /// Time of the last signed entry, or of the first entry if none is signed.
    checkpoint_at: Option<u64>,
    /// Time of the first unsigned entry.
    oldest_unsigned_at: Option<u64>,
}

/// The gauges, which a scrape computes from the last read: a read that never returns ages too.
#[derive(Clone, Default)]
pub(crate) struct SigningMetrics(Arc<Mutex<Option<LastRead>>>);

/// The last read, and the clock that says how old its entries are.
struct LastRead {
    clock: Arc<dyn Clock>,
    extent: SignedExtent,
}

impl SigningMetrics {
    fn show(&self, clock: &Arc<dyn Clock>, extent: SignedExtent) {
        *self.0.lock() = Some(LastRead { clock: Arc::clone(clock), extent });
    }
}

impl fmt::Debug for SigningMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningMetrics").finish_non_exhaustive()
    }
}

impl Collector for SigningMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (now, extent) = match &*self.0.lock() {
            Some(LastRead { clock, extent }) => (clock.unix_millis(), *extent),
            None => (0, SignedExtent::default()),
        };
        let age = |at: Option<u64>| Duration::from_millis(at.map_or(0, |at| now.saturating_sub(at)));
        let help = "Age of the last entry that a trusted checkpoint covers, or of the first entry without \
                    one; 0 if the chain is empty or no signing key was ever active";
        let gauge = ConstGauge::new(age(extent.checkpoint_at).as_secs_f64());
        let name = "audit_checkpoint_age_seconds";
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        let help = "Entries that no trusted checkpoint covers; 0 if no signing key was ever active";
        let gauge = ConstGauge::new(i64::try_from(extent.unsigned).unwrap_or(i64::MAX));
        let name = "audit_unsigned_entries";
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        let help = "Age of the first entry that no trusted checkpoint covers; 0 if there is none, or if no \
                    signing key was ever active";
        let gauge = ConstGauge::new(age(extent.oldest_unsigned_at).as_secs_f64());
        let name = "audit_oldest_unsigned_seconds";
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}

/// Reads how far the chain is signed, as long as the process lives.
#[derive(Debug)]
pub(crate) struct SigningWatch {
    audit: Arc<AuditWriter>,
    keyring: Arc<LiveKeyring>,
    origin: String,
    clock: Arc<dyn Clock>,
    metrics: SigningMetrics,
}

impl SigningWatch {
    pub(crate) fn new(
        audit: Arc<AuditWriter>,
        keyring: Arc<LiveKeyring>,
        origin: String,
        clock: Arc<dyn Clock>,
        metrics: SigningMetrics,
    ) -> Self {
        Self { audit, keyring, origin, clock, metrics }
    }

    pub(crate) async fn keep_reading(&self) {
        let mut last = None;
        loop {
            match spans::in_job("read signed extent", self.read(last)).await {
                Ok(extent) => {
                    last = Some(extent);
                    self.metrics.show(&self.clock, extent);
                }
                // The readiness checks and the log report why: the state is lost, or Redis is unavailable.
                Err(error) => tracing::debug!(%error, "cannot read how far the audit chain is signed"),
            }
            tokio::time::sleep(entropy::jittered(READ_EVERY, 200)).await;
        }
    }

    /// Reads the notes and the head, and the times of two entries unless `last` has them.
    async fn read(&self, last: Option<SignedExtent>) -> Result<SignedExtent, StorageError> {
        let log = self.audit.log()?;
        let snapshot = self.keyring.snapshot()?;
        if snapshot.record().audit.iter().all(|key| key.activated_at.is_none()) {
            return Ok(SignedExtent::default());
        }
        let signed = self.signed_entries(log, snapshot.record()).await?;
        // Read after the notes, so that no note covers more entries.
        let size = log.head().await?.size;
        let extent =
            SignedExtent { signed, unsigned: size.saturating_sub(signed), ..SignedExtent::default() };
        match last {
            Some(last) if last.signed == signed && (last.unsigned == 0) == (extent.unsigned == 0) => {
                let SignedExtent { checkpoint_at, oldest_unsigned_at, .. } = last;
                Ok(SignedExtent { checkpoint_at, oldest_unsigned_at, ..extent })
            }
            _ => Ok(with_times(log, extent).await?),
        }
    }

    /// Returns the number of entries that the largest trusted checkpoint covers.
    async fn signed_entries(&self, log: &AuditLog, record: &KeyringRecord) -> Result<u64, ReadError> {
        let keys = AuditKeys::of(record);
        let size_of = |text: &String| {
            let note = SignedNote::parse(text.as_bytes()).ok()?;
            let is_trusted = matches!(keys.judge(&note), NoteTrust::Valid { .. });
            let checkpoint = note.checkpoint().ok().filter(|checkpoint| checkpoint.origin == self.origin)?;
            is_trusted.then_some(checkpoint.size)
        };
        let notes = CheckpointStore::new(log.clone()).notes().await?;
        Ok(notes.values().filter_map(size_of).max().unwrap_or(0))
    }
}

/// Reads the times of the last signed and of the first unsigned entry.
async fn with_times(log: &AuditLog, extent: SignedExtent) -> Result<SignedExtent, ReadError> {
    let page = log.entries(extent.signed.checked_sub(2), TWO).await?;
    let time_of = |seq: u64| {
        let entry = page.events.iter().find(|entry| entry.seq == seq)?;
        Some(Event::parse(entry.event.get().as_bytes()).ok()?.unix_millis())
    };
    Ok(SignedExtent {
        checkpoint_at: time_of(extent.signed.saturating_sub(1)),
        oldest_unsigned_at: time_of(extent.signed),
        ..extent
    })
}

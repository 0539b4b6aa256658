//! A million minted ids, streamed over HTTP as NDJSON, and the memory of the factory meanwhile.

use std::hint::black_box;

use ambient::{Clock, SystemClock};
use tag_id::{Epoch, TagIndex};

use super::figures::{Bar, Figure, Unit};
use super::fleet::{Fleet, FleetBatch};
use crate::error::BenchError;
use crate::process::memory_of;

/// The number in the bar.
const IDS: u32 = 1_000_000;

/// The results of the rounds in seconds, and the maximum memory of the factory in bytes.
#[derive(Default)]
pub(super) struct Minting {
    streamed: Vec<f64>,
    in_process: Vec<f64>,
    most_memory: Option<u64>,
}

impl Minting {
    /// Streams once, and mints the same ids in this process.
    ///
    /// # Errors
    /// Fails if the export is incomplete.
    pub(super) async fn round(&mut self, fleet: &Fleet, batch: &FleetBatch) -> Result<(), BenchError> {
        let clock = SystemClock::new();
        let rows = fleet.stream_export(&batch.id, IDS).await?;
        self.streamed.push(clock.monotonic().as_secs_f64());
        if rows != u64::from(IDS) {
            return Err(BenchError::Unexpected(format!("an export of {IDS} tags had {rows} rows")));
        }
        self.most_memory = memory_of(Some(fleet.factory.process.id()), "VmHWM");
        let clock = SystemClock::new();
        let minter = fleet.tag_keys.minter(Epoch::MIN).map_err(BenchError::unexpected("minting here"))?;
        for index in (0..IDS).filter_map(TagIndex::new) {
            let tag = minter.mint(batch.number, index);
            black_box((tag.to_string(), tag.crockford()));
        }
        self.in_process.push(clock.monotonic().as_secs_f64());
        Ok(())
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let megabytes = self.most_memory.map(|bytes| bytes as f64 / 1e6);
        vec![
            Figure::new("1,000,000 minted ids as NDJSON over HTTP", Unit::Seconds, self.streamed.clone())
                .beside("minting and writing them in process", Unit::Seconds, self.in_process.clone())
                .bar(Bar::Below(4.0)),
            Figure::new("the factory's RSS at its highest", Unit::Megabytes, megabytes.into_iter().collect())
                .bar(Bar::Below(64.0)),
        ]
    }
}

//! The audit figures: appends by few and many writers, with and without fsync, and verification.

use std::time::Duration;

use tempfile::TempDir;
use test_support::RedisServer;

use super::figures::{Bar, Figure, Unit};
use crate::audit::{self, Chain, Fsync, Until, VerifyFigures};
use crate::error::BenchError;

/// Writers, `appendfsync`, and the bar in events per second.
const RUNS: [(usize, Fsync, Option<f64>); 4] = [
    (50, Fsync::No, Some(80_000.0)),
    (1_000, Fsync::No, None),
    (50, Fsync::Always, Some(30_000.0)),
    (1_000, Fsync::Always, None),
];
/// The limit of the memory's growth between a tenth of a chain and all of it.
const FLAT_MB: f64 = 8.0;

/// One kind of run and the results of its rounds.
struct Row {
    writers: usize,
    fsync: Fsync,
    bar: Option<f64>,
    appended: Vec<f64>,
    bare: Vec<f64>,
}

/// The chains and the results of the rounds. A chain is dropped before its Redis.
pub(super) struct Auditing {
    unsynced_chain: Chain,
    synced_chain: Chain,
    unsynced: RedisServer,
    _synced: RedisServer,
    dir: TempDir,
    rows: Vec<Row>,
    lost: u64,
    refused: u64,
    verified: Vec<VerifyFigures>,
}

impl Auditing {
    /// Starts a Redis for each fsync policy.
    ///
    /// # Errors
    /// Fails if their directory cannot be created.
    pub(super) async fn start() -> Result<Self, BenchError> {
        let (unsynced, synced) =
            (audit::durable_redis(Fsync::No).await, audit::durable_redis(Fsync::Always).await);
        let row = |(writers, fsync, bar)| Row { writers, fsync, bar, appended: Vec::new(), bare: Vec::new() };
        Ok(Self {
            unsynced_chain: Chain::open(&audit::url_of(&unsynced)?),
            synced_chain: Chain::open(&audit::url_of(&synced)?),
            unsynced,
            _synced: synced,
            dir: tempfile::tempdir().map_err(BenchError::io("cannot make a directory"))?,
            rows: RUNS.into_iter().map(row).collect(),
            lost: 0,
            refused: 0,
            verified: Vec::new(),
        })
    }

    /// Runs each kind of append and its baseline for `time`.
    ///
    /// # Errors
    /// Fails if a chain cannot be read, or if it is not valid.
    pub(super) async fn round(&mut self, time: Duration) -> Result<(), BenchError> {
        for row in &mut self.rows {
            let chain = match row.fsync {
                Fsync::No => &self.unsynced_chain,
                Fsync::Always => &self.synced_chain,
            };
            let run = chain.append(row.writers, Until::After(time)).await?;
            row.appended.push(run.per_second());
            self.lost += run.lost;
            self.refused += run.refused;
            row.bare.push(chain.push_bare(row.writers, time / 3).await?);
        }
        Ok(())
    }

    /// Extends the chain to at least that length, for verification.
    ///
    /// # Errors
    /// Fails as [`Self::round`] does.
    pub(super) async fn lengthen(&self, entries: u64) -> Result<(), BenchError> {
        let size = self.unsynced_chain.size().await?;
        let missing = entries.saturating_sub(size);
        if missing > 0 {
            self.unsynced_chain.append(1_000, Until::Events(missing)).await?;
        }
        Ok(())
    }

    /// Verifies the chain once, in a separate process.
    ///
    /// # Errors
    /// Fails if it is not valid.
    pub(super) async fn verify(&mut self) -> Result<(), BenchError> {
        self.verified.push(audit::verify_apart(&self.unsynced, &self.dir).await?);
        Ok(())
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut figures: Vec<Figure> = self.rows.iter().map(row_figure).collect();
        figures.push(
            Figure::new(
                "acknowledged events not in the chain, all runs",
                Unit::Count,
                vec![self.lost as f64],
            )
            .bar(Bar::AtMost(0.0)),
        );
        figures.push(Figure::new("events refused, all runs", Unit::Count, vec![self.refused as f64]));
        let of = |read: fn(&VerifyFigures) -> f64| self.verified.iter().map(read).collect::<Vec<f64>>();
        let entries = self.verified.iter().map(|seen| seen.entries).max().unwrap_or_default() / 1_000;
        figures.push(
            Figure::new(
                format!("audit entries verified, of {entries} thousand"),
                Unit::PerSecond,
                of(|seen| seen.per_second),
            )
            .beside("hashing alone, one thread", Unit::PerSecond, of(|seen| seen.hashing_per_second))
            .bar(Bar::AtLeast(400_000.0)),
        );
        let grown =
            self.verified.iter().filter_map(|seen| seen.grown_bytes).map(|bytes| bytes / 1e6).collect();
        figures.push(
            Figure::new("RSS that verifying all takes over verifying a tenth", Unit::Megabytes, grown)
                .bar(Bar::AtMost(FLAT_MB)),
        );
        figures
    }
}

fn row_figure(row: &Row) -> Figure {
    let name = format!("audit appends, {} writers, appendfsync {}", row.writers, row.fsync.name());
    let figure = Figure::new(name, Unit::PerSecond, row.appended.clone());
    let figure = figure.beside("bare RPUSH of the same bytes", Unit::PerSecond, row.bare.clone());
    match row.bar {
        Some(bar) => figure.bar(Bar::AtLeast(bar)),
        None => figure,
    }
}

//! `bench against`: compares this build with another one, e.g. of an earlier revision.
//!
//! Ratios to a baseline differ between machines, so this compares builds in one run. Each build gets a
//! private Redis and services. A round measures each figure with both builds in succession, and the order
//! alternates. The ratio is the median of the ratios of the rounds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tempfile::TempDir;

use super::figures::{Bar, Figure, Unit};
use super::fleet::{Fleet, FleetBatch, program_in};
use super::scanning::{CONNECTIONS, DENIED_CLIENTS, FigureLoad, TAGS, forgery};
use crate::error::BenchError;
use crate::process::Running;

/// The share of the other build's rate that this build must reach.
const BAR: f64 = 0.97;
/// The number of tags in the scanned batch.
const MINTED: u32 = 1_000_000;
const WRITERS: &str = "50";

/// Arguments of `bench against`.
#[derive(Debug, clap::Args)]
pub(crate) struct AgainstArgs {
    /// The directory with the other build's scan-service, factory-service and bench.
    directory: PathBuf,
    /// The number of rounds of the medians.
    #[arg(long, default_value = "9")]
    rounds: std::num::NonZeroU8,
    /// The duration of each figure of a round in milliseconds.
    #[arg(long, default_value = "1200")]
    millis: u64,
    /// The number of events of each append run.
    #[arg(long, default_value = "150000")]
    events: u64,
    /// Fail if a bar is missed.
    #[arg(long)]
    strict: bool,
}

/// One build: its services and its measurements.
struct Side {
    _fleet: Fleet,
    loads: Vec<FigureLoad>,
    programs: PathBuf,
    appends: Vec<f64>,
}

impl Side {
    async fn start(programs: &Path) -> Result<Self, BenchError> {
        let fleet = Fleet::start_from(programs).await?;
        let batch = fleet.mint(MINTED).await?;
        let loads = loads(&fleet, &batch).await?;
        Ok(Self { _fleet: fleet, loads, programs: programs.to_owned(), appends: Vec::new() })
    }

    /// Appends with the bench of the build, because it contains the code of the chain.
    async fn append(&mut self, events: u64, dir: &TempDir) -> Result<(), BenchError> {
        let (program, events) = (program_in(&self.programs, "bench")?, events.to_string());
        let args = ["audit", "--writers", WRITERS, "--events", &events];
        let printed = Running::start("audit", &program, &args, &[], dir.path())?.output().await?;
        let rate = printed.lines().find_map(|line| line.strip_prefix("events/s")?.trim().parse().ok());
        let unread = || BenchError::Unexpected(format!("`bench audit` printed no rate: {printed}"));
        self.appends.push(rate.ok_or_else(unread)?);
        Ok(())
    }
}

async fn loads(fleet: &Fleet, batch: &FleetBatch) -> Result<Vec<FigureLoad>, BenchError> {
    let tags = fleet.export(&batch.id, 0, TAGS).await?;
    let forged: Vec<String> = tags.iter().map(|tag| forgery(tag)).collect();
    let (scan, limited) = (fleet.scan.address, fleet.limited_scan.address);
    let key = [format!("Authorization: Bearer {}", fleet.partner_key().await?.reveal())];
    let partner = "scan with a partner key";
    Ok(vec![
        FigureLoad::new("scan", scan, "/v1/scan", CONNECTIONS, 200)?.of(&tags)?,
        FigureLoad::with_headers(partner, scan, "/v1/scan", CONNECTIONS, 200, &key)?.of(&tags)?,
        FigureLoad::new("denied scan", limited, "/v1/scan", CONNECTIONS, 429)?
            .of(&tags)?
            .from(DENIED_CLIENTS)?,
        FigureLoad::new("forged id", scan, "/v1/scan", CONNECTIONS, 404)?.of(&forged)?,
    ])
}

/// Measures and prints the results.
///
/// # Errors
/// Fails if a measurement fails.
pub(crate) async fn run(args: AgainstArgs) -> Result<ExitCode, BenchError> {
    let own = std::env::current_exe().map_err(BenchError::io("cannot find this program"))?;
    let own = own.parent().map_or_else(PathBuf::new, Path::to_owned);
    eprintln!("starting both builds");
    let (mut this, mut other) = (Side::start(&own).await?, Side::start(&args.directory).await?);
    let dir = tempfile::tempdir().map_err(BenchError::io("cannot make a directory"))?;
    let (rounds, time) = (args.rounds.get(), Duration::from_millis(args.millis));
    let mut doubts = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let (first, second) = if round % 2 == 1 { (&mut other, &mut this) } else { (&mut this, &mut other) };
        for (one, two) in first.loads.iter_mut().zip(&mut second.loads) {
            one.round(time, &mut doubts).await?;
            two.round(time, &mut doubts).await?;
        }
        first.append(args.events, &dir).await?;
        second.append(args.events, &dir).await?;
    }
    println!(
        "Medians of {rounds} rounds, lowest and highest in brackets; the baseline is the other build.\n"
    );
    Ok(super::report::print(&figures(&this, &other), &doubts, args.strict))
}

fn figures(this: &Side, other: &Side) -> Vec<Figure> {
    let appends = format!("audit appends, {WRITERS} writers");
    let row = |name: String, this: Vec<f64>, other: Vec<f64>| {
        Figure::new(name, Unit::PerSecond, this)
            .beside("other build", Unit::PerSecond, other)
            .bar(Bar::RatioAtLeast(BAR))
    };
    let pairs = this.loads.iter().zip(&other.loads);
    let mut rows: Vec<Figure> =
        pairs.map(|(this, other)| row(this.name().to_owned(), this.rates(), other.rates())).collect();
    rows.push(row(appends, this.appends.clone(), other.appends.clone()));
    rows
}

//! `bench table`: measures everything that has a bar, and prints one Markdown table.
//!
//! Each round measures every figure and its baseline once in succession, under the same conditions. The table
//! shows medians. The bench starts and stops all programs. A missed bar is reported, and is a failure only
//! with `--strict`. A run with unexpected responses fails and prints no table.

mod against;
mod auditing;
mod figures;
mod fleet;
mod memory;
mod minting;
mod report;
mod scanning;

use std::num::NonZeroU8;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) use against::{AgainstArgs, run as against};
use figures::{Bar, Figure, Unit};

use crate::breaker::{self, Costs};
use crate::error::BenchError;

/// Arguments of `bench table`.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// The number of rounds of the medians. Default: 5, with --quick 3.
    #[arg(long)]
    rounds: Option<NonZeroU8>,
    /// Fewer and shorter runs.
    #[arg(long)]
    quick: bool,
    /// Fail if a bar is missed.
    #[arg(long)]
    strict: bool,
    /// The parts to measure. Default: all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The circuit breaker.
    Breaker,
    /// The audit chain.
    Audit,
    /// Redis memory per tag, minting and scanning.
    Http,
}

/// The duration of each figure of a round, and the length of the verified chain.
struct Pace {
    rounds: u8,
    apply_load: Duration,
    append: Duration,
    chain: u64,
}

impl Pace {
    fn of(args: &TableArgs) -> Self {
        let (rounds, apply_load, append, chain) =
            if args.quick { (3, 800, 500, 300_000) } else { (5, 1_200, 1_000, 1_000_000) };
        Self {
            rounds: args.rounds.map_or(rounds, NonZeroU8::get),
            apply_load: Duration::from_millis(apply_load),
            append: Duration::from_millis(append),
            chain,
        }
    }
}

/// Measures and prints the results.
///
/// # Errors
/// Fails if a measurement fails.
pub(crate) async fn run(args: TableArgs) -> Result<ExitCode, BenchError> {
    let pace = Pace::of(&args);
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let (mut figures, mut doubts) = (Vec::new(), Vec::new());
    if wanted(Part::Http) {
        figures.extend(http(&pace, &mut doubts).await?);
    }
    if wanted(Part::Audit) {
        figures.extend(audit(&pace).await?);
    }
    if wanted(Part::Breaker) {
        figures.extend(breaker(&pace));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Medians of {} rounds on {cores} cores, lowest and highest in brackets.\n", pace.rounds);
    Ok(report::print(&figures, &doubts, args.strict))
}

/// Prints the table, the deviations and the missed bars. A missed bar fails a strict run.
async fn http(pace: &Pace, doubts: &mut Vec<String>) -> Result<Vec<Figure>, BenchError> {
    eprintln!("starting a Redis and the services");
    let fleet = fleet::Fleet::start().await?;
    eprintln!("memory: minting {} tags, scanning some", memory::MINTED);
    let (batch, memory) = memory::measure(&fleet).await?;
    let mut scanning = scanning::Scanning::prepare(&fleet, &batch).await?;
    let mut minting = minting::Minting::default();
    for round in 1..=pace.rounds {
        eprintln!("requests and minting, round {round} of {}", pace.rounds);
        scanning.round(pace.apply_load, doubts).await?;
        minting.round(&fleet, &batch).await?;
    }
    Ok([scanning.figures(), minting.figures(), memory].concat())
}

async fn audit(pace: &Pace) -> Result<Vec<Figure>, BenchError> {
    let mut auditing = auditing::Auditing::start().await?;
    for round in 1..=pace.rounds {
        eprintln!("audit, round {round} of {}", pace.rounds);
        auditing.round(pace.append).await?;
    }
    eprintln!("audit: verifying");
    auditing.lengthen(pace.chain).await?;
    for _ in 0..pace.rounds {
        auditing.verify().await?;
    }
    Ok(auditing.figures())
}

fn breaker(pace: &Pace) -> Vec<Figure> {
    eprintln!("circuit breaker");
    let rounds: Vec<Costs> = (0..pace.rounds).map(|_| breaker::measure()).collect();
    let of = |read: fn(&Costs) -> f64| rounds.iter().map(read).collect::<Vec<f64>>();
    let clock = || of(|costs| costs.clock);
    vec![
        Figure::new("breaker, closed, a call and its success", Unit::Nanos, of(|costs| costs.closed))
            .beside("reading the clock once", Unit::Nanos, clock())
            .bar(Bar::Below(15.0)),
        Figure::new("breaker, open, a refusal", Unit::Nanos, of(|costs| costs.rejecting))
            .beside("reading the clock once", Unit::Nanos, clock())
            .bar(Bar::Below(10.0)),
    ]
}

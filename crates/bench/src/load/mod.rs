//! `bench load`: puts load on a server on this machine over HTTP/1.1 keep-alive connections, and prints the
//! results.
//!
//! It shares the processors with the server, so it does little: it builds requests from prepared parts, and
//! parses of a response only what it counts. It accepts only loopback addresses.

mod drive;
mod plan;
mod tally;

use std::io::{BufRead, BufReader};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use plan::{LoadPlan, Stop};
pub(crate) use tally::LoadReport;

use crate::error::BenchError;

const MAX_SEGMENTS: usize = 20_000_000;

/// Arguments of `bench load`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("stop").required(true).args(["requests", "seconds"])))]
pub(crate) struct LoadArgs {
    /// The URL, e.g. http://127.0.0.1:8080/v1/scan. Only loopback addresses are accepted.
    #[arg(long)]
    url: String,
    /// Connections, each with one request in flight.
    #[arg(long, default_value = "64")]
    connections: NonZeroUsize,
    /// Stop after that many responses.
    #[arg(long)]
    requests: Option<NonZeroU64>,
    /// Stop after that many seconds.
    #[arg(long)]
    seconds: Option<NonZeroU64>,
    /// A file of path segments, one per line, appended to the URL in turn.
    #[arg(long, value_name = "FILE")]
    tags: Option<PathBuf>,
    /// A header, as `Name: value`. May be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Send X-Forwarded-For, N addresses of 10.0.0.0/8 in turn.
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    spread_addresses: u32,
    /// Threads that send.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=8))]
    threads: u8,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the load and prints the results.
///
/// # Errors
/// Fails if the arguments cannot be used, if no connection can be opened, or if there was no response.
pub(crate) async fn run(args: LoadArgs) -> Result<(), BenchError> {
    let stop = match (args.requests, args.seconds) {
        (Some(requests), _) => Stop::Requests(requests.get()),
        (None, seconds) => Stop::After(Duration::from_secs(seconds.map_or(0, NonZeroU64::get))),
    };
    let mut plan = LoadPlan::new(&args.url, args.connections, stop)?
        .with_headers(&args.headers)?
        .with_addresses(args.spread_addresses)?;
    if let Some(file) = &args.tags {
        plan = plan.with_segments(read_segments(file)?)?;
    }
    plan.threads = args.threads.into();
    let report = apply_load(plan).await?;
    if args.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    if report.requests == 0 {
        let why = report.first_error.unwrap_or_default();
        return Err(BenchError::Unexpected(format!("nothing was answered: {why}")));
    }
    Ok(())
}

/// Runs a plan on separate threads.
///
/// # Errors
/// Fails if a connection cannot be opened at the start.
pub(crate) async fn apply_load(plan: LoadPlan) -> Result<LoadReport, BenchError> {
    let run = tokio::task::spawn_blocking(move || drive::run(&plan));
    run.await.map_err(BenchError::unexpected("the load threads"))?
}

fn read_segments(file: &Path) -> Result<Vec<String>, BenchError> {
    let reading = || format!("cannot read {}", file.display());
    let lines = BufReader::new(std::fs::File::open(file).map_err(BenchError::io(reading()))?).lines();
    let mut segments = Vec::new();
    for line in lines {
        let line = line.map_err(BenchError::io(reading()))?;
        if !line.is_empty() {
            segments.push(line);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(BenchError::Usage(format!("{} has more than {MAX_SEGMENTS} lines", file.display())));
        }
    }
    Ok(segments)
}

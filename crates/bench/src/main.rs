//! Measures throughput, latency and memory: a load generator, baselines, and one table of figures with their
//! bars.
//!
//! This is a development tool that is not shipped. `bench table` starts and stops everything that it
//! measures. The other commands are its parts. Each prints its figures or fails with one line: it never shows
//! the figure of a run that failed.

mod audit;
mod baseline;
mod breaker;
mod error;
mod http;
mod load;
mod process;
mod table;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use error::BenchError;

/// The allocator of the services (docs/adr/0008).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "bench", version, about = "Measures what VokeTag costs.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Puts load on a server on this machine and prints the results.
    Load(load::LoadArgs),
    /// Serves /constant and /ping behind the middleware of the services until SIGTERM or SIGINT.
    Baseline(baseline::BaselineArgs),
    /// Appends audit events from many concurrent writers to a private Redis.
    Audit(audit::AuditArgs),
    /// Verifies an audit chain and measures its memory.
    Verify(audit::BenchVerifyArgs),
    /// Measures everything and prints one table.
    Table(table::TableArgs),
    /// Measures this build and another one in alternation.
    Against(table::AgainstArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("cannot start a runtime"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(until_interrupted(cli.command));
            // The threads of an interrupted load run may still be running.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command. An interruption drops the measurement, which stops its programs.
async fn until_interrupted(command: Command) -> Result<ExitCode, BenchError> {
    if let Command::Baseline(args) = command {
        return baseline::run(args).await.map(|()| ExitCode::SUCCESS);
    }
    let interrupted = http_edge::shutdown_signal().map_err(BenchError::io("cannot listen for signals"))?;
    tokio::select! {
        biased;
        () = interrupted => Err(BenchError::Interrupted),
        outcome = Box::pin(run(command)) => outcome,
    }
}

async fn run(command: Command) -> Result<ExitCode, BenchError> {
    match command {
        Command::Load(args) => load::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Baseline(args) => baseline::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Audit(args) => audit::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Verify(args) => audit::verify(args).await.map(|()| ExitCode::SUCCESS),
        Command::Table(args) => table::run(args).await,
        Command::Against(args) => table::against(args).await,
    }
}

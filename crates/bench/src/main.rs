//! What things cost: a load generator, the yardsticks, and one table of figures beside their bars.
//!
//! A development tool; nothing that is shipped knows it. `bench table` starts everything it measures itself and leaves
//! nothing behind; the other commands are its parts, usable by themselves. Each either prints its figures or fails with
//! one line: a figure whose run went wrong is never shown. It reads the clock through `ambient` like everybody else.

mod audit;
mod breaker;
mod error;
mod http;
mod load;
mod process;
mod table;
mod wire;
mod yardstick;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use error::BenchError;

/// A scan makes some fifty small allocations; the system's allocator spends a tenth of its time on them (docs/adr/0008).
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
    /// Presses a server on this machine and prints what came back.
    Load(load::LoadArgs),
    /// Serves /constant and /ping behind the services' middleware until SIGTERM or SIGINT.
    Yardstick(yardstick::YardstickArgs),
    /// Appends audit events from many writers at once to a Redis of its own.
    Audit(audit::AuditArgs),
    /// Verifies an audit chain and watches the memory it takes.
    Verify(audit::BenchVerifyArgs),
    /// Measures everything and prints one table.
    Table(table::TableArgs),
    /// Measures another build beside this one, in alternation.
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
            // A load run that was interrupted may still be on its threads.
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

/// Ends what was started on every path: an interrupted measurement is dropped, and its programs with it.
async fn until_interrupted(command: Command) -> Result<ExitCode, BenchError> {
    if let Command::Yardstick(args) = command {
        return yardstick::run(args).await.map(|()| ExitCode::SUCCESS);
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
        Command::Yardstick(args) => yardstick::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Audit(args) => audit::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Verify(args) => audit::verify(args).await.map(|()| ExitCode::SUCCESS),
        Command::Table(args) => table::run(args).await,
        Command::Against(args) => table::against(args).await,
    }
}

//! The public service that answers scans. See `scan-service --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use http_edge::env::Env;
use http_edge::telemetry;
use scan_service::config::Settings;

/// Under a load of scans the system's allocator took 16 % of the CPU time (docs/adr/0008-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers scans of VokeTag tags. Settings come from the environment: docs/CONTRACT.md, section 9.
#[derive(Debug, Parser)]
#[command(name = "scan-service", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT (the default).
    Serve,
    /// Asks the service on BIND_ADDR whether it is ready; exits 0 if so, else 1.
    Healthcheck,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match Settings::from_env(&Env::of_process()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error),
    };
    match cli.command {
        Some(Command::Healthcheck) => match service_kit::healthcheck(settings.web.bind) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Some(Command::Serve) | None => {
            if let Err(error) = telemetry::init(&settings.log) {
                return failed(&error);
            }
            match scan_service::startup::run(settings) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error),
            }
        }
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("scan-service: {error}");
    ExitCode::FAILURE
}

//! The service behind a brand's own systems: mints tags and keeps the audit trail. See `factory-service --help`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use factory_service::cli::Operation;
use factory_service::config::Settings;
use http_edge::env::Env;
use http_edge::telemetry;

/// With the system's allocator a process appends an eighth fewer events (docs/adr/0008-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Mints VokeTag tags and keeps their audit trail. Settings come from the environment: docs/CONTRACT.md, section 9.
#[derive(Debug, Parser)]
#[command(name = "factory-service", version, about)]
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
    #[command(flatten)]
    Operation(Operation),
}

fn main() -> ExitCode {
    let settings = || Settings::from_env(&Env::of_process());
    let ended = match Cli::parse().command {
        Some(Command::Operation(operation)) => return operation.run(settings),
        Some(Command::Healthcheck) => settings().map_err(Into::into).and_then(ask_health),
        Some(Command::Serve) | None => settings().map_err(Into::into).and_then(serve),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("factory-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask_health(settings: Settings) -> Result<(), Box<dyn Error>> {
    Ok(service_kit::healthcheck(settings.web.bind)?)
}

fn serve(settings: Settings) -> Result<(), Box<dyn Error>> {
    telemetry::init(&settings.log)?;
    Ok(factory_service::startup::run(settings)?)
}

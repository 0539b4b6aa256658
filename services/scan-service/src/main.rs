//! The public service that answers scans. See `scan-service --help`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scan_service::settings::ScanSettings;
use settings::{Env, Serve};

/// The system's allocator takes 16 % of the CPU time under a load of scans (docs/adr/0008-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers scans of VokeTag tags. Settings come from the environment: docs/contract.md, section 9.
#[derive(Debug, Parser)]
#[command(name = "scan-service", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT. This is the default.
    Serve(Serve),
    /// Checks whether the service on BIND_ADDR is ready. Exits with 0 if it is, else with 1.
    Healthcheck,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let env = Env::of_process();
    let settings = match ScanSettings::from_env(&env) {
        Ok(settings) => settings,
        Err(error) => return failed(&error),
    };
    let ended = match cli.command.unwrap_or(Command::Serve(Serve::default())) {
        Command::Healthcheck => http_edge::healthcheck(settings.web.bind).map_err(Into::into),
        Command::Serve(how) => serve(&env, &how, settings),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn serve(env: &Env, how: &Serve, settings: ScanSettings) -> Result<(), Box<dyn Error>> {
    if let Some(_log) = how.may_start(env, &settings.log)? {
        scan_service::startup::run(settings)?;
    }
    Ok(())
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("scan-service: {error}");
    ExitCode::FAILURE
}

//! The service for brands and operators: it mints tags and keeps the audit trail. See
//! `factory-service --help`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use factory_service::cli::Operation;
use factory_service::settings::FactorySettings;
use settings::{Env, Serve};

/// With the system's allocator a process appends an eighth fewer events (docs/adr/0008-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Mints VokeTag tags and keeps their audit trail. Settings come from the environment: docs/contract.md,
/// section 9.
#[derive(Debug, Parser)]
#[command(name = "factory-service", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT. This is the default.
    Serve(Serve),
    /// Asks the service on BIND_ADDR whether it is ready. Exits 0 if it is, else 1.
    Healthcheck,
    #[command(flatten)]
    Operation(Operation),
}

fn main() -> ExitCode {
    let env = Env::of_process();
    let settings = || FactorySettings::from_env(&env);
    let ended = match Cli::parse().command.unwrap_or(Command::Serve(Serve::default())) {
        Command::Operation(operation) => return operation.run(settings),
        Command::Healthcheck => {
            settings().map_err(Into::into).and_then(|settings| Ok(http_edge::healthcheck(settings.web.bind)?))
        }
        Command::Serve(how) => serve(&env, &how),
    };
    ended.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn serve(env: &Env, how: &Serve) -> Result<(), Box<dyn Error>> {
    let settings = FactorySettings::for_serving(env)?;
    if let Some(_log) = how.may_start(env, &settings.log)? {
        factory_service::startup::run(settings)?;
    }
    Ok(())
}

fn failed(error: Box<dyn Error>) -> ExitCode {
    eprintln!("factory-service: {error}");
    ExitCode::FAILURE
}

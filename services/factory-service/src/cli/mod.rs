//! The operator's command line. Each command makes the request that its route takes, inside this process. So
//! it has the same checks, effects and audit events, with the actor `cli`. It needs the service's settings
//! and no running service.
//!
//! A command prints its answer as JSON on standard output, and an error as one line on standard error.

mod adopt;
mod api_key;
mod argument;
mod audit;
mod call;
mod exit_code;
mod keyring;
mod offline;
mod repair;
mod restore;
mod tenant;

use std::process::ExitCode;

use clap::Subcommand;

pub use crate::cli::adopt::BatchCommand;
pub use crate::cli::api_key::KeyCommand;
pub use crate::cli::audit::{AuditCommand, VerifyArgs};
use crate::cli::call::{Failure, Session};
use crate::cli::exit_code::NOT_CHECKED;
pub use crate::cli::keyring::{Family, KeyArgs, KeyringCommand};
pub use crate::cli::repair::RepairArgs;
pub use crate::cli::restore::RestoreCommand;
pub use crate::cli::tenant::{TenantCommand, TenantUpdate};
use crate::settings::FactorySettings;

/// The commands besides serving.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// Manages tenants: brands and what they may do.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Manages API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Manages tag epochs and audit signing keys.
    #[command(subcommand)]
    Keyring(KeyringCommand),
    /// Verifies, exports and repairs the audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Accepts a restored backup.
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Takes back batches that were lost with a restore.
    #[command(subcommand)]
    Batch(BatchCommand),
}

impl Operation {
    /// Runs the command. An offline command does not read `settings`.
    pub fn run<E: std::error::Error>(
        self,
        settings: impl FnOnce() -> Result<FactorySettings, E>,
    ) -> ExitCode {
        let verifies = matches!(self, Self::Audit(AuditCommand::Verify(_) | AuditCommand::Repair(_)));
        let failed = ExitCode::from(if verifies { NOT_CHECKED } else { 1 });
        if let Self::Audit(AuditCommand::Verify(VerifyArgs {
            file: Some(file),
            keys,
            keyring,
            checkpoints,
            never_signed,
        })) = self
        {
            let trust = offline::Trust { keys: &keys, keyring: keyring.as_deref(), never_signed };
            return offline::verify(&file, &trust, &checkpoints);
        }
        let settings = match settings() {
            Ok(settings) => settings,
            Err(error) => return complain(&error, failed),
        };
        // `restore accept` works on a state that no service accepts.
        let done = match self {
            Self::Restore(command) => command.run(&settings),
            other => Session::run(settings, async |session| other.ask(session).await),
        };
        match done {
            Ok(code) => code,
            Err(failure) => complain(&failure, failed),
        }
    }

    async fn ask(self, session: &Session) -> Result<ExitCode, Failure> {
        match self {
            Self::Tenant(command) => session.print(&command.call()).await,
            Self::Key(command) => session.print(&command.call()?).await,
            Self::Keyring(command) => session.print(&command.call()).await,
            Self::Audit(command) => return command.ask(session).await,
            Self::Batch(command) => command.run(session).await,
            Self::Restore(_) => Err(Failure::Rejected("restore needs no session".to_owned())),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

fn complain(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("factory-service: {error}");
    code
}

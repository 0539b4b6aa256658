//! The operator's command line. Each command makes the request that its route takes, inside this process. So
//! it has the same checks, effects and audit events, with the actor `cli`. It needs the service's settings
//! and no running service.
//!
//! A command prints its answer as JSON on standard output, and an error as one line on standard error.

mod adopt;
mod api_key;
mod audit;
mod call;
mod offline;
mod repair;
mod restore;

use std::process::ExitCode;

use access::TenantId;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use crate::cli::adopt::BatchCommand;
pub use crate::cli::api_key::KeyCommand;
pub use crate::cli::audit::{AuditCommand, VerifyArgs};
use crate::cli::call::{Call, Failure, Session};
pub use crate::cli::repair::RepairArgs;
pub use crate::cli::restore::RestoreCommand;
use crate::settings::FactorySettings;

/// Exit codes of `audit verify` and `audit repair`.
const BROKEN: u8 = 1;
const NOT_CHECKED: u8 = 2;

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

/// `tenant …`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Creates a tenant.
    Create {
        /// The tenant's id: 1 to 32 characters of a-z, 0-9 and -, e.g. acme.
        id: TenantId,
        /// The tenant's name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists all tenants.
    List,
    /// Changes a tenant. Options that are not given change nothing.
    Update(TenantUpdate),
    /// Suspends a tenant: all its keys are rejected from now on. Its tags keep their state.
    Suspend {
        /// The tenant's id.
        id: TenantId,
        /// The reason. The audit trail keeps it.
        #[arg(long)]
        reason: String,
    },
    /// Ends a suspension.
    Resume {
        /// The tenant's id.
        id: TenantId,
    },
}

/// The changes to a tenant.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct TenantUpdate {
    /// The tenant's id. `default` is the operator's own tenant.
    id: TenantId,
    /// The tenant's name, which the pages of its tags show.
    #[arg(long, group = "change")]
    name: Option<String>,
    /// Removes the name.
    #[arg(long, group = "change", conflicts_with = "name")]
    no_name: bool,
    /// A verified brand of the tenant. Repeat the option for each brand: the list replaces the former one.
    #[arg(long = "brand", group = "change")]
    brands: Vec<String>,
    /// Removes all brands.
    #[arg(long, group = "change", conflicts_with = "brands")]
    no_brands: bool,
    /// A verified GTIN company prefix of the tenant, e.g. 4006381. Repeat the option for each prefix: the
    /// list replaces the former one.
    #[arg(long = "gtin-prefix", group = "change")]
    gtin_prefixes: Vec<String>,
    /// Removes all GTIN prefixes.
    #[arg(long, group = "change", conflicts_with = "gtin_prefixes")]
    no_gtin_prefixes: bool,
    /// The most batches that the tenant may have.
    #[arg(long, group = "change")]
    max_batches: Option<u32>,
}

impl TenantUpdate {
    fn call(self) -> Call {
        let list = |given: Vec<String>, none: bool| (none || !given.is_empty()).then(|| json!(given));
        let name = if self.no_name { Some(Value::Null) } else { self.name.map(Value::from) };
        let patch = body([
            ("name", name),
            ("brands", list(self.brands, self.no_brands)),
            ("gtin_prefixes", list(self.gtin_prefixes, self.no_gtin_prefixes)),
            ("max_batches", self.max_batches.map(Value::from)),
        ]);
        Call::patch(&format!("/v1/admin/tenants/{}", self.id), patch)
    }
}

/// A family of keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Family {
    /// Epochs under which tags are minted.
    Tag,
    /// Keys that sign checkpoints of the audit trail.
    Audit,
}

/// One key of the keyring.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The family: tag or audit.
    family: Family,
    /// The key's number in its family.
    number: u16,
}

impl KeyArgs {
    fn path(&self) -> String {
        format!("/v1/admin/keyring/{}/{}", self.family.name(), self.number)
    }
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Audit => "audit",
        }
    }
}

/// `keyring …`.
#[derive(Debug, Subcommand)]
pub enum KeyringCommand {
    /// Lists all keys with their states and public parts.
    List,
    /// Adds a key, as pending. This process must hold its secret.
    Add(KeyArgs),
    /// Makes a pending key the active one. The previous key still verifies.
    Activate(KeyArgs),
    /// Retires the active key and activates the one pending key.
    Retire(KeyArgs),
    /// Revokes a leaked key, with the time from which it may have been misused.
    Revoke {
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
        /// The reason. The audit trail keeps it.
        #[arg(long)]
        reason: String,
        /// The time from which the key may have been misused, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_parser = instant)]
        compromised_since: String,
        /// For a tag epoch: the number of batches that become invalid. Without it, the command changes
        /// nothing and shows the number.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
    },
    /// Corrects the time from which a revoked key may have been misused, earlier or later.
    CorrectDate {
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
        /// The reason. The audit trail keeps it.
        #[arg(long)]
        reason: String,
        /// The correct time, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_parser = instant)]
        compromised_since: String,
        /// For a tag epoch: the number of batches that become invalid. Without it, the command changes
        /// nothing and shows the number.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
    },
    /// Records that the secret of a revoked or never used key was destroyed.
    Destroy(KeyArgs),
}

/// Checks that an argument is an instant, and returns it as the routes take it.
fn instant(text: &str) -> Result<String, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it takes an instant as in RFC 3339, e.g. 2026-11-01T00:00:00Z".to_owned()),
    }
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
            Self::Restore(_) => Err(Failure::Refused("restore needs no session".to_owned())),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

fn complain(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("factory-service: {error}");
    code
}

/// Returns a JSON object of the members that have a value.
fn body<const N: usize>(members: [(&str, Option<Value>); N]) -> Option<Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some(Value::Object(given.collect::<Map<_, _>>()))
}

/// The request of a revocation, or of the correction of its date.
fn dated(path: &str, reason: &str, compromised_since: &str, confirm: Option<u64>) -> Call {
    let said = [
        ("reason", Some(json!(reason))),
        ("compromised_since", Some(json!(compromised_since))),
        ("confirm_batches", confirm.map(Value::from)),
    ];
    Call::post(path, body(said))
}

impl TenantCommand {
    fn call(self) -> Call {
        match self {
            Self::Create { id, name } => Call::post(
                "/v1/admin/tenants",
                body([("id", Some(json!(id.as_str()))), ("name", name.map(Value::from))]),
            ),
            Self::List => Call::list("/v1/admin/tenants"),
            Self::Update(update) => update.call(),
            Self::Suspend { id, reason } => Call::post(
                &format!("/v1/admin/tenants/{id}/suspend"),
                body([("reason", Some(json!(reason)))]),
            ),
            Self::Resume { id } => Call::post(&format!("/v1/admin/tenants/{id}/resume"), None),
        }
    }
}

impl KeyringCommand {
    fn call(self) -> Call {
        match self {
            Self::List => Call::get("/v1/admin/keyring"),
            Self::Add(key) => {
                let path = format!("/v1/admin/keyring/{}", key.family.name());
                Call::post(&path, body([("number", Some(json!(key.number)))]))
            }
            Self::Activate(key) => Call::post(&format!("{}/activate", key.path()), None),
            Self::Retire(key) => Call::post(&format!("{}/retire", key.path()), None),
            Self::Revoke { key, reason, compromised_since, confirm } => {
                dated(&format!("{}/revoke", key.path()), &reason, &compromised_since, confirm)
            }
            Self::CorrectDate { key, reason, compromised_since, confirm } => {
                dated(&format!("{}/correct-date", key.path()), &reason, &compromised_since, confirm)
            }
            Self::Destroy(key) => Call::post(&format!("{}/destroy", key.path()), None),
        }
    }
}

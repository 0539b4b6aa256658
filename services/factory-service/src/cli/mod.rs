//! The operator's command line. Each command is the request that its route takes, made inside this process: the same checks,
//! the same effects, the same audit events, in the name of actor `cli`. It needs the service's own settings and no running
//! service.
//!
//! What a command answers is JSON on standard output, what went wrong a line on standard error.

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

/// Exit codes of `audit verify`, also for what could not be asked at all.
const BROKEN: u8 = 1;
const NOT_CHECKED: u8 = 2;

/// What an operator can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// Brands and what they may do.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Tag epochs and audit signing keys.
    #[command(subcommand)]
    Keyring(KeyringCommand),
    /// The audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// After a backup was restored.
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Batches that were lost with a restore.
    #[command(subcommand)]
    Batch(BatchCommand),
}

/// `tenant …`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Makes a tenant.
    Create {
        /// 1 to 32 of a-z, 0-9 and -, e.g. acme.
        id: TenantId,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists all tenants.
    List,
    /// Changes what is known of a tenant; what is not given stays.
    Update(TenantUpdate),
    /// Refuses all keys of a tenant from now on. Its tags stay what they are.
    Suspend {
        /// The tenant.
        id: TenantId,
        /// Kept in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Takes a suspension back.
    Resume {
        /// The tenant.
        id: TenantId,
    },
}

/// What is to change of a tenant.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct TenantUpdate {
    /// The tenant; default is the operator's own.
    id: TenantId,
    /// What people call it, also on the pages of its tags.
    #[arg(long, group = "change")]
    name: Option<String>,
    /// Takes its name away.
    #[arg(long, group = "change", conflicts_with = "name")]
    no_name: bool,
    /// A brand that is verified to be its own; give all of them, each with --brand.
    #[arg(long = "brand", group = "change")]
    brands: Vec<String>,
    /// Takes all its brands away.
    #[arg(long, group = "change", conflicts_with = "brands")]
    no_brands: bool,
    /// A GTIN company prefix that is verified to be its own, e.g. 4006381; give all of them.
    #[arg(long = "gtin-prefix", group = "change")]
    gtin_prefixes: Vec<String>,
    /// Takes all its GTIN prefixes away.
    #[arg(long, group = "change", conflicts_with = "gtin_prefixes")]
    no_gtin_prefixes: bool,
    /// How many batches it may have in all.
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

/// Which keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Family {
    /// The epochs under which tags are minted.
    Tag,
    /// The keys that sign checkpoints of the audit trail.
    Audit,
}

/// One key of the keyring.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// tag or audit.
    family: Family,
    /// Its number.
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
    /// Makes a key known, as pending. This process must hold its secret.
    Add(KeyArgs),
    /// Makes a pending key the active one; the one before it goes on verifying.
    Activate(KeyArgs),
    /// Takes the active key out of use in favour of the one pending key.
    Retire(KeyArgs),
    /// Says that a key is in wrong hands, and since when.
    Revoke {
        /// Which.
        #[command(flatten)]
        key: KeyArgs,
        /// Kept in the audit trail.
        #[arg(long)]
        reason: String,
        /// From when on it may have been misused, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_parser = instant)]
        compromised_since: String,
        /// Of a tag epoch: the number of batches that are invalid afterwards. Without it nothing is done and the number is shown.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
    },
    /// Corrects since when a revoked key may have been misused, earlier or later.
    CorrectDate {
        /// Which.
        #[command(flatten)]
        key: KeyArgs,
        /// Kept in the audit trail.
        #[arg(long)]
        reason: String,
        /// The right date, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_parser = instant)]
        compromised_since: String,
        /// Of a tag epoch: the number of batches that are invalid afterwards. Without it nothing is done and the number is shown.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
    },
    /// Says that a revoked or never used key's secret is gone for good.
    Destroy(KeyArgs),
}

/// An instant as the routes take it. What is no instant is told by its name.
fn instant(text: &str) -> Result<String, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it takes an instant as in RFC 3339, e.g. 2026-11-01T00:00:00Z".to_owned()),
    }
}

impl Operation {
    /// Carries the command out; `settings` are those of the service, and are not read by an offline command.
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
        // It works on a state that no service works on.
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

/// A JSON object of the members that are there.
fn body<const N: usize>(members: [(&str, Option<Value>); N]) -> Option<Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some(Value::Object(given.collect::<Map<_, _>>()))
}

/// A revocation, or the correction of its date.
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

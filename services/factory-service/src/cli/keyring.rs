//! `keyring …`: tag epochs and audit signing keys.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::argument::instant;
use crate::cli::call::{Call, body};

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
        /// Family and number of the key.
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
        /// Family and number of the key.
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

impl KeyringCommand {
    pub(super) fn call(self) -> Call {
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

/// Returns the request of a revocation, or of the correction of its date.
fn dated(path: &str, reason: &str, compromised_since: &str, confirm: Option<u64>) -> Call {
    let members = [
        ("reason", Some(json!(reason))),
        ("compromised_since", Some(json!(compromised_since))),
        ("confirm_batches", confirm.map(Value::from)),
    ];
    Call::post(path, body(members))
}

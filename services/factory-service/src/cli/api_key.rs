//! `key …`: API keys.

use access::{ApiKey, KeyId, TenantId};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::call::{Call, Failure};
use crate::cli::{body, instant};

/// `key …`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and shows it, once.
    Create {
        /// Whose key it is to be.
        #[arg(long)]
        tenant: TenantId,
        /// What it may do: factory:write, factory:read, audit:read, scan:partner, admin; several with commas.
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// What people call it.
        #[arg(long)]
        label: Option<String>,
        /// When it ends, e.g. 2027-01-01T00:00:00Z.
        #[arg(long, value_parser = instant)]
        expires_at: Option<String>,
    },
    /// Lists a tenant's keys.
    List {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Makes a successor and shows it, once; the key itself goes on for a while.
    Rotate {
        /// The 8 characters after vk_, or the whole key.
        id: String,
        /// Seconds for which the old key goes on; 24 h unless given.
        #[arg(long)]
        overlap_s: Option<u64>,
    },
    /// Ends a key now.
    Revoke {
        /// The 8 characters after vk_, or the whole key.
        id: String,
        /// Kept in the audit trail.
        #[arg(long)]
        reason: String,
    },
}

/// The id in what an operator gives for a key. Somebody in a hurry pastes the whole of it, which must be shown to nobody again.
fn key_id(text: &str) -> Result<KeyId, Failure> {
    let whole = || ApiKey::parse(text).map(|key| *key.id());
    let id = text.parse::<KeyId>().or_else(|_| whole());
    id.map_err(|_| {
        Failure::Refused(
            "that names no key: it takes the 8 characters after vk_, or the whole key".to_owned(),
        )
    })
}

impl KeyCommand {
    pub(super) fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Create { tenant, scopes, label, expires_at } => {
                let body = body([
                    ("tenant", Some(json!(tenant.as_str()))),
                    ("scopes", Some(json!(scopes))),
                    ("label", label.map(Value::from)),
                    ("expires_at", expires_at.map(Value::from)),
                ]);
                Call::post("/v1/admin/keys", body)
            }
            Self::List { tenant } => Call::list(&format!("/v1/admin/keys?tenant={tenant}")),
            Self::Rotate { id, overlap_s } => Call::post(
                &format!("/v1/admin/keys/{}/rotate", key_id(&id)?),
                body([("overlap_s", overlap_s.map(Value::from))]),
            ),
            Self::Revoke { id, reason } => {
                let path = format!("/v1/admin/keys/{}/revoke", key_id(&id)?);
                Call::post(&path, body([("reason", Some(json!(reason)))]))
            }
        })
    }
}

//! `key …`: API keys.

use access::{ApiKey, KeyId, TenantId};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::argument::instant;
use crate::cli::call::{Call, Failure, body};

/// `key …`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Creates a key and shows it once.
    Create {
        /// The tenant that the key belongs to.
        #[arg(long)]
        tenant: TenantId,
        /// The key's scopes, separated by commas: factory:write, factory:read, audit:read, scan:partner,
        /// admin.
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// The key's name.
        #[arg(long)]
        label: Option<String>,
        /// When the key expires, e.g. 2027-01-01T00:00:00Z. Without it the key does not expire.
        #[arg(long, value_parser = instant)]
        expires_at: Option<String>,
    },
    /// Lists a tenant's keys.
    List {
        /// The tenant of the keys.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Creates a successor and shows it once. The old key stays valid for a while.
    Rotate {
        /// The 8 characters after vk_, or the whole key.
        id: String,
        /// Seconds for which the old key stays valid. The default is 24 h.
        #[arg(long)]
        overlap_s: Option<u64>,
    },
    /// Revokes a key at once.
    Revoke {
        /// The 8 characters after vk_, or the whole key.
        id: String,
        /// The reason. The audit trail keeps it.
        #[arg(long)]
        reason: String,
    },
}

/// Returns the id of the key that an operator names. An operator may paste the whole key, which must not be
/// printed.
fn key_id(text: &str) -> Result<KeyId, Failure> {
    let whole = || ApiKey::parse(text).map(|key| *key.id());
    let id = text.parse::<KeyId>().or_else(|_| whole());
    id.map_err(|_| {
        Failure::Rejected(
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

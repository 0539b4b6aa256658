//! `tenant …`: brands and what they may do.

use access::TenantId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::call::{Call, body};

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

impl TenantCommand {
    pub(super) fn call(self) -> Call {
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

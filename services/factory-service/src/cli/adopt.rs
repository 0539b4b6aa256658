//! `batch adopt`: takes back a batch that was minted after the restored backup, from an export of its tags.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use problems::ApiError;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::cli::call::{Failure, Session, show};
use crate::domain::adopt::{AdoptedRecord, NotAdopted, adopt, read_export};
use crate::domain::identity::Caller;
use crate::domain::input::{INSTANT, Label, instant};
use crate::domain::store::Store;

/// `batch …`.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Takes back a batch that was minted after the backup that was restored. A repeat changes nothing.
    Adopt(AdoptArgs),
}

/// The batch to take back.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The complete NDJSON export of the batch.
    #[arg(long)]
    file: PathBuf,
    /// The id of the product that carries the tags. The product must exist.
    #[arg(long)]
    product: Uuid,
    /// The former id of the batch. The default is a new id.
    #[arg(long)]
    id: Option<Uuid>,
    /// The batch's label, 1 to 200 characters.
    #[arg(long)]
    label: Option<String>,
    /// When the items were made, e.g. 2026-11-01T00:00:00Z.
    #[arg(long, value_parser = utc)]
    manufactured_at: Option<OffsetDateTime>,
    /// The time from which the tags are no longer valid, e.g. 2027-11-01T00:00:00Z.
    #[arg(long, value_parser = utc)]
    expires_at: Option<OffsetDateTime>,
}

fn utc(text: &str) -> Result<OffsetDateTime, String> {
    let given = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("it takes an instant as in RFC 3339, e.g. {INSTANT}"))?;
    instant("it", given).map_err(|error| error.to_string())
}

impl BatchCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Adopt(args) = self;
        let rejected = |why: String| Failure::Rejected(why);
        let label = args.label.map(|label| Label::parse("label", label)).transpose();
        let label = label.map_err(|error| rejected(error.to_string()))?;
        let shown = args.file.display().to_string();
        let opened = File::open(&args.file).map_err(|source| Failure::Io { what: shown.clone(), source })?;
        let storage = session.storage();
        let keyring = Arc::clone(&storage.keyring.watch().secrets().tags);
        let reading = tokio::task::spawn_blocking(move || {
            read_export(BufReader::with_capacity(1 << 16, opened), &keyring, |rows| {
                eprintln!("factory-service: {rows} rows read");
            })
        });
        let exported = reading.await.map_err(|error| rejected(error.to_string()))?;
        let exported = exported.map_err(|error| rejected(format!("{shown}: {error}")))?;
        let store = Store::new(storage, Arc::clone(session.clock()));
        let caller = Caller::command_line(session.clock().unix_millis());
        let record = AdoptedRecord {
            product_id: args.product,
            id: args.id,
            label,
            manufactured_at: args.manufactured_at,
            expires_at: args.expires_at,
        };
        let adopted = adopt(&store, &caller, exported, record).await;
        let (batch, is_new) = adopted.map_err(|error| match error {
            NotAdopted::Rejected(error) => rejected(ApiError::from(error).to_string()),
            other => rejected(other.to_string()),
        })?;
        show(&json!({
            "id": batch.id, "product_id": batch.product_id, "tenant": batch.tenant, "size": batch.size,
            "epoch": batch.epoch.get(), "batch_no": batch.batch_no.get(), "adopted": is_new,
        }));
        Ok(())
    }
}

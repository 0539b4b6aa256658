//! Adopts a batch from an export of its tags: the batch was minted after the restored backup, so Redis lost
//! its record, but its labels are in circulation.

use audit_chain::AuditAction;
use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use access::TenantId;
use catalog::{Batch, keys as stored_at};
use serde::Deserialize;
use storage::UntrustedKey;
use tag_id::{BatchNo, Epoch, Opened, TagId, TagIndex, TagKeys};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::batches::{creation_of, details_of, resource};
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::input::Label;
use crate::domain::store::{Store, Written};
use crate::domain::update::{Update, update};

/// The longest line of an export in bytes. A row has about 200 bytes and a URL of up to 256.
const LONGEST_LINE: u64 = 4 * 1024;
/// Rows between two reports of progress.
const PROGRESS_EVERY: u32 = 1_000_000;

/// The batch that an export belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) batch_no: BatchNo,
    pub(crate) epoch: Epoch,
    pub(crate) size: u32,
}

/// Why a file is not the complete export of one batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnExport {
    #[error("line {line}: {why}")]
    Line { line: u64, why: String },
    #[error(
        "the file has no rows; it takes the NDJSON export of a batch: \
         GET /v1/batches/{{id}}/tags?format=ndjson"
    )]
    Empty,
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The members of the batch's record that the export does not hold.
#[derive(Debug)]
pub(crate) struct AdoptedRecord {
    pub(crate) product_id: Uuid,
    /// The former id of the batch. The default is a new id.
    pub(crate) id: Option<Uuid>,
    pub(crate) label: Option<Label>,
    pub(crate) manufactured_at: Option<OffsetDateTime>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// Why a batch was not adopted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdopted {
    #[error("there is no product {0}")]
    NoProduct(Uuid),
    #[error("batch {id} uses the batch number {number} already; nothing was changed")]
    NumberInUse { number: u32, id: Uuid },
    #[error(
        "its tags are of epoch {0}, which was never in use here: run keyring add tag {0} and \
         keyring activate tag {0}, then add and activate a higher epoch, and repeat"
    )]
    NeverInUse(u16),
    #[error("its tags are of epoch {0}, whose secret was destroyed, so nothing can open them")]
    Destroyed(u16),
    #[error(
        "others used the batch number or id or changed the keyring during every attempt; nothing was changed"
    )]
    Overtaken,
    #[error(transparent)]
    Rejected(#[from] FactoryError),
}

#[derive(Deserialize)]
struct Row<'a> {
    index: u64,
    #[serde(borrow)]
    tag_id: Cow<'a, str>,
}

/// Reads a complete export row by row, in constant memory. Every id must be authentic, and the rows must be
/// the tags of one batch from index 0 on without a gap. Calls `progress` now and then with the number of rows
/// read.
pub(crate) fn read_export(
    mut file: impl BufRead,
    tag_keys: &TagKeys,
    mut progress: impl FnMut(u32),
) -> Result<Exported, NotAnExport> {
    let (mut found, mut line) = (None::<Exported>, Vec::with_capacity(512));
    for number in 1.. {
        line.clear();
        (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        let fail = |why: String| NotAnExport::Line { line: number, why };
        let row = line
            .strip_suffix(b"\n")
            .ok_or_else(|| fail("it has no line feed; the file is cut".to_owned()))?;
        let (index, opened) = opened_row(row, tag_keys).map_err(fail)?;
        let rows = found.map_or(0, |found| found.size);
        if index != u64::from(rows) || opened.index.get() != rows {
            let why =
                format!("it is the tag of index {}; index {rows} is missing before it", opened.index.get());
            return Err(fail(why));
        }
        let exported = Exported { batch_no: opened.batch, epoch: opened.epoch, size: rows + 1 };
        if let Some(first) =
            found.filter(|first| (first.batch_no, first.epoch) != (exported.batch_no, exported.epoch))
        {
            let why = format!(
                "it is of batch number {} and epoch {}, and the rows before it are of {} and {}",
                exported.batch_no, exported.epoch, first.batch_no, first.epoch
            );
            return Err(fail(why));
        }
        found = Some(exported);
        if exported.size.is_multiple_of(PROGRESS_EVERY) {
            progress(exported.size);
        }
    }
    found.ok_or(NotAnExport::Empty)
}

fn opened_row(row: &[u8], tag_keys: &TagKeys) -> Result<(u64, Opened), String> {
    let row: Row<'_> = serde_json::from_slice(row).map_err(|error| {
        format!("it is not a row of an NDJSON export, such as {{\"index\":0,\"tag_id\":\"…\",…}}: {error}")
    })?;
    let id: TagId = row.tag_id.parse().map_err(|_| format!("{:?} is not a tag id", row.tag_id))?;
    let opened = tag_keys.open(&id);
    let opened =
        opened.ok_or_else(|| format!("{id} is not authentic under any tag secret of this process"))?;
    if row.index > u64::from(TagIndex::MAX.get()) {
        return Err(format!("index {} is beyond the largest batch", row.index));
    }
    Ok((row.index, opened))
}

/// Writes the record of an exported batch with the event `batch.adopted`. Returns the batch, and `false` if
/// an equal record exists already.
pub(crate) async fn adopt(
    store: &Store,
    caller: &Caller,
    exported: Exported,
    record: AdoptedRecord,
) -> Result<(Batch, bool), NotAdopted> {
    match store.key_trust(exported.epoch).await?.trusted() {
        Ok(_) => {}
        Err(UntrustedKey::NeverInUse) => return Err(NotAdopted::NeverInUse(exported.epoch.get())),
        Err(UntrustedKey::Destroyed) => return Err(NotAdopted::Destroyed(exported.epoch.get())),
    }
    let product = store.read(store.catalog().product(&record.product_id)).await?;
    let product = product.ok_or(NotAdopted::NoProduct(record.product_id))?.value;
    let id = record.id.unwrap_or_else(|| store.time_and_id(caller, "batch").1);
    let label = record.label.map(Label::into_string);
    let adopted = update(store.clock(), || async {
        if let Some(stored) = store.read(store.catalog().batch_by_no(exported.batch_no)).await? {
            let stored = stored.value;
            let same =
                (stored.epoch, stored.size, stored.product_id) == (exported.epoch, exported.size, product.id);
            return match same {
                true => Ok(Update::Done((stored, false))),
                false => Err(NotAdopted::NumberInUse { number: exported.batch_no.get(), id: stored.id }),
            };
        }
        let keys = store.keys()?;
        let batch = Batch {
            id,
            tenant: product.tenant.clone(),
            batch_no: exported.batch_no,
            epoch: exported.epoch,
            size: exported.size,
            product_id: product.id,
            label: label.clone(),
            manufactured_at: record.manufactured_at,
            expires_at: record.expires_at,
            created_at: store.now(),
            revoked: None,
            recalled: None,
        };
        let tenant: TenantId = product.tenant.parse().map_err(|_| NotAdopted::NoProduct(product.id))?;
        let event = caller.event_for(&tenant, AuditAction::BatchAdopted, resource(&id), details_of(&batch));
        let unused_id = audit_chain::Precondition::Absent { key: stored_at::batch_no(&id).into() };
        let effect = creation_of(&batch).check(unused_id).check(keys.guard());
        if store.write(event, effect).await? == Written::Yes {
            return Ok(Update::Done((batch, true)));
        }
        store.refresh_keys().await;
        Ok(Update::Overtaken)
    });
    match adopted.await? {
        Update::Done(adopted) => Ok(adopted),
        Update::Overtaken => Err(NotAdopted::Overtaken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tag_id::MasterSecret;

    fn tag_keys() -> TagKeys {
        TagKeys::new(Some(MasterSecret::from([7; 32])), [])
    }

    fn row(batch: u32, epoch: u16, index: u32) -> String {
        let batch = BatchNo::new(batch).unwrap();
        let id = tag_keys().mint(Epoch::new(epoch).unwrap(), batch, TagIndex::new(index).unwrap()).unwrap();
        format!("{{\"index\":{index},\"tag_id\":\"{id}\",\"crockford\":\"x\",\"url\":\"u\"}}\n")
    }

    fn read(text: &str) -> Result<Exported, String> {
        read_export(text.as_bytes(), &tag_keys(), |_| {}).map_err(|error| error.to_string())
    }

    #[test]
    fn a_complete_export_identifies_its_batch() {
        let rows: String = (0..50).map(|index| row(7, 3, index)).collect();
        let exported = read(&rows).unwrap();
        let (batch_no, epoch) = (BatchNo::new(7).unwrap(), Epoch::new(3).unwrap());
        assert_eq!(exported, Exported { batch_no, epoch, size: 50 });
    }

    #[test]
    fn a_file_that_is_not_the_complete_export_of_one_batch_is_rejected_with_the_line() {
        let (zero, one) = (row(7, 3, 0), row(7, 3, 1));
        let forged = one.replace("-8003-", "-8004-");
        let long = format!("{{\"index\":0,\"tag_id\":\"{}\"}}\n", "x".repeat(5_000));
        for (text, says) in [
            (String::new(), "no rows"),
            ("index,tag_id,crockford,url\r\n".to_owned(), "line 1: it is not a row"),
            (one.clone(), "line 1: it is the tag of index 1; index 0 is missing"),
            (format!("{zero}{}", row(7, 3, 2)), "line 2: it is the tag of index 2; index 1 is missing"),
            (format!("{zero}{zero}"), "line 2"),
            (format!("{zero}{}", row(8, 3, 1)), "line 2: it is of batch number 8"),
            (format!("{zero}{}", row(7, 4, 1)), "line 2: it is of batch number 7 and epoch 4"),
            (format!("{zero}{forged}"), "line 2: "),
            (format!("{zero}{}", one.trim_end()), "line 2: it has no line feed"),
            (format!("{zero}\n"), "line 2: it is not a row"),
            (zero.replace("\"index\":0", "\"index\":1"), "line 1"),
            (long, "line 1: it has no line feed"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}

//! Taking a batch back from a kept export: one that was minted after the backup that was restored, and stands on labels.

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
use crate::domain::identity::Caller;
use crate::domain::input::Label;
use crate::domain::refusal::Refusal;
use crate::domain::store::{Store, Written};
use crate::domain::update::{Update, update};

/// Longest line of an export, bytes: a row has about 200 and a URL of up to 256.
const LONGEST_LINE: u64 = 4 * 1024;
/// Rows between two signs of progress.
const SHOWN_EVERY: u32 = 1_000_000;

/// What an export says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) batch_no: BatchNo,
    pub(crate) epoch: Epoch,
    pub(crate) size: u32,
}

/// Why a file is no whole export of one batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnExport {
    #[error("line {line}: {why}")]
    Line { line: u64, why: String },
    #[error(
        "it has no rows; it takes the NDJSON export of a batch: GET /v1/batches/{{id}}/tags?format=ndjson"
    )]
    Empty,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What is said of the batch besides its tags.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) product_id: Uuid,
    /// The id that it had, if that is known; a new one unless given.
    pub(crate) id: Option<Uuid>,
    pub(crate) label: Option<Label>,
    pub(crate) manufactured_at: Option<OffsetDateTime>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// Why a batch was not taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdopted {
    #[error("there is no product {0}")]
    NoProduct(Uuid),
    #[error("the number of the batch, {number}, is in use by batch {id}: nothing was changed")]
    NumberInUse { number: u32, id: Uuid },
    #[error(
        "its tags are of epoch {0}, which is not in use here: tag_keys add tag {0}, tag_keys activate tag {0}, then add and activate a new epoch above it, \
         and repeat"
    )]
    NeverInUse(u16),
    #[error("its tags are of epoch {0}, whose secret was destroyed: nobody opens them any more")]
    Destroyed(u16),
    #[error(
        "others wrote the same batch number or id, or moved the keyring, again and again; nothing was changed"
    )]
    Overtaken,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

#[derive(Deserialize)]
struct Row<'a> {
    index: u64,
    #[serde(borrow)]
    tag_id: Cow<'a, str>,
}

/// Reads a whole export row by row, in constant memory: every id must prove itself, and the rows be the tags of one batch from index 0 on
/// without a gap. `progress` is told how many rows were read.
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
        let row =
            line.strip_suffix(b"\n").ok_or_else(|| fail("it has no end: the file is cut".to_owned()))?;
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
                "it is of batch number {} and epoch {}, and those before are of {} and {}",
                exported.batch_no, exported.epoch, first.batch_no, first.epoch
            );
            return Err(fail(why));
        }
        found = Some(exported);
        if exported.size.is_multiple_of(SHOWN_EVERY) {
            progress(exported.size);
        }
    }
    found.ok_or(NotAnExport::Empty)
}

fn opened_row(row: &[u8], tag_keys: &TagKeys) -> Result<(u64, Opened), String> {
    let row: Row<'_> = serde_json::from_slice(row).map_err(|error| {
        format!("it is no row of an NDJSON export, such as {{\"index\":0,\"tag_id\":\"…\",…}}: {error}")
    })?;
    let id: TagId = row.tag_id.parse().map_err(|_| format!("{:?} is no tag id", row.tag_id))?;
    let opened = tag_keys.open(&id);
    let opened =
        opened.ok_or_else(|| format!("{id} proves itself under no tag secret that this process has"))?;
    if row.index > u64::from(TagIndex::MAX.get()) {
        return Err(format!("index {} is beyond the largest batch", row.index));
    }
    Ok((row.index, opened))
}

/// Writes the batch of an export, with the event `batch.adopted`; one that stands as it would be written is left, and says `false`.
pub(crate) async fn adopt(
    store: &Store,
    caller: &Caller,
    exported: Exported,
    said: Said,
) -> Result<(Batch, bool), NotAdopted> {
    match store.key_trust(exported.epoch).await?.trusted() {
        Ok(_) => {}
        Err(UntrustedKey::NeverInUse) => return Err(NotAdopted::NeverInUse(exported.epoch.get())),
        Err(UntrustedKey::Destroyed) => return Err(NotAdopted::Destroyed(exported.epoch.get())),
    }
    let product = store.read(store.catalog().product(&said.product_id)).await?;
    let product = product.ok_or(NotAdopted::NoProduct(said.product_id))?.value;
    let id = said.id.unwrap_or_else(|| store.stamp(caller, "batch").1);
    let label = said.label.map(Label::into_string);
    let adopted = update(store.clock(), || async {
        if let Some(standing) = store.read(store.catalog().batch_by_no(exported.batch_no)).await? {
            let standing = standing.value;
            let same = (standing.epoch, standing.size, standing.product_id)
                == (exported.epoch, exported.size, product.id);
            return match same {
                true => Ok(Update::Done((standing, false))),
                false => Err(NotAdopted::NumberInUse { number: exported.batch_no.get(), id: standing.id }),
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
            manufactured_at: said.manufactured_at,
            expires_at: said.expires_at,
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
    fn a_whole_export_says_which_batch_it_is_of() {
        let rows: String = (0..50).map(|index| row(7, 3, index)).collect();
        let exported = read(&rows).unwrap();
        let (batch_no, epoch) = (BatchNo::new(7).unwrap(), Epoch::new(3).unwrap());
        assert_eq!(exported, Exported { batch_no, epoch, size: 50 });
    }

    #[test]
    fn what_is_no_whole_export_of_one_batch_is_named_by_its_line() {
        let (zero, one) = (row(7, 3, 0), row(7, 3, 1));
        let forged = one.replace("-8003-", "-8004-");
        let long = format!("{{\"index\":0,\"tag_id\":\"{}\"}}\n", "x".repeat(5_000));
        for (text, says) in [
            (String::new(), "no rows"),
            ("index,tag_id,crockford,url\r\n".to_owned(), "line 1: it is no row"),
            (one.clone(), "line 1: it is the tag of index 1; index 0 is missing"),
            (format!("{zero}{}", row(7, 3, 2)), "line 2: it is the tag of index 2; index 1 is missing"),
            (format!("{zero}{zero}"), "line 2"),
            (format!("{zero}{}", row(8, 3, 1)), "line 2: it is of batch number 8"),
            (format!("{zero}{}", row(7, 4, 1)), "line 2: it is of batch number 7 and epoch 4"),
            (format!("{zero}{forged}"), "line 2: "),
            (format!("{zero}{}", one.trim_end()), "line 2: it has no end"),
            (format!("{zero}\n"), "line 2: it is no row"),
            (zero.replace("\"index\":0", "\"index\":1"), "line 1"),
            (long, "line 1: it has no end"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(says), "{says}: {said}");
        }
    }
}

//! Exports: all or some tags of a batch, streamed. One event says so before the first byte leaves.
//!
//! A chunk is minted on a blocking thread while the one before it is sent, and minted no earlier: an export holds two chunks
//! whatever its size and however slowly it is read. Only a few chunks are minted at once, in the order asked for, so that
//! exports slow each other down and nothing else.

use std::io;
use std::sync::Arc;

use audit_chain::{AuditAction, Details};
use bytes::Bytes;
use futures_util::{Stream, stream};
use storage::{KeyTrust, UntrustedKey};
use tag_id::TagKeys;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use uuid::Uuid;

use crate::domain::batches::{owned, resource};
use crate::domain::identity::Caller;
use crate::domain::input::FieldError;
use crate::domain::refusal::Refusal;
use crate::domain::rows::{Format, Rows};
use crate::domain::store::Store;
use crate::domain::tags::TagUrls;

const DESTROYED: &str =
    "the key that these tags were minted under is destroyed; nobody makes or opens them any more";

/// Which tags, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExportRange {
    pub(crate) format: Format,
    /// The first index.
    pub(crate) from: u64,
    /// How many; all that follow if none.
    pub(crate) limit: Option<u64>,
}

/// An export that has begun: its rows, and how many bytes they are.
pub(crate) struct Export<S> {
    pub(crate) length: u64,
    pub(crate) rows: S,
}

/// Makes exports.
pub(crate) struct Exporter {
    store: Store,
    tag_keys: Arc<TagKeys>,
    urls: TagUrls,
    minting: Arc<Semaphore>,
}

impl Exporter {
    /// `minting` has a permit for each chunk that may be minted at once.
    pub(crate) fn new(store: Store, tag_keys: Arc<TagKeys>, urls: TagUrls, minting: Arc<Semaphore>) -> Self {
        Self { store, tag_keys, urls, minting }
    }

    /// Notes the export in the audit chain and begins it.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
        id: &Uuid,
        wanted: ExportRange,
    ) -> Result<Export<impl Stream<Item = io::Result<Bytes>> + Send + use<>>, Refusal> {
        if wanted.limit == Some(0) {
            return Err(FieldError::malformed("limit", "is 0", "1 or more", 1000).into());
        }
        let batch = owned(&self.store, caller, id).await?.value;
        let from = u32::try_from(wanted.from).ok().filter(|from| *from < batch.size);
        let Some(from) = from else {
            let (held, takes) =
                (format!("is {}", wanted.from), format!("an index of the batch, 0 to {}", batch.size - 1));
            return Err(FieldError::malformed("from", held, takes, 0).into());
        };
        if self.store.key_trust(batch.epoch).await? == KeyTrust::Untrusted(UntrustedKey::Destroyed) {
            return Err(Refusal::Conflict(DESTROYED));
        }
        let rest = batch.size - from;
        let count =
            wanted.limit.and_then(|limit| u32::try_from(limit).ok()).map_or(rest, |limit| limit.min(rest));
        let minter = self.tag_keys.minter(batch.epoch).map_err(Refusal::internal)?;
        let details =
            Details::new().with("format", wanted.format.name()).with("from", from).with("count", count);
        let event = caller.event(AuditAction::BatchExported, resource(id), details);
        self.store.note(event).await?;
        let rows = Rows::new(minter, batch.batch_no, from..from + count, wanted.format, self.urls.prefix());
        Ok(Export { length: rows.length(), rows: chunks(rows, Arc::clone(&self.minting)) })
    }
}

type Minting = JoinHandle<Result<(Bytes, Rows), JoinError>>;

fn chunks(rows: Rows, minting: Arc<Semaphore>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let first = mint(rows, Arc::clone(&minting));
    stream::unfold((Some(first), minting), |(under_way, minting)| async move {
        match under_way?.await.and_then(std::convert::identity) {
            Ok((chunk, rows)) => {
                let next = (!rows.is_done()).then(|| mint(rows, Arc::clone(&minting)));
                Some((Ok(chunk), (next, minting)))
            }
            Err(gone) => Some((Err(io::Error::other(gone)), (None, minting))),
        }
    })
}

/// Mints one chunk when its turn comes. A reader that left costs no more than the chunk that was under way.
fn mint(mut rows: Rows, minting: Arc<Semaphore>) -> Minting {
    tokio::spawn(async move {
        let turn = minting.acquire_owned().await.expect("the semaphore is never closed");
        let minted = tokio::task::spawn_blocking(move || {
            let chunk = rows.next_chunk();
            drop(turn);
            (chunk, rows)
        });
        minted.await
    })
}

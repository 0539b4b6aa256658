//! Exports all or some tags of a batch as a stream. The audit event is written before the first byte is sent.
//!
//! Each chunk is minted on a blocking thread while the previous one is sent. So an export holds at most two
//! chunks, regardless of its size and of how slowly the client reads. A semaphore bounds the chunks that are
//! minted at once, in order of arrival, so that exports slow down only each other.

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
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::input::FieldError;
use crate::domain::rows::{Format, Rows};
use crate::domain::store::Store;
use crate::domain::tags::TagUrls;

const DESTROYED: &str =
    "the key that these tags were minted under is destroyed; nothing can mint or open them any more";

/// The tags to export, and the format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExportRange {
    pub(crate) format: Format,
    /// The first index.
    pub(crate) from: u64,
    /// The number of tags. The default is all that follow.
    pub(crate) limit: Option<u64>,
}

/// An export that has begun: its rows and their length in bytes.
pub(crate) struct Export<S> {
    pub(crate) length: u64,
    pub(crate) rows: S,
}

/// Exports batches.
pub(crate) struct Exporter {
    store: Store,
    tag_keys: Arc<TagKeys>,
    urls: TagUrls,
    minting: Arc<Semaphore>,
}

impl Exporter {
    /// `minting` bounds the number of chunks that are minted at once.
    pub(crate) fn new(store: Store, tag_keys: Arc<TagKeys>, urls: TagUrls, minting: Arc<Semaphore>) -> Self {
        Self { store, tag_keys, urls, minting }
    }

    /// Writes the audit event of the export and begins it.
    ///
    /// # Errors
    /// [`FactoryError::Field`] for a range outside the batch; [`FactoryError::Conflict`] if the key is
    /// destroyed.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
        id: &Uuid,
        wanted: ExportRange,
    ) -> Result<Export<impl Stream<Item = io::Result<Bytes>> + Send + use<>>, FactoryError> {
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
            return Err(FactoryError::Conflict(DESTROYED));
        }
        let rest = batch.size - from;
        let count =
            wanted.limit.and_then(|limit| u32::try_from(limit).ok()).map_or(rest, |limit| limit.min(rest));
        let minter = self.tag_keys.minter(batch.epoch).map_err(FactoryError::internal)?;
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
    stream::unfold((Some(first), minting), |(pending, minting)| async move {
        match pending?.await.and_then(std::convert::identity) {
            Ok((chunk, rows)) => {
                let next = (!rows.is_done()).then(|| mint(rows, Arc::clone(&minting)));
                Some((Ok(chunk), (next, minting)))
            }
            Err(error) => Some((Err(io::Error::other(error)), (None, minting))),
        }
    })
}

/// Mints one chunk once it has a permit. If the client disconnects, at most this chunk is minted in vain.
fn mint(mut rows: Rows, minting: Arc<Semaphore>) -> Minting {
    tokio::spawn(async move {
        let permit = minting.acquire_owned().await.expect("the semaphore is never closed");
        let minted = tokio::task::spawn_blocking(move || {
            let chunk = rows.next_chunk();
            drop(permit);
            (chunk, rows)
        });
        minted.await
    })
}

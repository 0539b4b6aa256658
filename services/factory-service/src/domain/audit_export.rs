//! Exports the audit chain: the whole chain for operators, and a tenant's view without the events of other
//! tenants.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use ambient::rfc3339;
use audit_chain::export::{ExportHeader, ExportPages};
use audit_chain::{AuditAction, Details, Head};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use keyring::{ExportedKey, KeyFamily};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::domain::checkpoints::Checkpoints;
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::store::Store;

const UNDER_WAY: &str = "an export of the chain for this tenant is under way in this process; read it to its \
                         end or close the connection";

/// The tenants whose view is being exported. Each may run one such export at a time, because it reads the
/// whole chain.
#[derive(Debug, Clone, Default)]
struct RunningViews(Arc<Mutex<HashSet<String>>>);

/// The permit of one export. Dropping it allows the tenant's next one.
struct ViewPermit(RunningViews, String);

impl Drop for ViewPermit {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl RunningViews {
    fn acquire(&self, caller: &Caller) -> Result<ViewPermit, FactoryError> {
        let tenant = caller.tenant().as_str().to_owned();
        let is_first = self.0.lock().insert(tenant.clone());
        if is_first { Ok(ViewPermit(self.clone(), tenant)) } else { Err(FactoryError::Conflict(UNDER_WAY)) }
    }
}

/// Exports the chain.
pub(crate) struct AuditExporter {
    store: Store,
    checkpoints: Arc<Checkpoints>,
    running_views: RunningViews,
}

impl AuditExporter {
    pub(crate) fn new(store: Store, checkpoints: Arc<Checkpoints>) -> Self {
        Self { store, checkpoints, running_views: RunningViews::default() }
    }

    /// Exports the whole chain with the latest checkpoint of each key, as a file that can be verified
    /// anywhere. The export's own event is written before the first byte is sent, and is part of the file.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, FactoryError> {
        let event = caller.event(AuditAction::AuditExported, "audit/*".to_owned(), Details::new());
        self.store.note(event).await?;
        self.lines(|_| true).await
    }

    /// Exports the same file with the events of the caller's tenant only, even if its key has the scope
    /// `admin`. It verifies like the whole file.
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] while another such export of the tenant runs.
    pub(crate) async fn export_view(
        &self,
        caller: &Caller,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, FactoryError> {
        let permit = self.running_views.acquire(caller)?;
        let caller = caller.clone();
        self.lines(move |event| {
            let _held_until_the_stream_ends = &permit;
            caller.owns_event(event)
        })
        .await
    }

    /// Streams the file. Events for which `shown` returns false are left out.
    async fn lines<F: Fn(&RawValue) -> bool + Send + Sync + 'static>(
        &self,
        shown: F,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<F>, FactoryError> {
        let (header, head) = self.header().await?;
        let first = stream::once(std::future::ready(Ok(Bytes::from(header.to_line()))));
        let pages = ExportPages::new(self.store.log()?.clone(), head);
        let rest = stream::try_unfold((pages, shown), |(mut pages, shown)| async move {
            let lines = pages.next(&shown).await.map_err(io::Error::other)?;
            Ok(lines.map(|lines| (Bytes::from(lines), (pages, shown))))
        });
        Ok(first.chain(rest))
    }

    async fn header(&self) -> Result<(ExportHeader, Head), FactoryError> {
        let signer = self.checkpoints.signer()?;
        let store = signer.store().clone();
        // If there is a signing key, the export ends at a fresh checkpoint, so that every entry in it is
        // signed.
        let signed = match self.checkpoints.sign().await {
            Ok(signed) => Some(signed),
            Err(FactoryError::Conflict(_)) => None,
            Err(error) => return Err(error),
        };
        let head = match &signed {
            Some(signed) => self.head_at(signed.checkpoint.size).await?,
            None => self.store.read(store.log().head()).await?,
        };
        let mut notes = store.notes().await?;
        // Another process may have signed a longer chain since. Its note covers entries that are not
        // exported.
        notes.extend(signed.map(|signed| (signed.key.get(), signed.note)));
        let notes: Vec<String> = notes.into_values().collect();
        let keys = self.store.keys()?;
        let keys =
            keys.record().family(KeyFamily::Audit).iter().map(ExportedKey::from).map(serde_json::to_value);
        let keys = keys.collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(FactoryError::internal)?;
        let exported_at = rfc3339::format(self.store.now());
        Ok((ExportHeader::new(self.checkpoints.origin(), head, exported_at, notes, keys), head))
    }

    /// Returns the head that the chain had with `size` entries.
    async fn head_at(&self, size: u64) -> Result<Head, FactoryError> {
        let log = self.store.log()?;
        let Some(last) = size.checked_sub(1) else { return Ok(log.head().await?) };
        let page = log.entries(last.checked_sub(1), NonZeroUsize::MIN).await?;
        let entry = page.events.first().filter(|entry| entry.seq == last);
        let entry = entry.ok_or_else(|| FactoryError::internal("a signed entry is missing"))?;
        Ok(Head { size, hash: entry.hash })
    }
}

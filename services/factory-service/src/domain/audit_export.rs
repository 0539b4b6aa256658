//! Exporting the audit chain: the whole of it for operators, and for whoever may read it with the events of other tenants left out.

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

use crate::domain::audit::{Audit, is_of};
use crate::domain::identity::Caller;
use crate::domain::refusal::Refusal;

const UNDER_WAY: &str = "an export of the chain for this tenant is under way in this process; read that one to its end, or leave it";

/// The tenants of whom an export of their view is under way: it reads the whole chain, so that each has one at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exporting(Arc<Mutex<HashSet<String>>>);

/// Given back when the export ends or its reader leaves.
struct Turn(Exporting, String);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Exporting {
    fn take(&self, caller: &Caller) -> Result<Turn, Refusal> {
        let tenant = caller.tenant().as_str().to_owned();
        let is_first = self.0.lock().insert(tenant.clone());
        if is_first { Ok(Turn(self.clone(), tenant)) } else { Err(Refusal::Conflict(UNDER_WAY)) }
    }
}

impl Audit {
    /// The whole chain as a file that can be verified anywhere, with the latest checkpoint of each key. One event says so
    /// before the first byte leaves, and is the last that is exported.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Refusal> {
        let event = caller.event(AuditAction::AuditExported, "audit/*".to_owned(), Details::new());
        self.store.note(event).await?;
        self.lines(|_| true).await
    }

    /// The same file with the events of the caller's tenant alone, whatever else its key may do: it verifies as the whole does.
    pub(crate) async fn export_view(
        &self,
        caller: &Caller,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Refusal> {
        let turn = self.exporting.take(caller)?;
        let caller = caller.clone();
        self.lines(move |event| {
            let _ends_with_the_stream = &turn;
            is_of(&caller, event)
        })
        .await
    }

    async fn lines<F: Fn(&RawValue) -> bool + Send + Sync + 'static>(
        &self,
        shown: F,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<F>, Refusal> {
        let (header, head) = self.header().await?;
        let first = stream::once(std::future::ready(Ok(Bytes::from(header.to_line()))));
        let pages = ExportPages::new(self.store.log()?.clone(), head);
        let rest = stream::try_unfold((pages, shown), |(mut pages, shown)| async move {
            let lines = pages.next(&shown).await.map_err(io::Error::other)?;
            Ok(lines.map(|lines| (Bytes::from(lines), (pages, shown))))
        });
        Ok(first.chain(rest))
    }

    async fn header(&self) -> Result<(ExportHeader, Head), Refusal> {
        let signer = self.checkpoints.signer()?;
        let store = signer.store().clone();
        // Signed first, where there is a key, and exported as far as that: no entry of the file is one that nobody signed.
        let signed = match self.checkpoints.sign().await {
            Ok(signed) => Some(signed),
            Err(Refusal::Conflict(_)) => None,
            Err(refusal) => return Err(refusal),
        };
        let head = match &signed {
            Some(signed) => self.head_at(signed.checkpoint.size).await?,
            None => self.store.read(store.log().head()).await?,
        };
        let mut notes = store.notes().await?;
        // Another process may have signed further since: its note speaks of more than is exported.
        notes.extend(signed.map(|signed| (signed.key.get(), signed.note)));
        let notes: Vec<String> = notes.into_values().collect();
        let keys = self.store.keys()?;
        let keys =
            keys.record().family(KeyFamily::Audit).iter().map(ExportedKey::from).map(serde_json::to_value);
        let keys = keys.collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(Refusal::internal)?;
        let exported_at = rfc3339::format(self.store.now());
        Ok((ExportHeader::new(self.checkpoints.origin(), head, exported_at, notes, keys), head))
    }

    /// Where the chain stood when it had `size` entries.
    async fn head_at(&self, size: u64) -> Result<Head, Refusal> {
        let log = self.store.log()?;
        let Some(last) = size.checked_sub(1) else { return Ok(log.head().await?) };
        let page = log.entries(last.checked_sub(1), NonZeroUsize::MIN).await?;
        let entry = page.events.first().filter(|entry| entry.seq == last);
        let entry = entry.ok_or_else(|| Refusal::internal("a signed entry is missing"))?;
        Ok(Head { size, hash: entry.hash })
    }
}

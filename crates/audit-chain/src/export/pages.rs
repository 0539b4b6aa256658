//! Exporting: the entries of the chain as lines, a page at a time.

use crate::chain::head::Head;
use crate::error::ReadError;
use crate::export::format::{end_line, entry_line};
use crate::read::log::AuditLog;
use serde_json::value::RawValue;
use std::num::NonZeroUsize;

/// Most entries that are read at once. A page ends earlier once it weighs more than 1 MiB.
const PAGE: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Reads the lines of the entries, a page at a time, and returns the last record after them.
#[derive(Debug)]
pub struct ExportPages {
    log: AuditLog,
    next: u64,
    head: Head,
    has_ended: bool,
}

impl ExportPages {
    /// Begins with the first entry and ends with `head`, which the chain must have reached.
    #[must_use]
    pub fn new(log: AuditLog, head: Head) -> Self {
        Self { log, next: 0, head, has_ended: false }
    }

    /// Returns the next lines, `None` after the last. `is_shown` decides for each event whether it is shown.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self, is_shown: impl Fn(&RawValue) -> bool) -> Result<Option<Vec<u8>>, ReadError> {
        let left = self.head.size.saturating_sub(self.next);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE.get());
        let Some(limit) = NonZeroUsize::new(limit) else {
            let has_ended = std::mem::replace(&mut self.has_ended, true);
            return Ok((!has_ended).then(|| end_line(self.head)));
        };
        let page = self.log.entries(self.next.checked_sub(1), limit).await?;
        if page.events.is_empty() {
            return Err(ReadError::Damaged { seq: self.next });
        }
        let mut lines = Vec::new();
        for entry in &page.events {
            lines.extend(entry_line(entry, is_shown(&entry.event)));
        }
        self.next += page.events.len() as u64;
        Ok(Some(lines))
    }
}

//! Verifying a range of the stored chain in constant memory. While one page is hashed the next one is read.

use crate::chain::head::Head;
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use crate::read::pages::{FetchSurplus, PageSize, element_bytes};
use crate::read::verifier::{EntryFault, Verifier, VerifyError, VerifyReport};
use crate::reply;
use redis::Value;
use std::ops::Range;

/// The result of verifying consecutive pages.
struct VerifiedPages {
    /// Stands after the last entry that was verified without a fault.
    verifier: Verifier,
    /// The fault at which verification stopped, `None` if every entry is sound.
    first_error: Option<VerifyError>,
}

impl AuditLog {
    /// Verifies the entries of `range` (cut to the chain's size), and the head where the range reaches it. A
    /// range that does not begin at 0 is verified from the hash stored before it.
    ///
    /// # Errors
    /// [`ReadError`] when the chain cannot be read. A fault of the chain itself is in the report.
    pub async fn verify(&self, range: Range<u64>) -> Result<VerifyReport, ReadError> {
        let head = self.head().await?;
        let end = range.end.min(head.size);
        let start = range.start.min(end);
        let Some(prev) = self.hash_before(start).await? else {
            let first_error = Some(VerifyError { seq: start - 1, why: EntryFault::Missing });
            return Ok(VerifyReport { ok: false, checked: 0, head, first_error });
        };
        let verifier = Verifier::following(Head { size: start, hash: prev });
        let VerifiedPages { verifier, mut first_error } = self.verify_pages(verifier, end).await?;
        if end == head.size && first_error.is_none() {
            first_error = match verifier.expect_head(head) {
                Err(fault) => Some(fault),
                Ok(()) => {
                    let surplus = self.surplus_entry(head).await?;
                    surplus.map(|seq| VerifyError { seq, why: EntryFault::Surplus })
                }
            };
        }
        Ok(verifier.report(head, first_error))
    }

    /// Verifies the entries up to `end`, or up to the first fault.
    async fn verify_pages(&self, mut verifier: Verifier, end: u64) -> Result<VerifiedPages, ReadError> {
        let mut size = PageSize::default();
        let mut span = size.span(verifier.next_seq(), end);
        let mut page = self.fetch(span.clone(), FetchSurplus::Yes).await?;
        while !span.is_empty() {
            size.learn(&page);
            let upcoming = size.span(span.end, end);
            let hashing = tokio::task::spawn_blocking(move || {
                let first_error = verify_page(&mut verifier, &page, span.end).err();
                VerifiedPages { verifier, first_error }
            });
            let (hashed, next) = tokio::join!(hashing, self.fetch(upcoming.clone(), FetchSurplus::Yes));
            let verified = hashed.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
            if verified.first_error.is_some() {
                return Ok(verified);
            }
            verifier = verified.verifier;
            (span, page) = (upcoming, next?);
        }
        Ok(VerifiedPages { verifier, first_error: None })
    }

    /// Returns the seq of the first entry that the head does not count, if there is one.
    ///
    /// The lengths are read before the head is read again. An append in between makes the head larger, never
    /// the lengths too large for it.
    async fn surplus_entry(&self, head: Head) -> Result<Option<u64>, ReadError> {
        let first = head.size / SEGMENT_ENTRIES;
        let mut counted = first * SEGMENT_ENTRIES;
        for number in [first, first + 1] {
            let mut llen = redis::cmd("LLEN");
            llen.arg(keys::segment(number));
            counted += reply::parse::<u64>(self.pool().command(llen).await?)?;
        }
        let now = self.head().await?;
        Ok((counted > now.size).then_some(now.size))
    }
}

fn verify_page(verifier: &mut Verifier, page: &[Value], end: u64) -> Result<(), VerifyError> {
    for element in page {
        if verifier.next_seq() == end {
            return Err(VerifyError { seq: end, why: EntryFault::Surplus });
        }
        verifier.push(element_bytes(element))?;
    }
    if verifier.next_seq() < end {
        return Err(VerifyError { seq: verifier.next_seq(), why: EntryFault::Missing });
    }
    Ok(())
}

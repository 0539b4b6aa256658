//! Pages of entries. A page lies in one segment and is bounded in entries and, by the weight of earlier
//! pages, in bytes.

use crate::chain::hash::{HASH_BYTES, Hash, payload_hash};
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use crate::reply;
use redis::{Cmd, Value};
use serde::Serialize;
use serde_json::value::RawValue;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

/// Entries of the first page: at 16 KiB each they weigh 1 MiB.
const SMALL_PAGE: u64 = 64;

/// Entries of a page when they are small.
const LARGE_PAGE: u64 = 512;

/// Target weight of a page, in bytes. A page that follows much lighter ones can weigh up to eight times as
/// much.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Deadline of one page. A page can weigh 8 MiB, so the pool's deadline for small commands would be too
/// short.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

/// One entry as it is shown. Its event is the stored bytes, embedded unchanged.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// The entry's place in the chain, from 0.
    pub seq: u64,
    /// The hash of the entry before it.
    pub prev: Hash,
    /// The hash of its event, computed from the stored bytes.
    pub payload_hash: Hash,
    /// The stored hash. Reading does not verify it.
    pub hash: Hash,
    /// The event's canonical bytes.
    pub event: Box<RawValue>,
}

/// A page of entries.
#[derive(Debug, Clone, Serialize)]
pub struct EntryPage {
    /// The entries in ascending order.
    pub events: Vec<EntryView>,
    /// `after_seq` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl AuditLog {
    /// Reads up to `limit` entries after entry `after_seq`, or from the first. The page ends early, with
    /// `next` set, once it weighs more than 1 MiB.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn entries(&self, after_seq: Option<u64>, limit: NonZeroUsize) -> Result<EntryPage, ReadError> {
        let head = self.head().await?;
        let start = after_seq.map_or(0, |seq| seq.saturating_add(1)).min(head.size);
        let end = start.saturating_add(limit.get() as u64).min(head.size);
        let mut prev =
            self.hash_before(start).await?.ok_or(ReadError::Damaged { seq: start.saturating_sub(1) })?;
        let mut events = Vec::new();
        let (mut bytes, mut size) = (0, PageSize::default());
        let mut at = start;
        while at < end && bytes < PAGE_BYTES {
            let span = size.span(at, end);
            let elements = self.fetch(span.clone(), FetchSurplus::No).await?;
            bytes += size.learn(&elements);
            for element in &elements {
                let view = view(at, prev, element).ok_or(ReadError::Damaged { seq: at })?;
                prev = view.hash;
                events.push(view);
                at += 1;
            }
            if at < span.end {
                return Err(ReadError::Damaged { seq: at });
            }
        }
        let next = (at < head.size && at > start).then(|| at - 1);
        Ok(EntryPage { events, next })
    }

    /// Returns the hash before entry `seq`, `None` when the entry before it does not exist.
    pub(crate) async fn hash_before(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        match seq.checked_sub(1) {
            None => Ok(Some(self.genesis().hash)),
            Some(before) => self.stored_hash(before).await,
        }
    }

    async fn stored_hash(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        let mut lindex = redis::cmd("LINDEX");
        lindex.arg(keys::segment_of(seq)).arg(keys::place_in_segment(seq));
        let element: Option<Vec<u8>> = reply::parse(self.pool().command(lindex).await?)?;
        let hash = |element: Vec<u8>| element.first_chunk().copied().map(Hash::from_bytes);
        Ok(element.and_then(hash))
    }

    /// Reads the stored elements of `span`, which lies in one segment.
    pub(crate) async fn fetch(
        &self,
        span: Range<u64>,
        surplus: FetchSurplus,
    ) -> Result<Vec<Value>, ReadError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let first = keys::place_in_segment(span.start);
        let last = keys::place_in_segment(span.end - 1);
        let beyond = u64::from(surplus == FetchSurplus::Yes && last == SEGMENT_ENTRIES - 1);
        let mut lrange = Cmd::new();
        lrange.arg("LRANGE").arg(keys::segment_of(span.start)).arg(first).arg(last + beyond);
        match self.pool().command_within(lrange, PAGE_DEADLINE).await? {
            Value::Array(elements) => Ok(elements),
            other => Err(reply::unexpected("LRANGE", &other).into()),
        }
    }
}

/// Whether a span that ends with its segment is read one element further, to find elements beyond a full
/// segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchSurplus {
    Yes,
    No,
}

/// The number of entries of the next page, from the heaviest entry of the page before.
#[derive(Debug)]
pub(crate) struct PageSize(u64);

impl Default for PageSize {
    fn default() -> Self {
        Self(SMALL_PAGE)
    }
}

impl PageSize {
    /// Returns the next page from `at`, within its segment and before `end`.
    pub(crate) fn span(&self, at: u64, end: u64) -> Range<u64> {
        let segment_end = (at / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
        at..at.saturating_add(self.0).min(segment_end).min(end).max(at)
    }

    /// Adapts to a page that was read and returns its weight, in bytes.
    pub(crate) fn learn(&mut self, elements: &[Value]) -> u64 {
        let lengths = elements.iter().map(|element| element_bytes(element).len() as u64);
        let (total, heaviest) =
            lengths.fold((0, 1), |(total, most), length| (total + length, most.max(length)));
        self.0 = (PAGE_BYTES / heaviest).clamp(SMALL_PAGE, LARGE_PAGE);
        total
    }
}

fn view(seq: u64, prev: Hash, element: &Value) -> Option<EntryView> {
    let (hash, payload) = element_bytes(element).split_first_chunk::<HASH_BYTES>()?;
    let event = RawValue::from_string(String::from_utf8(payload.to_vec()).ok()?).ok()?;
    Some(EntryView { seq, prev, payload_hash: payload_hash(payload), hash: Hash::from_bytes(*hash), event })
}

/// Returns the bytes of a stored element. List elements are always bulk strings; anything else verifies as a
/// short entry.
pub(crate) fn element_bytes(element: &Value) -> &[u8] {
    if let Value::BulkString(bytes) = element { bytes } else { &[] }
}

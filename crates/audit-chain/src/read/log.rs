//! Reading the chain: its head, pages of entries, and verifying any range in constant memory.
//!
//! Reading goes by pages of one segment each, bounded in entries and, by what the pages before weighed, in bytes. While
//! one page is hashed the next is on its way. Every look at the head is held against the highest one this process has seen.

use crate::append::script::{CHAIN_END_LUA, Found, HASH_BYTES};
use crate::chain::hash::{Hash, genesis_prev, payload_hash};
use crate::chain::head::{ChainEnd, HEAD_LUA, Head, HeadMemory, StateLoss, not_below};
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::verifier::{EntryFault, Verifier, VerifyError, VerifyReport};
use redis::{Cmd, FromRedisValue, Value};
use redis_pool::{RedisPool, Script};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Entries of the first page: at 16 KiB each they are 1 MiB.
const SMALL_PAGE: u64 = 64;

/// Entries of a page when they are small.
const LARGE_PAGE: u64 = 512;

/// What a page should weigh, in bytes. One that follows much lighter pages can weigh up to eight times as much.
const PAGE_BYTES: u64 = 1024 * 1024;

/// The deadline of one page: it may weigh 8 MiB, so the pool's own, meant for small commands, would be too short.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

static READ_END: LazyLock<Script> = LazyLock::new(|| {
    let functions = [HEAD_LUA, CHAIN_END_LUA];
    Script::new("audit-read-end", functions.concat() + include_str!("../lua/read_end.lua"))
});
static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-probe", include_str!("../lua/probe.lua")));

/// The chain as it can be read. Cheap to clone; clones share what they have seen.
#[derive(Clone)]
pub struct AuditLog {
    pool: RedisPool,
    genesis: Hash,
    memory: Arc<HeadMemory>,
}

/// One entry as it is shown: its event is the stored bytes, embedded as they are.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// The entry's place in the chain, from 0.
    pub seq: u64,
    /// The hash before it.
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
    /// In ascending order.
    pub events: Vec<EntryView>,
    /// What to ask for next, as `after_seq`, when there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl AuditLog {
    /// The chain named `origin` in the Redis of `pool`. Of one process's handles each remembers the head for itself: take
    /// [`crate::Appender::log`] where there is an appender.
    #[must_use]
    pub fn new(pool: RedisPool, origin: &str) -> Self {
        Self { pool, genesis: genesis_prev(origin), memory: Arc::default() }
    }

    pub(crate) fn pool(&self) -> &RedisPool {
        &self.pool
    }

    pub(crate) fn memory(&self) -> &HeadMemory {
        &self.memory
    }

    /// The head of a chain without entries.
    pub(crate) fn genesis(&self) -> Head {
        Head { size: 0, hash: self.genesis }
    }

    /// The head now.
    ///
    /// # Errors
    /// [`ReadError::StateLost`] when it is not at least the highest one seen, [`ReadError::Redis`] when it cannot be read.
    pub async fn head(&self) -> Result<Head, ReadError> {
        Ok(self.end().await?.head)
    }

    /// The head now, and whether the chain ends as it says. Of a chain that does not, what stands before its end can still be read.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub async fn end(&self) -> Result<ChainEnd, ReadError> {
        let (seen, least) = (self.memory.seen(), self.memory.least());
        let seen_size = seen.map_or(0, |head| head.size);
        let call =
            READ_END.invoke().key(keys::HEAD).arg(keys::SEGMENT_PREFIX).arg(SEGMENT_ENTRIES).arg(seen_size);
        let reply: Vec<Value> = call.run(&self.pool).await?;
        let found = Found::read(&reply).ok_or_else(|| unexpected(&Value::Array(reply)))?;
        let head = found.head.ok_or(StateLoss::NoHead)?;
        not_below(least, head)?;
        self.memory.accept(seen, head, found.at_expected, found.fault)?;
        Ok(ChainEnd { head: head.unwrap_or(self.genesis()), fault: found.fault })
    }

    /// The fewest entries that the chain can have: as many as this process has seen. For scripts that do not append, with
    /// [`crate::HEAD_LUA`]; to be taken before the script is sent.
    #[must_use]
    pub fn least_size(&self) -> u64 {
        self.memory.least()
    }

    /// Remembers from elsewhere that the chain has an entry: a head that is not there is a loss from now on, and no beginning.
    pub fn has_begun(&self) {
        self.memory.observe(1);
    }

    /// Tries every command that appending takes, on keys that are gone again afterwards; says which one this connection may not use.
    /// A command that fails in the middle of an append would leave half of it, since Redis does not roll back a script: it is better
    /// not to begin.
    ///
    /// # Errors
    /// See [`redis_pool::Error`].
    pub async fn probe(&self) -> Result<Option<String>, redis_pool::Error> {
        let keys = [keys::probe("text"), keys::probe("list"), keys::probe("hash"), keys::probe("zset")];
        let call = keys.iter().fold(PROBE.invoke(), |call, key| call.key(key));
        let refusal: String = call.run(&self.pool).await?;
        Ok((!refusal.is_empty()).then_some(refusal))
    }

    /// Remembers the stored head as such a script found it: from now on nothing below it is accepted.
    pub fn observe(&self, head: &[u8]) {
        if let Some(head) = Head::from_bytes(head) {
            self.memory.observe_head(head);
        }
    }

    /// Remembers from elsewhere, e.g. a file, a head that the chain has had: from now on the chain must be at least as long and hold
    /// that entry.
    pub fn remember(&self, head: Head) {
        self.memory.raise(head);
    }

    /// The highest head that is known with its hash, to be remembered elsewhere.
    #[must_use]
    pub fn highest(&self) -> Option<Head> {
        self.memory.highest()
    }

    /// The hash stored with entry `seq`; `None` where there is no such entry.
    async fn stored_hash(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        let mut lindex = redis::cmd("LINDEX");
        lindex.arg(keys::segment_of(seq)).arg(keys::place_in_segment(seq));
        let element: Option<Vec<u8>> = parse(self.pool.command(lindex).await?)?;
        let hash = |element: Vec<u8>| element.first_chunk().copied().map(Hash::from_bytes);
        Ok(element.and_then(hash))
    }

    /// Up to `limit` entries that follow entry `after_seq`, or from the first. A page is cut short, with `next` given, once it
    /// weighs more than 1 MiB.
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
            let elements = self.fetch(span.clone(), false).await?;
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

    /// Verifies the entries of `range` (cut to the chain's size), and the head where the range reaches it. A range that does
    /// not start at 0 starts from the hash stored before it.
    ///
    /// # Errors
    /// [`ReadError`] when the chain could not be read. What is wrong with the chain itself is in the report.
    pub async fn verify(&self, range: Range<u64>) -> Result<VerifyReport, ReadError> {
        let head = self.head().await?;
        let end = range.end.min(head.size);
        let start = range.start.min(end);
        let Some(prev) = self.hash_before(start).await? else {
            let first_error = Some(VerifyError { seq: start - 1, why: EntryFault::Missing });
            return Ok(VerifyReport { ok: false, checked: 0, head, first_error });
        };
        let verifier = Verifier::following(Head { size: start, hash: prev });
        let (verifier, mut outcome) = self.verify_pages(verifier, end).await?;
        if end == head.size && outcome.is_ok() {
            outcome = verifier.expect_head(head).and(self.surplus(head).await?);
        }
        Ok(verifier.report(head, outcome.err()))
    }

    async fn verify_pages(
        &self,
        mut verifier: Verifier,
        end: u64,
    ) -> Result<(Verifier, Result<(), VerifyError>), ReadError> {
        let mut size = PageSize::default();
        let mut span = size.span(verifier.next_seq(), end);
        let mut page = self.fetch(span.clone(), true).await?;
        while !span.is_empty() {
            size.learn(&page);
            let upcoming = size.span(span.end, end);
            let hashing = tokio::task::spawn_blocking(move || {
                let outcome = check_page(&mut verifier, &page, span.end);
                (verifier, outcome)
            });
            let (hashed, next) = tokio::join!(hashing, self.fetch(upcoming.clone(), true));
            let outcome;
            (verifier, outcome) = hashed.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()));
            if outcome.is_err() {
                return Ok((verifier, outcome));
            }
            (span, page) = (upcoming, next?);
        }
        Ok((verifier, Ok(())))
    }

    /// Entries after the head. The length is read before the head is read again: what is appended meanwhile only makes the
    /// head larger, never the length too large for it.
    async fn surplus(&self, head: Head) -> Result<Result<(), VerifyError>, ReadError> {
        let first = head.size / SEGMENT_ENTRIES;
        let mut counted = first * SEGMENT_ENTRIES;
        for number in [first, first + 1] {
            let mut llen = redis::cmd("LLEN");
            llen.arg(keys::segment(number));
            counted += parse::<u64>(self.pool.command(llen).await?)?;
        }
        let now = self.head().await?;
        Ok(if counted > now.size {
            Err(VerifyError { seq: now.size, why: EntryFault::Surplus })
        } else {
            Ok(())
        })
    }

    async fn hash_before(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        match seq.checked_sub(1) {
            None => Ok(Some(self.genesis)),
            Some(before) => self.stored_hash(before).await,
        }
    }

    /// The stored elements of `span`, which lies in one segment. Where it ends with its segment and `beyond` is asked for,
    /// whatever the segment holds behind its last place comes too.
    async fn fetch(&self, span: Range<u64>, beyond: bool) -> Result<Vec<Value>, ReadError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let first = keys::place_in_segment(span.start);
        let last = keys::place_in_segment(span.end - 1);
        let beyond = u64::from(beyond && last == SEGMENT_ENTRIES - 1);
        let mut lrange = Cmd::new();
        lrange.arg("LRANGE").arg(keys::segment_of(span.start)).arg(first).arg(last + beyond);
        match self.pool.command_within(lrange, PAGE_DEADLINE).await? {
            Value::Array(elements) => Ok(elements),
            other => Err(unexpected(&other)),
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("pool", &self.pool).field("seen", &self.memory.seen()).finish()
    }
}

/// How many entries the next page may have, by the heaviest one seen so far.
#[derive(Debug)]
struct PageSize(u64);

impl Default for PageSize {
    fn default() -> Self {
        Self(SMALL_PAGE)
    }
}

impl PageSize {
    /// The next page from `at`, within its segment and before `end`.
    fn span(&self, at: u64, end: u64) -> Range<u64> {
        let segment_end = (at / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
        at..at.saturating_add(self.0).min(segment_end).min(end).max(at)
    }

    /// Takes note of a page, and gives its weight in bytes.
    fn learn(&mut self, elements: &[Value]) -> u64 {
        let lengths = elements.iter().map(|element| bytes_of(element).len() as u64);
        let (total, heaviest) =
            lengths.fold((0, 1), |(total, most), length| (total + length, most.max(length)));
        self.0 = (PAGE_BYTES / heaviest).clamp(SMALL_PAGE, LARGE_PAGE);
        total
    }
}

fn check_page(verifier: &mut Verifier, page: &[Value], end: u64) -> Result<(), VerifyError> {
    for element in page {
        if verifier.next_seq() == end {
            return Err(VerifyError { seq: end, why: EntryFault::Surplus });
        }
        verifier.push(bytes_of(element))?;
    }
    if verifier.next_seq() < end {
        return Err(VerifyError { seq: verifier.next_seq(), why: EntryFault::Missing });
    }
    Ok(())
}

fn view(seq: u64, prev: Hash, element: &Value) -> Option<EntryView> {
    let (hash, payload) = bytes_of(element).split_first_chunk::<HASH_BYTES>()?;
    let event = RawValue::from_string(String::from_utf8(payload.to_vec()).ok()?).ok()?;
    Some(EntryView { seq, prev, payload_hash: payload_hash(payload), hash: Hash::from_bytes(*hash), event })
}

/// Elements of a list are always bulk strings; anything else verifies as an entry cut short.
fn bytes_of(element: &Value) -> &[u8] {
    if let Value::BulkString(bytes) = element { bytes } else { &[] }
}

fn parse<T: FromRedisValue>(value: Value) -> Result<T, ReadError> {
    redis::from_redis_value(value)
        .map_err(|error| redis_pool::Error::Reply { what: error.to_string() }.into())
}

fn unexpected(value: &Value) -> ReadError {
    redis_pool::Error::Reply { what: format!("the reply was not expected: {value:?}") }.into()
}

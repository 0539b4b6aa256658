//! Repairing a chain with [`EndFault::Surplus`]: reading the entries after the head, and removing exactly
//! these together with the event that records the repair. No entry after the head was ever acknowledged.
//!
//! [`EndFault::Surplus`]: crate::EndFault::Surplus

use crate::append::appended::Appended;
use crate::append::entry::PreparedEntry;
use crate::append::script::{self, IdRetention};
use crate::append::script_reply::AppendReply;
use crate::chain::hash::entry_hash;
use crate::chain::head::Head;
use crate::chain::memory::StateLoss;
use crate::effect::Effect;
use crate::effect::precondition::Precondition;
use crate::error::{AppendError, AppendFault, ReadError};
use crate::event::Event;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use crate::reply;
use redis::{Cmd, Value};
use sha1_smol::Sha1;
use std::time::Duration;

/// Most elements that are read. An interrupted call leaves at most 2,048.
pub const MAX_SURPLUS: u64 = 65_536;

/// Elements of a page. It is small because surplus elements can have any size.
const PAGE: u64 = 4;

/// Deadline of a page, and of the call that removes the elements.
const DEADLINE: Duration = Duration::from_secs(5);

/// One element after the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusElement {
    /// Number of the segment that holds it.
    pub segment: u64,
    /// Index in that segment, from 0.
    pub place: u64,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

/// Reads the elements after a head, from the first to the last, and then removes exactly these.
#[derive(Debug)]
pub struct SurplusTail {
    log: AuditLog,
    head: Head,
    segment: u64,
    place: u64,
    /// Whether the next segment must be read after this one.
    is_first_segment: bool,
    /// Digest of all elements read, as `tail_digest` of `lua/chain_end.lua` computes it.
    digest: String,
    entries: u64,
}

impl SurplusTail {
    /// Makes a reader of the elements after `head`.
    #[must_use]
    pub fn after(log: AuditLog, head: Head) -> Self {
        // A full segment ends with the head; elements after its last place belong to the tail.
        let (segment, place, is_first_segment) = match head.size.checked_sub(1) {
            Some(last) => (last / SEGMENT_ENTRIES, keys::place_in_segment(last) + 1, true),
            None => (0, 0, false),
        };
        Self { log, head, segment, place, is_first_segment, digest: String::new(), entries: 0 }
    }

    /// Returns the number of elements read so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Reads the next elements. Returns none after the last.
    ///
    /// # Errors
    /// [`ReadError::Redis`], also when there are more than [`MAX_SURPLUS`] elements.
    pub async fn next(&mut self) -> Result<Vec<SurplusElement>, ReadError> {
        loop {
            let mut lrange = Cmd::new();
            lrange.arg("LRANGE").arg(keys::segment(self.segment)).arg(self.place).arg(self.place + PAGE - 1);
            let page: Vec<Vec<u8>> = reply::parse(self.log.pool().command_within(lrange, DEADLINE).await?)?;
            if !page.is_empty() {
                return self.take(page);
            }
            if !std::mem::take(&mut self.is_first_segment) {
                return Ok(Vec::new());
            }
            (self.segment, self.place) = (self.segment + 1, 0);
        }
    }

    fn take(&mut self, page: Vec<Vec<u8>>) -> Result<Vec<SurplusElement>, ReadError> {
        self.entries += page.len() as u64;
        if self.entries > MAX_SURPLUS {
            let what =
                format!("more than {MAX_SURPLUS} elements follow the audit head: no write leaves so many");
            return Err(redis_pool::PoolError::Reply { what }.into());
        }
        let (segment, first) = (self.segment, self.place);
        self.place += page.len() as u64;
        let element = |(place, bytes): (u64, Vec<u8>)| {
            let digest = Sha1::from(&bytes).digest().to_string();
            self.digest = Sha1::from(format!("{}{digest}", self.digest)).digest().to_string();
            SurplusElement { segment, place, bytes }
        };
        Ok((first..).zip(page).map(element).collect())
    }

    /// Removes the elements that were read and appends `event`, in one script call. The call requires that
    /// the head is unchanged, that exactly these elements follow it, and that `guard` holds.
    ///
    /// # Errors
    /// [`AppendError::Contention`] when any of this has changed; nothing was written. Otherwise as appending
    /// fails.
    pub async fn cut(self, guard: &[Precondition], event: &Event) -> Result<Appended, AppendError> {
        let mut entry = PreparedEntry::new(event, Effect::none());
        let hash = entry_hash(self.head.size, &self.head.hash, &entry.payload_hash);
        entry.set_hash(&hash);
        let new_head = self.head.followed_by(hash).ok_or(AppendFault::Full)?;
        let expected = Some(self.head).filter(|head| head.size > 0);
        let entries = [&entry];
        let call = script::call(guard, IdRetention::PUBLIC, expected, new_head, &entries, &self.digest);
        let reply: Value = call.run_within(self.log.pool(), DEADLINE).await.map_err(call_failed)?;
        match AppendReply::read(reply).map_err(AppendError::from_redis)? {
            AppendReply::Written => {
                self.log.memory().raise(new_head);
                Ok(Appended { seq: self.head.size, hash, duplicate: false })
            }
            AppendReply::GuardFails { check } => Err(StateLoss::Guard { check }.into()),
            AppendReply::HeadMoved(_) | AppendReply::EndFault(_) | AppendReply::Rejected(_) => {
                Err(AppendError::Contention)
            }
        }
    }
}

/// Converts a failure of the call. A call without a reply may have been written.
fn call_failed(error: redis_pool::PoolError) -> AppendError {
    let may_be_applied = error.maybe_applied();
    match AppendError::from_redis(error) {
        AppendError::Unavailable { retry_after, source, .. } => {
            AppendError::Unavailable { maybe_written: may_be_applied, retry_after, source }
        }
        other => other,
    }
}

//! What stands behind the head of a chain whose write was broken off: reading it, and cutting it off together with the event that says
//! so. Nothing of it was ever acknowledged.

use crate::Appended;
use crate::append::script::{self, IdMemory, PreparedEntry, Reply};
use crate::append::waiting::from_redis;
use crate::chain::hash::entry_hash;
use crate::chain::head::{Head, StateLoss};
use crate::effect::{Effect, Precondition};
use crate::error::{AppendError, AppendFault, ReadError};
use crate::event::Event;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use redis::{Cmd, Value};
use sha1_smol::Sha1;
use std::time::Duration;

/// Most entries of a tail that is read: a call that is broken off leaves 2,048.
pub const MAX_SURPLUS: u64 = 65_536;

/// Entries of a page; somebody may have pushed large ones.
const PAGE: u64 = 4;

/// The deadline of a page, and of the call that cuts.
const DEADLINE: Duration = Duration::from_secs(5);

/// One element behind the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusElement {
    /// The segment that holds it.
    pub segment: u64,
    /// Its place there.
    pub place: u64,
    /// As it is stored.
    pub bytes: Vec<u8>,
}

/// Reads what stands behind a head, from the first element to the last, and then cuts off exactly that.
#[derive(Debug)]
pub struct SurplusTail {
    log: AuditLog,
    head: Head,
    segment: u64,
    place: u64,
    /// Whether the segment that follows is yet to be read.
    is_first: bool,
    digest: String,
    entries: u64,
}

impl SurplusTail {
    /// Of the chain that `log` reads, behind `head`.
    #[must_use]
    pub fn behind(log: AuditLog, head: Head) -> Self {
        // A segment that is full ends with the head; what may stand behind its last place is part of the tail.
        let (segment, place, is_first) = match head.size.checked_sub(1) {
            Some(last) => (last / SEGMENT_ENTRIES, keys::place_in_segment(last) + 1, true),
            None => (0, 0, false),
        };
        Self { log, head, segment, place, is_first, digest: String::new(), entries: 0 }
    }

    /// Elements read so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The next elements; none after the last.
    ///
    /// # Errors
    /// [`ReadError::Redis`], also where more than [`MAX_SURPLUS`] elements stand there.
    pub async fn next(&mut self) -> Result<Vec<SurplusElement>, ReadError> {
        loop {
            let mut lrange = Cmd::new();
            lrange.arg("LRANGE").arg(keys::segment(self.segment)).arg(self.place).arg(self.place + PAGE - 1);
            let reply = self.log.pool().command_within(lrange, DEADLINE).await?;
            let page: Vec<Vec<u8>> = redis::from_redis_value(reply)
                .map_err(|error| redis_pool::Error::Reply { what: error.to_string() })?;
            if !page.is_empty() {
                return self.take(page);
            }
            if !std::mem::take(&mut self.is_first) {
                return Ok(Vec::new());
            }
            (self.segment, self.place) = (self.segment + 1, 0);
        }
    }

    fn take(&mut self, page: Vec<Vec<u8>>) -> Result<Vec<SurplusElement>, ReadError> {
        self.entries += page.len() as u64;
        if self.entries > MAX_SURPLUS {
            let what = format!(
                "more than {MAX_SURPLUS} elements stand behind the audit head: no write leaves so many"
            );
            return Err(redis_pool::Error::Reply { what }.into());
        }
        let (segment, first) = (self.segment, self.place);
        self.place += page.len() as u64;
        let element = |(place, bytes): (u64, Vec<u8>)| {
            let own = Sha1::from(&bytes).digest().to_string();
            self.digest = Sha1::from(format!("{}{own}", self.digest)).digest().to_string();
            SurplusElement { segment, place, bytes }
        };
        Ok((first..).zip(page).map(element).collect())
    }

    /// Cuts off all that was read, and appends `event` in the same script call: provided that the head is still the same, that nothing
    /// else stands behind it than what was read, and that `guard` holds.
    ///
    /// # Errors
    /// [`AppendError::Contention`] when something of that has changed since; nothing was written then. Else as appending fails.
    pub async fn cut(self, guard: &[Precondition], event: &Event) -> Result<Appended, AppendError> {
        let mut entry = PreparedEntry::new(event, Effect::none());
        let hash = entry_hash(self.head.size, &self.head.hash, &entry.payload_hash);
        entry.set_hash(&hash);
        let new_head = self.head.followed_by(hash).ok_or(AppendFault::Full)?;
        let expected = Some(self.head).filter(|head| head.size > 0);
        let entries = [&entry];
        let call = script::call(guard, IdMemory::PUBLIC, expected, new_head, &entries, &self.digest);
        let reply: Value = call.run_within(self.log.pool(), DEADLINE).await.map_err(unsure)?;
        match script::read(reply).map_err(from_redis)? {
            Reply::Written => {
                self.log.memory().raise(new_head);
                Ok(Appended { seq: self.head.size, hash, duplicate: false })
            }
            Reply::GuardFails { check } => Err(StateLoss::Guard { check }.into()),
            Reply::HeadMoved(_) | Reply::EndFault(_) | Reply::Refused(_) => Err(AppendError::Contention),
        }
    }
}

fn unsure(error: redis_pool::Error) -> AppendError {
    let may_be_done = error.maybe_applied();
    match from_redis(error) {
        AppendError::Unavailable { retry_after, source, .. } => {
            AppendError::Unavailable { maybe_written: may_be_done, retry_after, source }
        }
        other => other,
    }
}

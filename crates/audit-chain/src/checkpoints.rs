//! The Merkle tree over the stored chain, and the signed notes about it.
//!
//! What is stored is the compact range at the size of the last note, so that the next one reads only the entries since, and
//! of those only the hashes. The range is a convenience: one that is lost, cannot be read, or is not what a note commits to that the signer
//! believes is computed anew from the first entry, and then has to agree with all those notes. A note goes into the store by one script
//! call that looks once more at everything the signer relied on.

use crate::error::ReadError;
use crate::head::{Head, StateLoss};
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::log::AuditLog;
use crate::merkle::CompactRange;
use crate::note::{Checkpoint, SignedNote};
use redis::{Cmd, FromRedisValue, Value};
use redis_pool::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use crate::hash::Hash;

/// Entries whose hashes are read with one call: with the largest payloads Redis then walks 8 MiB.
const PAGE: u64 = 512;

/// The deadline of one page, which may be heavy for Redis although its reply is small.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

static LEAF_HASHES: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-leaf-hashes", include_str!("leaf_hashes.lua")));
static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-read-checkpoints", include_str!("read_checkpoints.lua")));
static STORE: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-store-checkpoint", include_str!("store_checkpoint.lua")));

/// A record that must begin as it did when the signer looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The key of a string.
    pub key: Vec<u8>,
    /// What it begins with.
    pub prefix: Vec<u8>,
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteStored {
    /// It stands.
    Yes,
    /// One of the records begins otherwise; nothing was stored.
    Overtaken {
        /// Which, from 0.
        record: usize,
    },
    /// A larger range stands, since somebody signed further; nothing was stored.
    Behind,
}

/// The tree's right edge, from which the next note is computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    /// The tree so far.
    pub range: CompactRange,
    /// What was signed before and the tree has to agree with: nothing where a note commits to the stored range.
    pub signed: Vec<Checkpoint>,
    /// What is stored in its place and is not believed: it is replaced, whatever size it claims.
    distrusted: Vec<u8>,
}

impl From<CompactRange> for Edge {
    fn from(range: CompactRange) -> Self {
        Self { range, signed: Vec::new(), distrusted: Vec::new() }
    }
}

/// The compact range and the notes of one chain.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    log: AuditLog,
}

impl CheckpointStore {
    /// Of the chain that `log` reads.
    #[must_use]
    pub fn new(log: AuditLog) -> Self {
        Self { log }
    }

    /// The chain.
    #[must_use]
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// The stored edge, if a note commits to it that is `believed`; else that of the empty tree, and what those notes commit to.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn edge(&self, believed: impl Fn(&SignedNote) -> bool) -> Result<Edge, ReadError> {
        let call = READ.invoke().key(keys::RANGE).key(keys::NOTES);
        let (stored, notes): (Option<Vec<u8>>, BTreeMap<u16, String>) = call.run(self.log.pool()).await?;
        let read = |text: &String| {
            let note = SignedNote::parse(text.as_bytes()).ok().filter(&believed)?;
            note.checkpoint().ok()
        };
        let signed: Vec<Checkpoint> = notes.values().filter_map(read).collect();
        let distrusted = stored.unwrap_or_default();
        let commits_to = |range: &CompactRange| {
            signed.iter().any(|note| note.size == range.size() && note.root == range.root())
        };
        if let Some(range) = CompactRange::from_bytes(&distrusted).filter(commits_to) {
            return Ok(range.into());
        }
        if !distrusted.is_empty() {
            let length = distrusted.len();
            tracing::warn!(length, "the stored Merkle range is not what was signed last; computing it anew");
        }
        Ok(Edge { range: CompactRange::new(), signed, distrusted })
    }

    /// The latest signed note of each key, by number.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn notes(&self) -> Result<BTreeMap<u16, String>, ReadError> {
        self.ask(redis::cmd("HGETALL").arg(keys::NOTES)).await
    }

    /// The latest signed note of one key.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn note(&self, number: u16) -> Result<Option<String>, ReadError> {
        self.ask(redis::cmd("HGET").arg(keys::NOTES).arg(number)).await
    }

    /// Takes the hashes of the entries after `range` into it, up to `head`.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when an entry is not there, or the last one is not the head's; [`ReadError::StateLost`] when the
    /// range is larger than the chain; else as reading fails.
    pub async fn extend(&self, range: &mut CompactRange, head: Head) -> Result<(), ReadError> {
        if range.size() > head.size {
            return Err(StateLoss::HeadLower { seen: range.size(), found: head.size }.into());
        }
        match self.read_to(range, head.size).await? {
            Some(hash) if hash != head.hash => Err(ReadError::Damaged { seq: head.size - 1 }),
            _ => Ok(()),
        }
    }

    /// The roots of the chain at `sizes` (each at most the chain's), from the stored hashes: of a chain that was verified
    /// before, they are what its notes must commit to.
    ///
    /// # Errors
    /// As [`Self::extend`].
    pub async fn roots_at(
        &self,
        sizes: impl IntoIterator<Item = u64>,
    ) -> Result<BTreeMap<u64, Hash>, ReadError> {
        let sizes: BTreeSet<u64> = sizes.into_iter().collect();
        let (mut range, mut roots) = (CompactRange::new(), BTreeMap::new());
        for size in sizes {
            self.read_to(&mut range, size).await?;
            roots.insert(size, range.root());
        }
        Ok(roots)
    }

    /// Takes the hashes of the entries after `range` into it, up to `size`; gives the last one, if any was read.
    async fn read_to(&self, range: &mut CompactRange, size: u64) -> Result<Option<Hash>, ReadError> {
        let mut last = None;
        while range.size() < size {
            let at = range.size();
            let segment_end = (at / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
            let end = (at + PAGE).min(segment_end).min(size);
            let (first, beyond) = (keys::place_in_segment(at), keys::place_in_segment(end - 1));
            let call = LEAF_HASHES.invoke().key(keys::segment_of(at)).arg(first).arg(beyond);
            let hashes: Vec<u8> = call.run_within(self.log.pool(), PAGE_DEADLINE).await?;
            let (hashes, _cut_short) = hashes.as_chunks::<32>();
            for hash in hashes {
                last = Some(Hash::from_bytes(*hash));
                range.push(Hash::from_bytes(*hash));
            }
            if range.size() != end {
                return Err(ReadError::Damaged { seq: range.size().min(end) });
            }
        }
        Ok(last)
    }

    /// Stores the edge, and `note` as the latest of key `number`, provided that each of `standing` still stands.
    ///
    /// # Errors
    /// When Redis gave no usable reply; whether it was stored is then not known, and storing again does no harm.
    pub async fn store(
        &self,
        standing: &[Standing],
        edge: &Edge,
        number: u16,
        note: &str,
    ) -> Result<NoteStored, redis_pool::Error> {
        let mut call = STORE.invoke().key(keys::RANGE).key(keys::NOTES);
        standing.iter().for_each(|record| call.push_key(&record.key[..]));
        call.push_arg(edge.range.size());
        call.push_arg(edge.range.to_bytes());
        call.push_arg(number);
        call.push_arg(note);
        call.push_arg(&edge.distrusted[..]);
        standing.iter().for_each(|record| call.push_arg(&record.prefix[..]));
        let reply: i64 = call.run(self.log.pool()).await?;
        Ok(match reply {
            0 => NoteStored::Yes,
            -1 => NoteStored::Behind,
            record => NoteStored::Overtaken { record: usize::try_from(record - 1).unwrap_or_default() },
        })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ReadError> {
        let reply: Value = self.log.pool().command(command.clone()).await?;
        redis::from_redis_value(reply)
            .map_err(|error| redis_pool::Error::Reply { what: error.to_string() }.into())
    }
}

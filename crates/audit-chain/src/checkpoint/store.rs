//! Computing checkpoints of the stored chain, and storing signed ones.
//!
//! The cached range makes the next checkpoint cheap: it reads only the hashes of the entries since the last
//! one. It is trusted only if, with the chain's last hash, it yields the root of a checkpoint signed by a
//! trusted key; each hash covers all entries before it. Otherwise the tree is computed from the first entry.
//! In both cases it must agree with every larger trusted checkpoint. One script call stores a note, after
//! comparing every record that the signer relied on.

use crate::chain::hash::Hash;
use crate::chain::head::Head;
use crate::chain::memory::StateLoss;
use crate::checkpoint::cached_range::CachedRange;
use crate::checkpoint::note::{Checkpoint, SignedNote};
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use crate::reply;
use redis::{Cmd, FromRedisValue};
use redis_pool::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

/// Entries whose hashes are read with one call. With the largest payloads Redis walks 8 MiB for it.
const PAGE: u64 = 512;

/// Deadline of one page, which can be heavy for Redis although its reply is small.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

static LEAF_HASHES: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-leaf-hashes", include_str!("../lua/leaf_hashes.lua")));
static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-read-checkpoints", include_str!("../lua/read_checkpoints.lua")));
static STORE: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-store-checkpoint", include_str!("../lua/store_checkpoint.lua")));

/// A record that must still begin as it did when the signer read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPrefix {
    /// Key of a string in Redis.
    pub key: Vec<u8>,
    /// Its expected first bytes.
    pub prefix: Vec<u8>,
}

/// What storing a note did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The note and the range are stored.
    Stored,
    /// A record begins otherwise. Nothing was stored.
    RecordChanged {
        /// Index of the record, from 0.
        record: usize,
    },
    /// A larger range is stored: somebody else signed a later checkpoint. Nothing was stored.
    Behind,
}

/// What extending a range did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendOutcome {
    /// The range reaches the head.
    Complete,
    /// A signed checkpoint of `size` entries contradicts the chain.
    Contradicted {
        /// Number of entries of that checkpoint.
        size: u64,
    },
}

/// The cached range and the signed notes of one chain.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    log: AuditLog,
}

impl CheckpointStore {
    /// Makes the store of the chain that `log` reads.
    #[must_use]
    pub fn new(log: AuditLog) -> Self {
        Self { log }
    }

    /// Returns the chain's reader.
    #[must_use]
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// Reads the cached range and the latest note of each key, by key number, as of one moment.
    ///
    /// The range is empty unless the stored one is tied to the chain and to a note that `is_trusted` accepts.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn cached_range(
        &self,
        is_trusted: impl Fn(&SignedNote) -> bool,
    ) -> Result<(CachedRange, BTreeMap<u16, String>), ReadError> {
        let call = READ.invoke().key(keys::RANGE).key(keys::NOTES);
        let (stored, notes): (Option<Vec<u8>>, BTreeMap<u16, String>) = call.run(self.log.pool()).await?;
        let read = |text: &String| {
            let note = SignedNote::parse(text.as_bytes()).ok().filter(&is_trusted)?;
            note.checkpoint().ok()
        };
        let mut signed: Vec<Checkpoint> = notes.values().filter_map(read).collect();
        signed.sort_by_key(|checkpoint| checkpoint.size);
        let stored = stored.unwrap_or_default();
        if let Some(mut range) = self.tied_range(&stored, &signed).await? {
            range.agree_with(signed);
            return Ok((range, notes));
        }
        if !stored.is_empty() {
            let bytes = stored.len();
            tracing::warn!(bytes, "cached Merkle range matches no trusted checkpoint, computing it again");
        }
        Ok((CachedRange::from_first_entry(signed, stored), notes))
    }

    /// Returns the stored range with its last leaf from the chain, if one of the checkpoints commits to it.
    async fn tied_range(
        &self,
        stored: &[u8],
        signed: &[Checkpoint],
    ) -> Result<Option<CachedRange>, ReadError> {
        let Some((size, mut range)) = CachedRange::from_bytes(stored) else { return Ok(None) };
        if !signed.iter().any(|checkpoint| checkpoint.size == size) {
            return Ok(None);
        }
        match self.read_to(&mut range, size).await {
            Ok(()) => {}
            Err(ReadError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let root = range.root();
        let commits = |checkpoint: &Checkpoint| checkpoint.size == size && checkpoint.root == root;
        Ok(signed.iter().any(commits).then_some(range))
    }

    /// Reads the latest signed note of each key, by key number.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn notes(&self) -> Result<BTreeMap<u16, String>, ReadError> {
        self.read(redis::cmd("HGETALL").arg(keys::NOTES)).await
    }

    /// Reads the latest signed note of one key.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn note(&self, number: u16) -> Result<Option<String>, ReadError> {
        self.read(redis::cmd("HGET").arg(keys::NOTES).arg(number)).await
    }

    /// Extends `range` with the hashes of the entries up to `head`, and compares it with the signed
    /// checkpoints on the way.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when an entry is missing or the last hash is not the head's;
    /// [`ReadError::StateLost`] when the range is larger than the chain; [`ReadError::Redis`].
    pub async fn extend(&self, range: &mut CachedRange, head: Head) -> Result<ExtendOutcome, ReadError> {
        if range.size() > head.size {
            return Err(StateLoss::HeadLower { seen: range.size(), found: head.size }.into());
        }
        for checkpoint in range.take_signed() {
            let size = checkpoint.size;
            if size > head.size {
                return Ok(ExtendOutcome::Contradicted { size });
            }
            self.read_to(range, size).await?;
            if range.root() != checkpoint.root {
                return Ok(ExtendOutcome::Contradicted { size });
            }
        }
        self.read_to(range, head.size).await?;
        match range.last() {
            Some(last) if last != head.hash => Err(ReadError::Damaged { seq: head.size - 1 }),
            _ => Ok(ExtendOutcome::Complete),
        }
    }

    /// Computes the chain's roots at `sizes` (each at most the chain's) from the stored hashes. Checkpoints
    /// of a verified chain must commit to these roots.
    ///
    /// # Errors
    /// As [`Self::extend`].
    pub async fn roots_at(
        &self,
        sizes: impl IntoIterator<Item = u64>,
    ) -> Result<BTreeMap<u64, Hash>, ReadError> {
        let sizes: BTreeSet<u64> = sizes.into_iter().collect();
        let (mut range, mut roots) = (CachedRange::default(), BTreeMap::new());
        for size in sizes {
            self.read_to(&mut range, size).await?;
            roots.insert(size, range.root());
        }
        Ok(roots)
    }

    /// Extends `range` with the hashes of the entries up to `size`, without comparing it.
    async fn read_to(&self, range: &mut CachedRange, size: u64) -> Result<(), ReadError> {
        while range.size() < size {
            let at = range.size();
            let segment_end = (at / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
            let end = (at + PAGE).min(segment_end).min(size);
            let (first, last) = (keys::place_in_segment(at), keys::place_in_segment(end - 1));
            let call = LEAF_HASHES.invoke().key(keys::segment_of(at)).arg(first).arg(last);
            let hashes: Vec<u8> = call.run_within(self.log.pool(), PAGE_DEADLINE).await?;
            let (hashes, _cut_short) = hashes.as_chunks::<32>();
            hashes.iter().for_each(|hash| range.push(Hash::from_bytes(*hash)));
            if range.size() != end {
                return Err(ReadError::Damaged { seq: range.size().min(end) });
            }
        }
        Ok(())
    }

    /// Stores the range, and `note` as the latest note of key `number`, if every record in `relied_on` is
    /// unchanged.
    ///
    /// # Errors
    /// [`redis_pool::PoolError`]. Whether the note was stored is then unknown; storing it again is safe.
    pub async fn store(
        &self,
        relied_on: &[RecordPrefix],
        range: &CachedRange,
        number: u16,
        note: &str,
    ) -> Result<StoreOutcome, redis_pool::PoolError> {
        let mut call = STORE.invoke().key(keys::RANGE).key(keys::NOTES);
        relied_on.iter().for_each(|record| call.push_key(&record.key[..]));
        call.push_arg(range.size());
        call.push_arg(range.to_bytes());
        call.push_arg(number);
        call.push_arg(note);
        call.push_arg(range.distrusted());
        relied_on.iter().for_each(|record| call.push_arg(&record.prefix[..]));
        let reply: i64 = call.run(self.log.pool()).await?;
        Ok(match reply {
            0 => StoreOutcome::Stored,
            -1 => StoreOutcome::Behind,
            record => StoreOutcome::RecordChanged { record: usize::try_from(record - 1).unwrap_or_default() },
        })
    }

    async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ReadError> {
        Ok(reply::parse(self.log.pool().command(command.clone()).await?)?)
    }
}

//! The Merkle tree over the stored chain, and the signed notes about it.
//!
//! What is stored is the tree's edge at the size of the last note, so that the next one reads only the entries since, and of those only
//! the hashes. It is a convenience, and believed only where it is tied to both: with the hash that the chain has in its last place it
//! must give the root that a note commits to which the signer believes, and each entry's hash covers all before it. Else the tree is computed
//! anew from the first entry. Either way it has to agree with all such notes that are larger. A note goes into the store by one script
//! call that looks once more at everything the signer relied on.

use crate::chain::head::{Head, StateLoss};
use crate::checkpoint::CompactRange;
use crate::checkpoint::{Checkpoint, SignedNote};
use crate::error::ReadError;
use crate::keys::{self, SEGMENT_ENTRIES};
use crate::read::log::AuditLog;
use redis::{Cmd, FromRedisValue, Value};
use redis_pool::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use crate::chain::hash::Hash;

/// Entries whose hashes are read with one call: with the largest payloads Redis then walks 8 MiB.
const PAGE: u64 = 512;

/// The deadline of one page, which may be heavy for Redis although its reply is small.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

static LEAF_HASHES: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-leaf-hashes", include_str!("../lua/leaf_hashes.lua")));
static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-read-checkpoints", include_str!("../lua/read_checkpoints.lua")));
static STORE: LazyLock<Script> =
    LazyLock::new(|| Script::new("audit-store-checkpoint", include_str!("../lua/store_checkpoint.lua")));

/// A record that must begin as it did when the signer looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPrefix {
    /// The key of a string.
    pub key: Vec<u8>,
    /// What it begins with.
    pub prefix: Vec<u8>,
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It stands.
    Stored,
    /// One of the records begins otherwise; nothing was stored.
    RecordChanged {
        /// Which, from 0.
        record: usize,
    },
    /// A larger edge stands, since somebody signed further; nothing was stored.
    Behind,
}

/// The tree's right edge, from which the next note is computed: all leaves but the last, and the last as the chain has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedRange {
    behind: CompactRange,
    last: Option<Hash>,
    /// What was signed and the tree has to agree with when it is extended, ascending.
    signed: Vec<Checkpoint>,
    /// What is stored in its place and is not believed: it is replaced, whatever size it claims.
    distrusted: Vec<u8>,
}

impl CachedRange {
    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.behind.size() + u64::from(self.last.is_some())
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut whole = self.behind.clone();
        self.last.iter().for_each(|leaf| whole.push(*leaf));
        whole.root()
    }

    fn push(&mut self, leaf: Hash) {
        if let Some(before) = self.last.replace(leaf) {
            self.behind.push(before);
        }
    }

    /// `u64be(size)`, then all leaves but the last as a compact range.
    fn to_bytes(&self) -> Vec<u8> {
        [&self.size().to_be_bytes()[..], &self.behind.to_bytes()].concat()
    }

    /// From [`Self::to_bytes`]: how many leaves there are, and the edge without the last one.
    fn from_bytes(bytes: &[u8]) -> Option<(u64, Self)> {
        let (size, behind) = bytes.split_first_chunk::<8>()?;
        let (size, behind) = (u64::from_be_bytes(*size), CompactRange::from_bytes(behind)?);
        let fits = behind.size() == size.saturating_sub(1);
        fits.then(|| (size, Self { behind, ..Self::default() }))
    }
}

/// How an edge was extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendOutcome {
    /// It reaches the head.
    Complete,
    /// What was signed of `size` entries is not what the chain has there.
    Contradicted {
        /// Of how many entries it speaks.
        size: u64,
    },
}

/// The edge and the notes of one chain.
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

    /// The stored edge, where it is tied to the chain and to a note that is `believed`; else that of the empty tree. And the latest note of each
    /// key, as of the same moment.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn cached_range(
        &self,
        believed: impl Fn(&SignedNote) -> bool,
    ) -> Result<(CachedRange, BTreeMap<u16, String>), ReadError> {
        let call = READ.invoke().key(keys::RANGE).key(keys::NOTES);
        let (stored, notes): (Option<Vec<u8>>, BTreeMap<u16, String>) = call.run(self.log.pool()).await?;
        let read = |text: &String| {
            let note = SignedNote::parse(text.as_bytes()).ok().filter(&believed)?;
            note.checkpoint().ok()
        };
        let mut signed: Vec<Checkpoint> = notes.values().filter_map(read).collect();
        signed.sort_by_key(|checkpoint| checkpoint.size);
        let stored = stored.unwrap_or_default();
        if let Some(mut edge) = self.tied(&stored, &signed).await? {
            edge.signed = signed.into_iter().filter(|checkpoint| checkpoint.size > edge.size()).collect();
            return Ok((edge, notes));
        }
        if !stored.is_empty() {
            let length = stored.len();
            tracing::warn!(
                length,
                "the stored edge of the Merkle tree is not what was signed; computing it anew"
            );
        }
        Ok((CachedRange { signed, distrusted: stored, ..CachedRange::default() }, notes))
    }

    /// The stored edge with its last leaf from the chain, if one of the notes commits to that.
    async fn tied(&self, stored: &[u8], signed: &[Checkpoint]) -> Result<Option<CachedRange>, ReadError> {
        let Some((size, mut edge)) = CachedRange::from_bytes(stored) else { return Ok(None) };
        if !signed.iter().any(|checkpoint| checkpoint.size == size) {
            return Ok(None);
        }
        match self.read_to(&mut edge, size).await {
            Ok(()) => {}
            Err(ReadError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let root = edge.root();
        let commits = |checkpoint: &Checkpoint| checkpoint.size == size && checkpoint.root == root;
        Ok(signed.iter().any(commits).then_some(edge))
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

    /// Takes the hashes of the entries after `edge` into it, up to `head`, and holds it against what was signed on the way.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when an entry is not there, or the last one is not the head's; [`ReadError::StateLost`] when the
    /// edge is larger than the chain; else as reading fails.
    pub async fn extend(&self, edge: &mut CachedRange, head: Head) -> Result<ExtendOutcome, ReadError> {
        if edge.size() > head.size {
            return Err(StateLoss::HeadLower { seen: edge.size(), found: head.size }.into());
        }
        for checkpoint in std::mem::take(&mut edge.signed) {
            let size = checkpoint.size;
            if size > head.size {
                return Ok(ExtendOutcome::Contradicted { size });
            }
            self.read_to(edge, size).await?;
            if edge.root() != checkpoint.root {
                return Ok(ExtendOutcome::Contradicted { size });
            }
        }
        self.read_to(edge, head.size).await?;
        match edge.last {
            Some(last) if last != head.hash => Err(ReadError::Damaged { seq: head.size - 1 }),
            _ => Ok(ExtendOutcome::Complete),
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
        let (mut edge, mut roots) = (CachedRange::default(), BTreeMap::new());
        for size in sizes {
            self.read_to(&mut edge, size).await?;
            roots.insert(size, edge.root());
        }
        Ok(roots)
    }

    /// Takes the hashes of the entries after `edge` into it, up to `size`.
    async fn read_to(&self, edge: &mut CachedRange, size: u64) -> Result<(), ReadError> {
        while edge.size() < size {
            let at = edge.size();
            let segment_end = (at / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
            let end = (at + PAGE).min(segment_end).min(size);
            let (first, beyond) = (keys::place_in_segment(at), keys::place_in_segment(end - 1));
            let call = LEAF_HASHES.invoke().key(keys::segment_of(at)).arg(first).arg(beyond);
            let hashes: Vec<u8> = call.run_within(self.log.pool(), PAGE_DEADLINE).await?;
            let (hashes, _cut_short) = hashes.as_chunks::<32>();
            hashes.iter().for_each(|hash| edge.push(Hash::from_bytes(*hash)));
            if edge.size() != end {
                return Err(ReadError::Damaged { seq: edge.size().min(end) });
            }
        }
        Ok(())
    }

    /// Stores the edge, and `note` as the latest of key `number`, provided that each of `standing` still stands.
    ///
    /// # Errors
    /// When Redis gave no usable reply; whether it was stored is then not known, and storing again does no harm.
    pub async fn store(
        &self,
        standing: &[RecordPrefix],
        edge: &CachedRange,
        number: u16,
        note: &str,
    ) -> Result<StoreOutcome, redis_pool::Error> {
        let mut call = STORE.invoke().key(keys::RANGE).key(keys::NOTES);
        standing.iter().for_each(|record| call.push_key(&record.key[..]));
        call.push_arg(edge.size());
        call.push_arg(edge.to_bytes());
        call.push_arg(number);
        call.push_arg(note);
        call.push_arg(&edge.distrusted[..]);
        standing.iter().for_each(|record| call.push_arg(&record.prefix[..]));
        let reply: i64 = call.run(self.log.pool()).await?;
        Ok(match reply {
            0 => StoreOutcome::Stored,
            -1 => StoreOutcome::Behind,
            record => StoreOutcome::RecordChanged { record: usize::try_from(record - 1).unwrap_or_default() },
        })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ReadError> {
        let reply: Value = self.log.pool().command(command.clone()).await?;
        redis::from_redis_value(reply)
            .map_err(|error| redis_pool::Error::Reply { what: error.to_string() }.into())
    }
}

//! The minted-batch index: `vt1:bn` holds the size and epoch of each batch by its number.
//!
//! The append that writes a batch record also writes its index entry. The index tells a batch whose record
//! was lost from one that was never minted. [`note_all`] adds the batches that are older than the index.

use std::sync::LazyLock;
use std::time::Duration;

use audit_chain::{Precondition, RedisWrite};
use redis_pool::{RedisPool, Script};
use tag_id::{BatchNo, Epoch, TagIndex};

use crate::deployment::DeploymentGate;
use crate::deployment_record::{Deployment, StoredDeployment};
use crate::error::DeploymentError;
use crate::keys;
use crate::records::Batch;

/// Keys per `SCAN` step.
const KEYS_PER_STEP: u32 = 1_000;
/// Pause between two steps, so that other commands run in between.
const STEP_PAUSE: Duration = Duration::from_millis(2);
/// Length of an index entry in bytes: `u32be size ‖ u16be epoch`.
const ENTRY_BYTES: usize = 6;

static NOTE_MINTED: LazyLock<Script> =
    LazyLock::new(|| Script::new("note_minted", include_str!("lua/note_minted.lua")));

/// One index entry: size and epoch of the batch with that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minted {
    /// Number of tags; their indexes are 0 to `size − 1`.
    pub size: u32,
    /// Epoch of the tags.
    pub epoch: Epoch,
}

impl Minted {
    /// Parses an index entry; returns `None` if it has another length or no valid epoch.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        let [a, b, c, d, epoch @ ..] = *bytes;
        Some(Self { size: u32::from_be_bytes([a, b, c, d]), epoch: Epoch::new(u16::from_be_bytes(epoch))? })
    }

    /// Whether a tag of this index and epoch was minted.
    #[must_use]
    pub fn holds(&self, epoch: Epoch, index: TagIndex) -> bool {
        self.epoch == epoch && index.get() < self.size
    }
}

impl Batch {
    /// Returns the preconditions of creating this batch: its number is unused.
    #[must_use]
    pub fn number_is_unused(&self) -> [Precondition; 2] {
        [
            Precondition::Absent { key: keys::batch(self.batch_no).into() },
            Precondition::FieldAbsent { key: keys::MINTED.into(), field: self.batch_no.to_string().into() },
        ]
    }

    /// Returns the write that adds this batch to the index.
    #[must_use]
    pub fn note_of_minting(&self) -> RedisWrite {
        let entry = [&self.size.to_be_bytes()[..], &self.epoch.get().to_be_bytes()].concat();
        RedisWrite::FieldSet {
            key: keys::MINTED.into(),
            field: self.batch_no.to_string().into(),
            value: entry,
        }
    }
}

/// Adds all batches that are older than the index, then marks the deployment record.
///
/// Returns how many entries were added, or `None` if the record is marked and the index exists. Memory is
/// bounded, and other commands run in between. After an interruption the next call starts again; existing
/// entries stay.
///
/// # Errors
/// See [`DeploymentError`].
pub async fn note_all(pool: &RedisPool, gate: &DeploymentGate) -> Result<Option<u64>, DeploymentError> {
    let lost = |why: &str| DeploymentError::Lost(why.to_owned());
    let deployment = gate.seen().ok_or_else(|| lost("no deployment record has been seen yet"))?;
    let stored =
        StoredDeployment::read(pool).await?.ok_or_else(|| lost("the deployment record is missing"))?;
    if stored.minted_noted() && exists(pool).await? {
        return Ok(None);
    }
    let (mut cursor, mut noted) = (0_u64, 0);
    loop {
        let (next, numbers) = step(pool, cursor).await?;
        noted += note(pool, deployment, &numbers).await?;
        if next == 0 {
            break;
        }
        cursor = next;
        tokio::time::sleep(STEP_PAUSE).await;
    }
    gate.note_in_record(StoredDeployment::with_minted_noted).await?;
    Ok(Some(noted))
}

async fn exists(pool: &RedisPool) -> Result<bool, DeploymentError> {
    let mut exists = redis::cmd("EXISTS");
    exists.arg(keys::MINTED);
    Ok(matches!(pool.command(exists).await?, redis::Value::Int(1)))
}

/// Runs one `SCAN` step. Returns the next cursor, 0 at the end, and the batch numbers found.
async fn step(pool: &RedisPool, cursor: u64) -> Result<(u64, Vec<BatchNo>), DeploymentError> {
    let mut scan = redis::cmd("SCAN");
    let pattern = format!("{}*", keys::BATCH_PREFIX);
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(KEYS_PER_STEP);
    let (next, found): (u64, Vec<String>) = redis::from_redis_value(pool.command(scan).await?)
        .map_err(|error| redis_pool::PoolError::Reply { what: format!("SCAN: {error}") })?;
    let number = |key: &String| key.strip_prefix(keys::BATCH_PREFIX)?.parse().ok().and_then(BatchNo::new);
    Ok((next, found.iter().filter_map(number).collect()))
}

async fn note(
    pool: &RedisPool,
    deployment: &Deployment,
    numbers: &[BatchNo],
) -> Result<u64, DeploymentError> {
    let mut noted = 0;
    for chunk in numbers.chunks(KEYS_PER_STEP as usize) {
        let mut call = NOTE_MINTED.invoke().key(keys::DEPLOYMENT).key(keys::MINTED);
        chunk.iter().for_each(|number| call.push_key(keys::batch(*number)));
        call.push_arg(deployment.prefix());
        chunk.iter().for_each(|number| call.push_arg(number.get()));
        let reply: i64 = call.run(pool).await?;
        let why = "the deployment record is of another deployment, or the minted-batch index is not a hash";
        noted += u64::try_from(reply).map_err(|_| DeploymentError::Lost(why.to_owned()))?;
    }
    Ok(noted)
}

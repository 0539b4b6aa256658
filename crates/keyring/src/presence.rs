//! Live instances and the secrets that each holds. A key becomes active only if all of them hold its secret.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use audit_chain::Precondition;
use redis_pool::{RedisPool, Script};
use serde::{Deserialize, Serialize};

use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::number::{KeyFamily, KeyRef};
use crate::record::{KeyringEntry, Public};

/// How long an instance counts as live after its last heartbeat.
pub const INSTANCE_TTL: Duration = Duration::from_secs(10);

/// The service whose instances must hold the signing keys.
pub const SIGNING_SERVICE: &str = "factory-service";

static LIVE: LazyLock<Script> = LazyLock::new(|| Script::new("keyring-live", include_str!("lua/live.lua")));

/// What one instance announces about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Name of its service.
    pub service: String,
    /// Revision of the keyring that it read last, 0 if none.
    pub revision: u32,
    /// Check values in hex of its tag secrets, by epoch, for the epochs of that revision.
    pub tag: BTreeMap<u16, String>,
    /// Verifier keys of its signing secrets, by number.
    pub audit: BTreeMap<u16, String>,
    /// Check values in hex of its tag secrets for the epochs that follow those of that revision.
    #[serde(default)]
    pub next: BTreeMap<u16, String>,
}

impl Presence {
    /// Whether the instance holds the secret of a key.
    fn holds(&self, family: KeyFamily, entry: &KeyringEntry) -> bool {
        let number = entry.number.get();
        match (family, &entry.public) {
            (KeyFamily::Tag, Public::Check(check)) => self.tag.get(&number) == Some(check),
            (KeyFamily::Audit, Public::Vkey(vkey)) => self.audit.get(&number) == Some(&vkey.to_string()),
            _ => false,
        }
    }
}

/// The live instances, read by one script call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveInstances {
    /// The stored registration counter; `None` before the first registration.
    pub(crate) seq: Option<Vec<u8>>,
    /// The live instances.
    pub instances: Vec<Presence>,
}

impl LiveInstances {
    /// Reads all live instances.
    ///
    /// # Errors
    /// [`KeyringError::Redis`].
    pub async fn read(pool: &RedisPool) -> Result<Self, KeyringError> {
        let call = LIVE.invoke().key(keys::LIVE).key(keys::LIVE_SEQ).arg(keys::INSTANCE_PREFIX);
        let mut reply: Vec<Vec<u8>> = call.run(pool).await?;
        if reply.is_empty() {
            return Err(
                redis_pool::PoolError::Reply { what: "script keyring-live: no sequence".to_owned() }.into()
            );
        }
        let records = reply.split_off(1);
        let seq = reply.pop().filter(|seq| !seq.is_empty());
        let read = |record: Vec<u8>| {
            serde_json::from_slice(&record).map_err(|error| redis_pool::PoolError::Reply {
                what: format!("the record of an instance: {error}"),
            })
        };
        let instances = records.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { seq, instances })
    }

    /// Checks that every instance holds the secret of a tag epoch that the keyring does not have yet.
    pub(crate) fn can_follow_to(&self, key: KeyRef, check: &str) -> Result<(), MoveRefusal> {
        let number = key.number.get();
        let lacks = |instance: &&Presence| {
            let held = instance.next.get(&number).or_else(|| instance.tag.get(&number));
            held.map(String::as_str) != Some(check)
        };
        let lacking: Vec<_> = self.instances.iter().filter(lacks).collect();
        let Some(first) = lacking.first() else { return Ok(()) };
        let service = first.service.clone();
        let instances = lacking.iter().filter(|other| other.service == service).count();
        Err(MoveRefusal::Lacking { key, service, instances })
    }

    /// Returns the precondition that no instance has registered since.
    pub(crate) fn unchanged(&self) -> Precondition {
        match self.seq.clone() {
            Some(value) => Precondition::Equals { key: keys::LIVE_SEQ.into(), value },
            None => Precondition::Absent { key: keys::LIVE_SEQ.into() },
        }
    }

    /// Checks that every instance that needs the key announces its secret.
    ///
    /// Returns [`MoveRefusal::Lacking`] if an instance has read `revision` and does not announce the secret,
    /// else [`MoveRefusal::NotYetRead`] if instances without the secret have not read `revision` yet.
    pub(crate) fn can_work_with(
        &self,
        key: KeyRef,
        entry: &KeyringEntry,
        revision: u32,
    ) -> Result<(), MoveRefusal> {
        let needs =
            |instance: &&Presence| key.family == KeyFamily::Tag || instance.service == SIGNING_SERVICE;
        let without =
            || self.instances.iter().filter(needs).filter(|instance| !instance.holds(key.family, entry));
        let Some(first) = without().find(|instance| instance.revision >= revision) else {
            return match without().next() {
                Some(not_yet_read) => {
                    let service = not_yet_read.service.clone();
                    let instances = without().filter(|other| other.service == service).count();
                    Err(MoveRefusal::NotYetRead { key, service, instances })
                }
                None => Ok(()),
            };
        };
        let service = first.service.clone();
        let lacks = |other: &&Presence| other.service == service && other.revision >= revision;
        let instances = without().filter(lacks).count();
        Err(MoveRefusal::Lacking { key, service, instances })
    }
}

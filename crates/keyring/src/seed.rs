//! The first keyring record of a deployment.
//!
//! - The epoch that the factory-service is configured to mint under is active.
//! - Every other epoch in the deployment record, from before keyrings existed, is `verify_only`.
//! - The lowest signing key that the factory-service holds is active.
//!
//! The script that creates the record also marks the deployment record. A lost keyring is therefore never
//! created a second time, which would forget its revocations.

use std::sync::LazyLock;

use catalog::Deployment;
use redis_pool::{RedisPool, Script};
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::deployment::stored_deployment;
use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::number::{KeyNumber, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Public};
use crate::secrets::Secrets;
use crate::snapshot::own_check;

/// Attempts while other factory-services start at the same time.
const TRIES: u32 = 5;

static SEED: LazyLock<Script> =
    LazyLock::new(|| Script::new("keyring-seed", include_str!("lua/seed_keyring.lua")));

/// Creates the keyring record of `deployment` with tag epoch `active`, if the deployment never had one.
/// Returns whether this call created it.
///
/// # Errors
/// [`KeyringError::Lost`] if the deployment had a keyring record and it is missing; else see
/// [`KeyringError`].
pub async fn create(
    pool: &RedisPool,
    deployment: &Deployment,
    secrets: &Secrets,
    active: Epoch,
    now: OffsetDateTime,
) -> Result<bool, KeyringError> {
    let Some(Public::Check(check)) = own_check(&secrets.tags, active) else {
        return Err(MoveRefusal::NoSecret(KeyRef::tag(active)).into());
    };
    for _ in 0..TRIES {
        let stored = stored_deployment(pool, deployment).await?;
        if stored.keyring_made() {
            return match exists(pool).await? {
                true => Ok(false),
                false => {
                    Err(KeyringError::Lost("the keyring record is gone from the durable Redis".to_owned()))
                }
            };
        }
        let record = first_record(stored.tag_checks(), secrets, active, now)?;
        let amended = stored.clone().with_check(active, &check).with_keyring();
        let call = SEED.invoke().key(catalog::keys::DEPLOYMENT).key(keys::KEYRING);
        let call = call.arg(stored.bytes()).arg(amended.bytes()).arg(record.encode(1));
        match call.run::<i64>(pool).await? {
            1 => return Ok(true),
            0 => return Ok(false),
            _ => tracing::debug!("deployment record changed while the keyring was being created"),
        }
    }
    Err(KeyringError::Lost(format!("other processes changed the deployment record {TRIES} times")))
}

async fn exists(pool: &RedisPool) -> Result<bool, KeyringError> {
    let mut exists = redis::Cmd::new();
    exists.arg("EXISTS").arg(keys::KEYRING);
    Ok(pool.command(exists).await? == redis::Value::Int(1))
}

fn first_record<'a>(
    checks: impl Iterator<Item = (u16, &'a str)>,
    secrets: &Secrets,
    active: Epoch,
    now: OffsetDateTime,
) -> Result<KeyringRecord, KeyringError> {
    let mut record = KeyringRecord::default();
    for (number, check) in checks {
        let Some(number) = KeyNumber::new(number).filter(|number| number.epoch() != active) else { continue };
        let mut entry = KeyringEntry::pending(number, Public::Check(check.to_owned()), now);
        (entry.state, entry.activated_at, entry.retired_at) = (KeyState::VerifyOnly, Some(now), Some(now));
        record.tag.push(entry);
    }
    let own = own_check(&secrets.tags, active).ok_or(MoveRefusal::NoSecret(KeyRef::tag(active)))?;
    record.tag.push(first_active(active.into(), own, now));
    record.tag.sort_by_key(|entry| entry.number);
    let signing = &secrets.signing;
    if let Some((number, vkey)) = signing.numbers().find_map(|number| Some((number, signing.vkey(number)?))) {
        record.audit.push(first_active(number, Public::Vkey(vkey.clone()), now));
    }
    record.validate()?;
    Ok(record)
}

fn first_active(number: KeyNumber, public: Public, now: OffsetDateTime) -> KeyringEntry {
    let mut entry = KeyringEntry::pending(number, public, now);
    (entry.state, entry.activated_at) = (KeyState::Active, Some(now));
    entry
}

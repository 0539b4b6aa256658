//! The first keyring record of a deployment.
//!
//! It holds the epoch that the factory was told to mint under as the active one; every other epoch that the deployment knows
//! from before there was a keyring, which only verifies; and the lowest signing key that the factory holds, active. The same
//! script call notes in the deployment record that a keyring was made: a keyring that is lost is never made a second time,
//! since its revocations would be forgotten.

use std::sync::LazyLock;

use catalog::Deployment;
use redis_pool::{RedisPool, Script};
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::deployment::standing_deployment;
use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::number::{KeyNumber, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Public};
use crate::secrets::Secrets;
use crate::snapshot::own_check;

/// Tries against other factories that start at the same moment.
const TRIES: u32 = 5;

static SEED: LazyLock<Script> =
    LazyLock::new(|| Script::new("keyring-seed", include_str!("lua/seed_keyring.lua")));

/// Makes the keyring record of `deployment`, if there is none and there never was one: tag epoch `active` becomes the active
/// one. True when this call made it.
///
/// # Errors
/// See [`KeyringError`]; [`KeyringError::Lost`] where one was made before.
pub async fn make(
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
        let standing = standing_deployment(pool, deployment).await?;
        if standing.keyring_made() {
            return match read(pool).await? {
                true => Ok(false),
                false => {
                    Err(KeyringError::Lost("the keyring record is gone from the durable Redis".to_owned()))
                }
            };
        }
        let record = first_record(standing.tag_checks(), secrets, active, now)?;
        let amended = standing.clone().with_check(active, &check).with_keyring();
        let call = SEED.invoke().key(catalog::keys::DEPLOYMENT).key(keys::KEYRING);
        let call = call.arg(standing.bytes()).arg(amended.bytes()).arg(record.encode(1));
        match call.run::<i64>(pool).await? {
            1 => return Ok(true),
            0 => return Ok(false),
            _ => tracing::debug!("the deployment record was changed while the keyring was being made"),
        }
    }
    Err(KeyringError::Lost("the deployment record was changed by others, again and again".to_owned()))
}

async fn read(pool: &RedisPool) -> Result<bool, KeyringError> {
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

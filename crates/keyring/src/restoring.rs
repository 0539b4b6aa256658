//! The new tag epoch of a restored deployment.
//!
//! Tags that were minted after the backup may already be on labels, so nothing more is minted under their
//! epoch. One effect adds the new epoch, makes it active and raises the deployment record's restore
//! generation. The epoch is never pending: an instance that has seen a later state than the backup does not
//! poll the restored keyring.

use audit_chain::{Details, Effect, Precondition, RedisWrite};
use catalog::StoredDeployment;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::admin::KeyringAdmin;
use crate::error::KeyringError;
use crate::keys;
use crate::move_refusal::MoveRefusal;
use crate::moves::Move;
use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::snapshot::own_check;

/// A planned restore of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Restoring {
    /// The epoch that was active.
    pub former: Option<KeyNumber>,
    /// The epoch that is active afterwards.
    pub epoch: Epoch,
    /// Details of the audit event.
    pub details: Details,
    /// The effect to append with the event. If a precondition fails, the state has changed: plan again.
    pub effect: Effect,
}

impl KeyringAdmin {
    /// Returns the epoch after the highest of the keyring and `known`, or `None` if that is the last one.
    ///
    /// # Errors
    /// As [`Self::read`]; [`KeyringError::NotMade`].
    pub async fn next_epoch(&self, known: u16) -> Result<Option<Epoch>, KeyringError> {
        let stored = self.read().await?.ok_or(KeyringError::NotMade)?;
        let highest = stored.record.tag.iter().map(|entry| entry.number.get()).max().unwrap_or(0);
        Ok(Epoch::new(highest.max(known).saturating_add(1)))
    }

    /// Plans to raise the deployment `before` to restore generation `generation`, with `epoch` new and
    /// active.
    ///
    /// # Errors
    /// [`KeyringError::Refused`] if this process or a live instance lacks the epoch's secret, or if the epoch
    /// exists already; else as [`Self::next_epoch`].
    pub async fn plan_restore(
        &self,
        before: &StoredDeployment,
        epoch: Epoch,
        generation: u64,
        now: OffsetDateTime,
    ) -> Result<Restoring, KeyringError> {
        let key = KeyRef::tag(epoch);
        let stored = self.read().await?.ok_or(KeyringError::NotMade)?;
        let own = own_check(&self.secrets().tags, epoch).ok_or(MoveRefusal::NoSecret(key))?;
        let former = stored.record.active(KeyFamily::Tag).map(|entry| entry.number);
        let added = stored.record.after(key, &Move::Add, Some(own), now)?;
        let added = added.ok_or(MoveRefusal::Exists(key))?.record;
        let moved = added.after(key, &Move::Activate, None, now)?.ok_or(MoveRefusal::Exists(key))?;
        let entry = moved.record.entry(key).ok_or(MoveRefusal::Unknown(key))?;
        let live = self.live().await?;
        let check = entry.check().unwrap_or_default().to_owned();
        live.can_follow_to(key, &check)?;
        let revision = stored.revision.checked_add(1).ok_or(MoveRefusal::Full)?;
        let after = before.clone().with_check(epoch, &check).with_generation(generation);
        let deployment = || catalog::keys::DEPLOYMENT.into();
        let effect = Effect::none()
            .check(Precondition::Equals { key: keys::KEYRING.into(), value: stored.bytes.clone() })
            .check(Precondition::Equals { key: deployment(), value: before.bytes().to_vec() })
            .check(live.unchanged())
            .write(RedisWrite::Set { key: keys::KEYRING.into(), value: moved.record.encode(revision) })
            .write(RedisWrite::Set { key: deployment(), value: after.bytes().to_vec() });
        let details = Details::new().with("epoch", u32::from(epoch.get()));
        let details = match former {
            Some(former) => details.with("former_epoch", u32::from(former.get())),
            None => details,
        };
        Ok(Restoring { former, epoch, details, effect })
    }
}

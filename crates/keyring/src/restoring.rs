//! The new tag epoch of a restored deployment: what was minted after the backup may stand on labels, so nothing more is minted under
//! the epoch that it was minted under.
//!
//! It is added and made active in one effect, together with the deployment record's higher restore generation: nobody can be asked to
//! hold it first, since who has seen more than the backup does not hear of a restored keyring.

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

/// A restored deployment as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Restoring {
    /// The epoch that was active.
    pub former: Option<KeyNumber>,
    /// The one that is active afterwards.
    pub epoch: Epoch,
    /// The details that an event says of the keyring.
    pub details: Details,
    /// What is written with the event. A check that does not hold means that something has changed since: plan again.
    pub effect: Effect,
}

impl KeyringAdmin {
    /// The first epoch above all that the keyring has, and above `known`; `None` behind the last one there is.
    ///
    /// # Errors
    /// As reading the keyring fails.
    pub async fn next_epoch(&self, known: u16) -> Result<Option<Epoch>, KeyringError> {
        let stored = self.read().await?.ok_or(KeyringError::NotMade)?;
        let highest = stored.record.tag.iter().map(|entry| entry.number.get()).max().unwrap_or(0);
        Ok(Epoch::new(highest.max(known).saturating_add(1)))
    }

    /// Plans the deployment `before` in restore generation `generation`, with `epoch` new and active.
    ///
    /// # Errors
    /// [`KeyringError::Refused`] when this process or a live instance lacks the epoch's secret, or the epoch is there already; else as
    /// reading fails.
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

//! The keyring as this process last heard of it.

use audit_chain::Precondition;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::keys;
use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Public, Revocation, StoredKeyring};

/// Where a tag epoch stands. An epoch that the keyring does not know has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKeyState {
    /// Nothing was minted under it yet.
    Pending,
    /// New batches are minted under it.
    Active,
    /// Its tags are plainly valid.
    VerifyOnly,
    /// Its secret is, or may be, known to others.
    Revoked(Revocation),
    /// It was in use, and nobody holds its secret any more: nothing under it is believed.
    Destroyed,
    /// It was revoked before it was ever active: nothing was minted under it, and nothing will be.
    NeverInUse,
}

/// The keyring at one revision. Cheap to share, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    record: KeyringRecord,
    revision: u32,
    active: Epoch,
    /// States of tag epochs; entry `e - 1` is epoch `e`'s, as far as the highest that is known.
    tags: Vec<Option<TagKeyState>>,
}

impl Snapshot {
    /// From a record as read.
    ///
    /// # Panics
    /// Never: a record that was decoded has an active tag key.
    #[must_use]
    pub fn of(stored: &StoredKeyring) -> Self {
        let record = stored.record.clone();
        let active = record.active(KeyFamily::Tag).expect("a record that was decoded has an active tag key");
        let active = active.number.epoch();
        let highest = record.tag.last().map_or(0, |entry| usize::from(entry.number.get()));
        let mut tags = vec![None; highest];
        for entry in &record.tag {
            tags[usize::from(entry.number.get()) - 1] = Some(tag_state(entry));
        }
        Self { record, revision: stored.revision, active, tags }
    }

    /// Grows by one with each move of any key.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// All keys.
    #[must_use]
    pub fn record(&self) -> &KeyringRecord {
        &self.record
    }

    /// Where a tag epoch stands; `None` of one that was never added. One look-up, no allocation.
    #[must_use]
    pub fn tag_state(&self, epoch: Epoch) -> Option<&TagKeyState> {
        self.tags.get(usize::from(epoch.get()) - 1)?.as_ref()
    }

    /// The epoch that new batches are minted under. Bind what is minted to it with [`Self::guard`].
    #[must_use]
    pub fn active_epoch(&self) -> Epoch {
        self.active
    }

    /// The key that signs checkpoints, if there ever was one.
    #[must_use]
    pub fn active_audit_key(&self) -> Option<KeyNumber> {
        self.record.active(KeyFamily::Audit).map(|entry| entry.number)
    }

    /// Holds as long as the stored keyring is at this snapshot's revision: put it among the checks of an effect that relies
    /// on the active key.
    #[must_use]
    pub fn guard(&self) -> Precondition {
        Precondition::Prefix { key: keys::KEYRING.into(), prefix: self.revision.to_be_bytes().to_vec() }
    }

    /// The first key in use that this process cannot work with: it lacks its tag secret, or has another.
    pub(crate) fn first_not_held(&self, own: &tag_id::TagKeys) -> Option<(KeyRef, bool)> {
        self.record.tag.iter().filter(|entry| entry.is_in_use()).find_map(|entry| {
            let epoch = entry.number.epoch();
            let held = own.check_value(epoch).map(hex::encode);
            let same = held.as_deref() == entry.check();
            (!same).then_some((KeyRef::tag(epoch), held.is_some()))
        })
    }
}

fn tag_state(entry: &KeyringEntry) -> TagKeyState {
    match (entry.state, &entry.revoked) {
        (KeyState::Pending, _) => TagKeyState::Pending,
        (KeyState::Active, _) => TagKeyState::Active,
        (KeyState::VerifyOnly, _) => TagKeyState::VerifyOnly,
        (KeyState::Revoked | KeyState::Destroyed, _) if entry.activated_at.is_none() => {
            TagKeyState::NeverInUse
        }
        (KeyState::Revoked, Some(revocation)) => TagKeyState::Revoked(revocation.clone()),
        // A record that was decoded has dates with every revoked key; without them nothing of the key would be believed.
        (KeyState::Revoked, None) => TagKeyState::Revoked(Revocation {
            at: OffsetDateTime::UNIX_EPOCH,
            reason: String::new(),
            compromised_since: OffsetDateTime::UNIX_EPOCH,
        }),
        (KeyState::Destroyed, _) => TagKeyState::Destroyed,
    }
}

/// The public part of the secret that a process holds for an epoch.
pub(crate) fn own_check(tags: &tag_id::TagKeys, epoch: Epoch) -> Option<Public> {
    tags.check_value(epoch).map(|check| Public::Check(hex::encode(check)))
}

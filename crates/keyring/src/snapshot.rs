//! The keyring at one revision, as this process read it.

use audit_chain::Precondition;
use tag_id::Epoch;
use time::OffsetDateTime;

use crate::keys;
use crate::number::{KeyFamily, KeyNumber, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, Public, Revocation, StoredKeyring};

/// The state of a tag epoch. An epoch that was never added has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKeyState {
    /// Nothing was minted under it yet.
    Pending,
    /// New batches are minted under it.
    Active,
    /// Its tags are valid; nothing new is minted under it.
    VerifyOnly,
    /// Others have, or may have, its secret.
    Revoked(Revocation),
    /// It was in use, and nobody holds its secret any more. Its tags are untrusted.
    Destroyed,
    /// It was revoked or destroyed before it was ever active, so no tag was ever minted under it.
    NeverInUse,
}

/// The keyring at one revision. Immutable; share it in an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    record: KeyringRecord,
    revision: u32,
    active: Epoch,
    /// States of tag epochs up to the highest one; index `e - 1` is epoch `e`.
    tags: Vec<Option<TagKeyState>>,
}

impl Snapshot {
    /// Creates a snapshot of a decoded record.
    ///
    /// # Panics
    /// Never: decoding ensures that the record has an active tag key.
    #[must_use]
    pub fn of(stored: &StoredKeyring) -> Self {
        let record = stored.record.clone();
        let active = record.active(KeyFamily::Tag).expect("a decoded record has an active tag key");
        let active = active.number.epoch();
        let highest = record.tag.last().map_or(0, |entry| usize::from(entry.number.get()));
        let mut tags = vec![None; highest];
        for entry in &record.tag {
            tags[usize::from(entry.number.get()) - 1] = Some(tag_state(entry));
        }
        Self { record, revision: stored.revision, active, tags }
    }

    /// Returns the revision, which increases by one with each move of any key.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Returns the record with all keys.
    #[must_use]
    pub fn record(&self) -> &KeyringRecord {
        &self.record
    }

    /// Returns the state of a tag epoch, or `None` if it was never added. O(1), without allocation.
    #[must_use]
    pub fn tag_state(&self, epoch: Epoch) -> Option<&TagKeyState> {
        self.tags.get(usize::from(epoch.get()) - 1)?.as_ref()
    }

    /// Returns the epoch that new batches are minted under. The effect that writes them needs
    /// [`Self::guard`].
    #[must_use]
    pub fn active_epoch(&self) -> Epoch {
        self.active
    }

    /// Returns the key that signs checkpoints, or `None` if no signing key was ever active.
    #[must_use]
    pub fn active_audit_key(&self) -> Option<KeyNumber> {
        self.record.active(KeyFamily::Audit).map(|entry| entry.number)
    }

    /// Returns the precondition that the stored keyring is still at this revision. Every effect that relies
    /// on the active key needs it.
    #[must_use]
    pub fn guard(&self) -> Precondition {
        Precondition::Prefix { key: keys::KEYRING.into(), prefix: self.revision.to_be_bytes().to_vec() }
    }

    /// Returns the first tag key in use whose secret this process lacks, and whether it holds another secret
    /// under that number.
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
        // Unreachable, because decoding rejects a revoked key without dates. These dates trust nothing.
        (KeyState::Revoked, None) => TagKeyState::Revoked(Revocation {
            at: OffsetDateTime::UNIX_EPOCH,
            reason: String::new(),
            compromised_since: OffsetDateTime::UNIX_EPOCH,
        }),
        (KeyState::Destroyed, _) => TagKeyState::Destroyed,
    }
}

/// Returns the public part of the secret that a process holds for an epoch.
pub(crate) fn own_check(tags: &tag_id::TagKeys, epoch: Epoch) -> Option<Public> {
    tags.check_value(epoch).map(|check| Public::Check(hex::encode(check)))
}

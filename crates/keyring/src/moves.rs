//! The moves of a key, as pure functions from one record to the next: no Redis, no clock.
//!
//! ```text
//! add           → pending
//! activate      pending → active; the former active key → verify_only in the same move
//! retire        active → verify_only; the only pending key of the family → active in the same move
//! revoke        pending | verify_only → revoked
//! correct date  revoked → revoked, with an earlier or later date from which the key is untrusted
//! destroy       pending | revoked → destroyed
//! ```
//!
//! No move goes back. Repeating a move changes nothing, so an operator who got no answer can repeat it.

use ambient::rfc3339;
use audit_chain::{AuditAction, Details};
use time::OffsetDateTime;

use crate::move_refusal::MoveRefusal;
use crate::number::{KeyFamily, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, MAX_KEYS, MAX_REASON, Public, Revocation};

/// A change of a key's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Announces a new key.
    Add,
    /// Makes a pending key the active one.
    Activate,
    /// Replaces the active key by the only pending key of its family.
    Retire,
    /// States that others have, or may have, the secret.
    Revoke {
        /// 1 to 200 characters.
        reason: String,
        /// What was made with the key before this time stays trusted.
        compromised_since: OffsetDateTime,
    },
    /// Replaces `compromised_since` of a revoked key by an earlier or later time.
    CorrectDate {
        /// 1 to 200 characters; stored in the audit event only.
        reason: String,
        /// The correct time.
        compromised_since: OffsetDateTime,
    },
    /// States that nobody holds the secret any more.
    Destroy,
}

impl Move {
    /// The name of the move in commands and routes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Activate => "activate",
            Self::Retire => "retire",
            Self::Revoke { .. } => "revoke",
            Self::CorrectDate { .. } => "correct-date",
            Self::Destroy => "destroy",
        }
    }

    /// The time from which the key is untrusted after the move, if the move sets one.
    #[must_use]
    pub const fn compromised_since(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Revoke { compromised_since, .. } | Self::CorrectDate { compromised_since, .. } => {
                Some(*compromised_since)
            }
            _ => None,
        }
    }
}

/// The result of a move that changes the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    /// The record after the move.
    pub(crate) record: KeyringRecord,
    /// Action of the audit event.
    pub(crate) action: AuditAction,
    /// Details of the audit event.
    pub(crate) details: Details,
    /// The key that the move made active.
    pub(crate) activated: Option<KeyRef>,
}

impl KeyringRecord {
    fn successor(&self, family: KeyFamily) -> Result<KeyRef, MoveRefusal> {
        let mut pending = self.family(family).iter().filter(|entry| entry.state == KeyState::Pending);
        match (pending.next(), pending.count()) {
            (None, _) => Err(MoveRefusal::NoSuccessor { family }),
            (Some(only), 0) => Ok(KeyRef { family, number: only.number }),
            (Some(_), others) => Err(MoveRefusal::SeveralSuccessors { family, pending: others + 1 }),
        }
    }

    /// Returns the record after `what` at `now`, or `None` if the move was made before. `own` is the public
    /// part of the secret that this process holds under the key's number; only [`Move::Add`] needs it.
    pub(crate) fn after(
        &self,
        key: KeyRef,
        what: &Move,
        own: Option<Public>,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        if *what == Move::Add {
            return self.add(key, own, now);
        }
        let entry = self.entry(key).ok_or(MoveRefusal::Unknown(key))?.clone();
        match what {
            Move::Add => unreachable!("handled above"),
            Move::Activate => self.activate(key, &entry, now),
            Move::Retire => self.retire(key, &entry, now),
            Move::Revoke { reason, compromised_since } => {
                self.revoke(key, entry, reason, *compromised_since, now)
            }
            Move::CorrectDate { reason, compromised_since } => {
                self.correct_date(key, entry, reason, *compromised_since, now)
            }
            Move::Destroy => self.destroy(key, entry, now),
        }
    }

    fn add(
        &self,
        key: KeyRef,
        own: Option<Public>,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        let own = own.ok_or(MoveRefusal::NoSecret(key))?;
        if let Some(existing) = self.entry(key) {
            let same = existing.public == own && existing.state == KeyState::Pending;
            return if same { Ok(None) } else { Err(MoveRefusal::Exists(key)) };
        }
        if let Some(same) = self.family(key.family).iter().find(|entry| entry.public == own) {
            return Err(MoveRefusal::SameKey { key, other: KeyRef { number: same.number, ..key } });
        }
        if self.tag.len() + self.audit.len() >= MAX_KEYS {
            return Err(MoveRefusal::Full);
        }
        let details = match &own {
            Public::Check(check) => Details::new().with("check", check.as_str()),
            Public::Vkey(vkey) => Details::new().with("vkey", vkey.to_string()),
        };
        let mut record = self.clone();
        let entries = record.family_mut(key.family);
        let index = entries.partition_point(|entry| entry.number < key.number);
        entries.insert(index, KeyringEntry::pending(key.number, own, now));
        Ok(Some(Moved { record, action: AuditAction::KeyringKeyAdded, details, activated: None }))
    }

    fn activate(
        &self,
        key: KeyRef,
        entry: &KeyringEntry,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        match entry.state {
            KeyState::Active => Ok(None),
            KeyState::Pending => {
                let former = self.active(key.family).map(|former| former.number);
                let mut details = Details::new();
                if let Some(former) = former {
                    details = details.with("former", u32::from(former.get()));
                }
                let record = self.taken_over(key, now);
                Ok(Some(Moved {
                    record,
                    action: AuditAction::KeyringKeyActivated,
                    details,
                    activated: Some(key),
                }))
            }
            state => Err(MoveRefusal::Backward { key, state, verb: "activate", takes: "a pending key" }),
        }
    }

    fn retire(
        &self,
        key: KeyRef,
        entry: &KeyringEntry,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        match entry.state {
            KeyState::VerifyOnly => Ok(None),
            KeyState::Active => {
                let successor = self.successor(key.family)?;
                let details = Details::new().with("successor", u32::from(successor.number.get()));
                let record = self.taken_over(successor, now);
                Ok(Some(Moved {
                    record,
                    action: AuditAction::KeyringKeyRetired,
                    details,
                    activated: Some(successor),
                }))
            }
            state => Err(MoveRefusal::Backward { key, state, verb: "retire", takes: "the active key" }),
        }
    }

    /// Returns the record with `key` active and the former active key in `verify_only`.
    fn taken_over(&self, key: KeyRef, now: OffsetDateTime) -> Self {
        let mut record = self.clone();
        for entry in record.family_mut(key.family) {
            if entry.state == KeyState::Active {
                (entry.state, entry.retired_at) = (KeyState::VerifyOnly, Some(now));
            }
            if entry.number == key.number {
                (entry.state, entry.activated_at) = (KeyState::Active, Some(now));
            }
        }
        record
    }

    fn revoke(
        &self,
        key: KeyRef,
        mut entry: KeyringEntry,
        reason: &str,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        let details = details_of(reason, since, now)?;
        match (entry.state, &entry.revoked) {
            (KeyState::Active, _) => return Err(MoveRefusal::RevokeActive(key)),
            (KeyState::Revoked, Some(stored)) => {
                if since == stored.compromised_since {
                    return Ok(None);
                }
                let stored = rfc3339::format(stored.compromised_since);
                return Err(MoveRefusal::OtherDate { key, stored });
            }
            (KeyState::Pending | KeyState::VerifyOnly, _) => {
                entry.state = KeyState::Revoked;
                let reason = reason.to_owned();
                entry.revoked = Some(Revocation { at: now, reason, compromised_since: since });
            }
            (state, _) => {
                let takes = "a pending or verify_only key";
                return Err(MoveRefusal::Backward { key, state, verb: "revoke", takes });
            }
        }
        let record = self.with(key, entry);
        Ok(Some(Moved { record, action: AuditAction::KeyringKeyRevoked, details, activated: None }))
    }

    fn correct_date(
        &self,
        key: KeyRef,
        mut entry: KeyringEntry,
        reason: &str,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        let details = details_of(reason, since, now)?;
        let state = entry.state;
        let Some(revocation) = entry.revoked.as_mut().filter(|_| state == KeyState::Revoked) else {
            let takes = "a revoked key";
            return Err(MoveRefusal::Backward { key, state, verb: "correct-date", takes });
        };
        let former = revocation.compromised_since;
        if since == former {
            return Ok(None);
        }
        revocation.compromised_since = since;
        let details = details.with("moved_from", rfc3339::format(former));
        let record = self.with(key, entry);
        Ok(Some(Moved { record, action: AuditAction::KeyringDateCorrected, details, activated: None }))
    }

    fn destroy(
        &self,
        key: KeyRef,
        mut entry: KeyringEntry,
        now: OffsetDateTime,
    ) -> Result<Option<Moved>, MoveRefusal> {
        let state = entry.state;
        match state {
            KeyState::Destroyed => return Ok(None),
            KeyState::Pending | KeyState::Revoked => {
                (entry.state, entry.destroyed_at) = (KeyState::Destroyed, Some(now));
            }
            KeyState::Active | KeyState::VerifyOnly => {
                let takes = "a pending or revoked key";
                return Err(MoveRefusal::Backward { key, state, verb: "destroy", takes });
            }
        }
        let details = Details::new().with("former_state", state.as_str());
        let record = self.with(key, entry);
        Ok(Some(Moved { record, action: AuditAction::KeyringKeyDestroyed, details, activated: None }))
    }

    fn with(&self, key: KeyRef, changed: KeyringEntry) -> Self {
        let mut record = self.clone();
        for entry in record.family_mut(key.family) {
            if entry.number == key.number {
                entry.clone_from(&changed);
            }
        }
        record
    }
}

/// Returns the event details of a revocation or a corrected date.
fn details_of(reason: &str, since: OffsetDateTime, now: OffsetDateTime) -> Result<Details, MoveRefusal> {
    if since > now {
        return Err(MoveRefusal::Future);
    }
    if !(1..=MAX_REASON).contains(&reason.chars().count()) {
        return Err(MoveRefusal::Reason);
    }
    Ok(Details::new().with("reason", reason).with("compromised_since", rfc3339::format(since)))
}

#[cfg(test)]
mod tests;

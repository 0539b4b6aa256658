//! The moves of a key, as functions from one record to the next. They know no Redis and read no clock.
//!
//! ```text
//! add       → pending
//! activate    pending → active; the former active key → verify_only in the same move
//! retire      active → verify_only; the only pending key of the family becomes active in the same move
//! revoke        pending | verify_only → revoked
//! correct date  revoked → revoked, with another date since when it is not to be believed, earlier or later
//! destroy       pending | revoked → destroyed
//! ```
//!
//! No state leads back. A move that was made already changes nothing, so an operator who got no answer may repeat it.

use ambient::rfc3339;
use audit_chain::{AuditAction, Details};
use time::OffsetDateTime;

use crate::move_refusal::MoveRefusal;
use crate::number::{KeyFamily, KeyRef};
use crate::record::{KeyState, KeyringEntry, KeyringRecord, MAX_KEYS, Public, Revocation};

/// Longest reason of a revocation, characters: see [`MAX_KEYS`].
pub const MAX_REASON: usize = 200;

/// What to do with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Announce it.
    Add,
    /// Make it the active one.
    Activate,
    /// Let the only pending key of its family take over from it.
    Retire,
    /// Say that others have, or may have, its secret.
    Revoke {
        /// 1 to 200 characters.
        reason: String,
        /// What was made with it before this is believed.
        compromised_since: OffsetDateTime,
    },
    /// Say that a revoked key may have been misused since another time than was said, earlier or later.
    CorrectDate {
        /// 1 to 200 characters; it stands in the audit event.
        reason: String,
        /// The right date.
        compromised_since: OffsetDateTime,
    },
    /// Say that nobody holds its secret any more.
    Destroy,
}

impl Move {
    /// As an operator names it.
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

    /// Since when the key is not to be believed after the move, where it says so.
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

/// A move that changes something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    /// The record after it.
    pub(crate) record: KeyringRecord,
    /// The audit event's action.
    pub(crate) action: AuditAction,
    /// The audit event's details.
    pub(crate) details: Details,
    /// The key that became active by it.
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

    /// The record after `what` at `now`; `None` where it is so already. `own` is the public part of the secret that this
    /// process holds under the key's number: only adding asks for it.
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
        if let Some(standing) = self.entry(key) {
            let same = standing.public == own && standing.state == KeyState::Pending;
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
        let place = entries.partition_point(|entry| entry.number < key.number);
        entries.insert(place, KeyringEntry::pending(key.number, own, now));
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

    /// The record in which `key` is the active one, and the former active key only verifies.
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
            (KeyState::Revoked, Some(standing)) => {
                if since == standing.compromised_since {
                    return Ok(None);
                }
                return Err(MoveRefusal::OtherDate {
                    key,
                    stands: rfc3339::format(standing.compromised_since),
                });
            }
            (KeyState::Pending | KeyState::VerifyOnly, _) => {
                entry.state = KeyState::Revoked;
                let reason = reason.to_owned();
                entry.revoked = Some(Revocation { at: now, reason, compromised_since: since });
            }
            (state, _) => {
                let takes = "a pending or a verify_only key";
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
        let Some(standing) = entry.revoked.as_mut().filter(|_| state == KeyState::Revoked) else {
            let takes = "a revoked key";
            return Err(MoveRefusal::Backward { key, state, verb: "correct-date", takes });
        };
        let former = standing.compromised_since;
        if since == former {
            return Ok(None);
        }
        standing.compromised_since = since;
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
                let takes = "a pending or a revoked key";
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

/// What the event of a revocation or of a corrected date says.
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
mod tests {
    use super::*;
    use crate::number::KeyNumber;
    use crate::record::StoredKeyring;
    use proptest::prelude::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-02-16 12:00 UTC);

    fn number(number: u16) -> KeyNumber {
        KeyNumber::new(number).unwrap()
    }

    fn tag(of: u16) -> KeyRef {
        KeyRef { family: KeyFamily::Tag, number: number(of) }
    }

    fn check(of: u16) -> Option<Public> {
        Some(Public::Check(format!("{of:032x}")))
    }

    /// A keyring as a factory makes it: tag key 1 active.
    fn first() -> KeyringRecord {
        let mut entry = KeyringEntry::pending(number(1), check(1).unwrap(), NOW);
        (entry.state, entry.activated_at) = (KeyState::Active, Some(NOW));
        KeyringRecord { tag: vec![entry], audit: Vec::new() }
    }

    fn made(record: &KeyringRecord, key: KeyRef, what: &Move, at: OffsetDateTime) -> KeyringRecord {
        let moved =
            record.after(key, what, check(key.number.get()), at).unwrap().expect("it changes something");
        moved.record.validate().unwrap();
        moved.record
    }

    fn refused(record: &KeyringRecord, key: KeyRef, what: &Move) -> MoveRefusal {
        record.after(key, what, check(key.number.get()), NOW).unwrap_err()
    }

    fn revoke(since: OffsetDateTime) -> Move {
        Move::Revoke { reason: "leaked".to_owned(), compromised_since: since }
    }

    fn correct(since: OffsetDateTime) -> Move {
        Move::CorrectDate { reason: "a mistyped year".to_owned(), compromised_since: since }
    }

    fn states(record: &KeyringRecord) -> Vec<(u16, KeyState)> {
        record.tag.iter().map(|entry| (entry.number.get(), entry.state)).collect()
    }

    #[test]
    fn a_rotation_goes_through_all_states_and_keeps_every_date() {
        let later = |hours| NOW + Duration::hours(hours);
        let record = made(&first(), tag(2), &Move::Add, later(1));
        assert_eq!(states(&record), [(1, KeyState::Active), (2, KeyState::Pending)]);
        let moved = record.after(tag(2), &Move::Activate, None, later(2)).unwrap().unwrap();
        assert_eq!((moved.action, moved.activated), (AuditAction::KeyringKeyActivated, Some(tag(2))));
        let record = moved.record;
        assert_eq!(states(&record), [(1, KeyState::VerifyOnly), (2, KeyState::Active)]);
        let record = made(&record, tag(1), &revoke(later(1)), later(3));
        let record = made(&record, tag(1), &Move::Destroy, later(4));
        assert_eq!(states(&record), [(1, KeyState::Destroyed), (2, KeyState::Active)]);
        let entry = &record.tag[0];
        assert_eq!((entry.added_at, entry.activated_at, entry.retired_at), (NOW, Some(NOW), Some(later(2))));
        let revoked = entry.revoked.as_ref().unwrap();
        assert_eq!((revoked.at, revoked.compromised_since, &*revoked.reason), (later(3), later(1), "leaked"));
        assert_eq!(entry.destroyed_at, Some(later(4)));
        assert_eq!(StoredKeyring::decode(record.encode(7)).unwrap().record, record);
    }

    #[test]
    fn retiring_needs_exactly_one_that_can_take_over() {
        assert_eq!(
            refused(&first(), tag(1), &Move::Retire),
            MoveRefusal::NoSuccessor { family: KeyFamily::Tag }
        );
        let two = made(&made(&first(), tag(2), &Move::Add, NOW), tag(3), &Move::Add, NOW);
        let several = MoveRefusal::SeveralSuccessors { family: KeyFamily::Tag, pending: 2 };
        assert_eq!(refused(&two, tag(1), &Move::Retire), several);
        let one = made(&two, tag(3), &Move::Destroy, NOW);
        let moved = one.after(tag(1), &Move::Retire, None, NOW).unwrap().unwrap();
        assert_eq!((moved.action, moved.activated), (AuditAction::KeyringKeyRetired, Some(tag(2))));
        let expected = [(1, KeyState::VerifyOnly), (2, KeyState::Active), (3, KeyState::Destroyed)];
        assert_eq!(states(&moved.record), expected);
    }

    #[test]
    fn what_was_done_already_changes_nothing() {
        let record = made(&first(), tag(2), &Move::Add, NOW);
        let mut again = vec![(record.clone(), tag(2), Move::Add), (record.clone(), tag(1), Move::Activate)];
        let record = made(&record, tag(2), &Move::Activate, NOW);
        again.push((record.clone(), tag(2), Move::Activate));
        again.push((record.clone(), tag(1), Move::Retire));
        let record = made(&record, tag(1), &revoke(NOW), NOW);
        again.push((record.clone(), tag(1), revoke(NOW)));
        let record = made(&record, tag(1), &Move::Destroy, NOW);
        again.push((record, tag(1), Move::Destroy));
        for (record, key, what) in again {
            assert_eq!(record.after(key, &what, check(key.number.get()), NOW), Ok(None), "{what:?}");
        }
    }

    #[test]
    fn a_date_is_corrected_in_both_directions_by_a_move_of_its_own_and_never_into_the_future() {
        let record = made(&made(&first(), tag(2), &Move::Add, NOW), tag(2), &Move::Activate, NOW);
        assert_eq!(refused(&record, tag(1), &revoke(NOW + Duration::milliseconds(1))), MoveRefusal::Future);
        let record = made(&record, tag(1), &revoke(NOW - Duration::hours(2)), NOW);
        for hours in [1, 3] {
            let other = refused(&record, tag(1), &revoke(NOW - Duration::hours(hours)));
            assert_eq!(
                other,
                MoveRefusal::OtherDate { key: tag(1), stands: "2026-02-16T10:00:00.000Z".to_owned() }
            );
            let moved =
                record.after(tag(1), &correct(NOW - Duration::hours(hours)), None, NOW).unwrap().unwrap();
            assert_eq!(moved.action, AuditAction::KeyringDateCorrected);
            assert!(moved.details.get("moved_from").is_some() && moved.details.get("reason").is_some());
            let revoked = moved.record.tag[0].revoked.as_ref().unwrap();
            assert_eq!((revoked.compromised_since, revoked.at), (NOW - Duration::hours(hours), NOW));
            assert_eq!((moved.record.tag[0].state, &*revoked.reason), (KeyState::Revoked, "leaked"));
        }
        assert_eq!(record.after(tag(1), &correct(NOW - Duration::hours(2)), None, NOW), Ok(None));
        assert_eq!(refused(&record, tag(1), &correct(NOW + Duration::milliseconds(1))), MoveRefusal::Future);
        let empty = Move::CorrectDate { reason: String::new(), compromised_since: NOW };
        assert_eq!(refused(&record, tag(1), &empty), MoveRefusal::Reason);
        assert!(refused(&record, tag(2), &correct(NOW)).to_string().contains("takes a revoked key"));
        let destroyed = made(&record, tag(1), &Move::Destroy, NOW);
        assert!(matches!(refused(&destroyed, tag(1), &correct(NOW)), MoveRefusal::Backward { .. }));
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        let record = made(&first(), tag(2), &Move::Add, NOW);
        assert_eq!(refused(&record, tag(9), &Move::Activate), MoveRefusal::Unknown(tag(9)));
        assert_eq!(refused(&record, tag(1), &revoke(NOW)), MoveRefusal::RevokeActive(tag(1)));
        assert_eq!(refused(&record, tag(1), &Move::Add), MoveRefusal::Exists(tag(1)));
        assert_eq!(record.after(tag(3), &Move::Add, None, NOW), Err(MoveRefusal::NoSecret(tag(3))));
        assert_eq!(record.after(tag(2), &Move::Add, check(5), NOW), Err(MoveRefusal::Exists(tag(2))));
        let same = MoveRefusal::SameKey { key: tag(3), other: tag(2) };
        assert_eq!(record.after(tag(3), &Move::Add, check(2), NOW), Err(same));
        assert!(refused(&record, tag(1), &Move::Destroy).to_string().contains("destroy takes"));
        for reason in [String::new(), "x".repeat(MAX_REASON + 1)] {
            let what = Move::Revoke { reason, compromised_since: NOW };
            assert_eq!(refused(&record, tag(2), &what), MoveRefusal::Reason);
        }
    }

    #[test]
    fn a_full_keyring_with_the_longest_reasons_still_fits_one_effect_twice() {
        let mut record = first();
        for of in 2..=u16::try_from(MAX_KEYS).unwrap() {
            record = made(&record, tag(of), &Move::Add, NOW);
            let reason = "\u{10ffff}".repeat(MAX_REASON);
            record = made(&record, tag(of), &Move::Revoke { reason, compromised_since: NOW }, NOW);
        }
        assert_eq!(refused(&record, tag(4_000), &Move::Add), MoveRefusal::Full);
        assert!(
            2 * record.encode(1).len() + 16 * 1024 < audit_chain::MAX_EFFECT_BYTES,
            "{}",
            record.encode(1).len()
        );
    }

    /// The states a move may start from, written down apart from the moves.
    fn may(what: &Move, from: KeyState) -> bool {
        match what {
            Move::Add => false,
            Move::Activate => from == KeyState::Pending,
            Move::Retire => from == KeyState::Active,
            Move::Revoke { .. } => [KeyState::Pending, KeyState::VerifyOnly].contains(&from),
            Move::CorrectDate { .. } => from == KeyState::Revoked,
            Move::Destroy => [KeyState::Pending, KeyState::Revoked].contains(&from),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_tried_states_only_go_forward_and_one_key_is_active(
            tries in prop::collection::vec((1_u16..6, 0_u8..6, -5_i64..5), 1..60),
        ) {
            let mut record = first();
            for (step, (of, what, hours)) in tries.into_iter().enumerate() {
                let now = NOW + Duration::minutes(i64::try_from(step).unwrap());
                let since = now + Duration::hours(hours);
                let what = [Move::Add, Move::Activate, Move::Retire, revoke(since), Move::Destroy, correct(since)][usize::from(what)].clone();
                let before = record.entry(tag(of)).cloned();
                let Ok(Some(moved)) = record.after(tag(of), &what, check(of), now) else { continue };
                match &before {
                    None => prop_assert_eq!(&what, &Move::Add),
                    Some(before) => prop_assert!(may(&what, before.state), "{:?} of {:?}", what, before),
                }
                for old in &record.tag {
                    let new = moved.record.entry(tag(old.number.get())).unwrap();
                    prop_assert!(new.state >= old.state, "{:?} to {:?}", old, new);
                    let since = |entry: &KeyringEntry| entry.revoked.as_ref().map(|revoked| revoked.compromised_since);
                    if let (Some(old), Some(new)) = (since(old), since(new)) {
                        let corrects = matches!(what, Move::CorrectDate { .. });
                        prop_assert!(new == old || corrects, "{:?} to {:?}", old, new);
                    }
                    prop_assert_eq!((&new.public, new.added_at), (&old.public, old.added_at));
                }
                record = moved.record;
                let active = record.tag.iter().filter(|entry| entry.state == KeyState::Active).count();
                prop_assert_eq!(active, 1);
                let stored = StoredKeyring::decode(record.encode(9)).unwrap();
                prop_assert_eq!(&stored.record, &record);
            }
        }
    }
}

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

/// Returns a new keyring: tag key 1 active.
fn first() -> KeyringRecord {
    let mut entry = KeyringEntry::pending(number(1), check(1).unwrap(), NOW);
    (entry.state, entry.activated_at) = (KeyState::Active, Some(NOW));
    KeyringRecord { tag: vec![entry], audit: Vec::new() }
}

fn after(record: &KeyringRecord, key: KeyRef, what: &Move, at: OffsetDateTime) -> KeyringRecord {
    let moved = record.after(key, what, check(key.number.get()), at).unwrap().expect("it changes something");
    moved.record.validate().unwrap();
    moved.record
}

fn refusal(record: &KeyringRecord, key: KeyRef, what: &Move) -> MoveRefusal {
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
fn a_rotation_passes_all_states_and_keeps_every_date() {
    let later = |hours| NOW + Duration::hours(hours);
    let record = after(&first(), tag(2), &Move::Add, later(1));
    assert_eq!(states(&record), [(1, KeyState::Active), (2, KeyState::Pending)]);
    let moved = record.after(tag(2), &Move::Activate, None, later(2)).unwrap().unwrap();
    assert_eq!((moved.action, moved.activated), (AuditAction::KeyringKeyActivated, Some(tag(2))));
    let record = moved.record;
    assert_eq!(states(&record), [(1, KeyState::VerifyOnly), (2, KeyState::Active)]);
    let record = after(&record, tag(1), &revoke(later(1)), later(3));
    let record = after(&record, tag(1), &Move::Destroy, later(4));
    assert_eq!(states(&record), [(1, KeyState::Destroyed), (2, KeyState::Active)]);
    let entry = &record.tag[0];
    assert_eq!((entry.added_at, entry.activated_at, entry.retired_at), (NOW, Some(NOW), Some(later(2))));
    let revoked = entry.revoked.as_ref().unwrap();
    assert_eq!((revoked.at, revoked.compromised_since, &*revoked.reason), (later(3), later(1), "leaked"));
    assert_eq!(entry.destroyed_at, Some(later(4)));
    assert_eq!(StoredKeyring::decode(record.encode(7)).unwrap().record, record);
}

#[test]
fn retiring_needs_exactly_one_pending_key() {
    assert_eq!(refusal(&first(), tag(1), &Move::Retire), MoveRefusal::NoSuccessor { family: KeyFamily::Tag });
    let two = after(&after(&first(), tag(2), &Move::Add, NOW), tag(3), &Move::Add, NOW);
    let several = MoveRefusal::SeveralSuccessors { family: KeyFamily::Tag, pending: 2 };
    assert_eq!(refusal(&two, tag(1), &Move::Retire), several);
    let one = after(&two, tag(3), &Move::Destroy, NOW);
    let moved = one.after(tag(1), &Move::Retire, None, NOW).unwrap().unwrap();
    assert_eq!((moved.action, moved.activated), (AuditAction::KeyringKeyRetired, Some(tag(2))));
    let expected = [(1, KeyState::VerifyOnly), (2, KeyState::Active), (3, KeyState::Destroyed)];
    assert_eq!(states(&moved.record), expected);
}

#[test]
fn repeating_a_move_changes_nothing() {
    let record = after(&first(), tag(2), &Move::Add, NOW);
    let mut again = vec![(record.clone(), tag(2), Move::Add), (record.clone(), tag(1), Move::Activate)];
    let record = after(&record, tag(2), &Move::Activate, NOW);
    again.push((record.clone(), tag(2), Move::Activate));
    again.push((record.clone(), tag(1), Move::Retire));
    let record = after(&record, tag(1), &revoke(NOW), NOW);
    again.push((record.clone(), tag(1), revoke(NOW)));
    let record = after(&record, tag(1), &Move::Destroy, NOW);
    again.push((record, tag(1), Move::Destroy));
    for (record, key, what) in again {
        assert_eq!(record.after(key, &what, check(key.number.get()), NOW), Ok(None), "{what:?}");
    }
}

#[test]
fn a_date_is_corrected_in_both_directions_but_not_into_the_future() {
    let record = after(&after(&first(), tag(2), &Move::Add, NOW), tag(2), &Move::Activate, NOW);
    assert_eq!(refusal(&record, tag(1), &revoke(NOW + Duration::milliseconds(1))), MoveRefusal::Future);
    let record = after(&record, tag(1), &revoke(NOW - Duration::hours(2)), NOW);
    for hours in [1, 3] {
        let other = refusal(&record, tag(1), &revoke(NOW - Duration::hours(hours)));
        assert_eq!(
            other,
            MoveRefusal::OtherDate { key: tag(1), stored: "2026-02-16T10:00:00.000Z".to_owned() }
        );
        let moved = record.after(tag(1), &correct(NOW - Duration::hours(hours)), None, NOW).unwrap().unwrap();
        assert_eq!(moved.action, AuditAction::KeyringDateCorrected);
        assert!(moved.details.get("moved_from").is_some() && moved.details.get("reason").is_some());
        let revoked = moved.record.tag[0].revoked.as_ref().unwrap();
        assert_eq!((revoked.compromised_since, revoked.at), (NOW - Duration::hours(hours), NOW));
        assert_eq!((moved.record.tag[0].state, &*revoked.reason), (KeyState::Revoked, "leaked"));
    }
    assert_eq!(record.after(tag(1), &correct(NOW - Duration::hours(2)), None, NOW), Ok(None));
    assert_eq!(refusal(&record, tag(1), &correct(NOW + Duration::milliseconds(1))), MoveRefusal::Future);
    let empty = Move::CorrectDate { reason: String::new(), compromised_since: NOW };
    assert_eq!(refusal(&record, tag(1), &empty), MoveRefusal::Reason);
    assert!(refusal(&record, tag(2), &correct(NOW)).to_string().contains("takes a revoked key"));
    let destroyed = after(&record, tag(1), &Move::Destroy, NOW);
    assert!(matches!(refusal(&destroyed, tag(1), &correct(NOW)), MoveRefusal::Backward { .. }));
}

#[test]
fn each_invalid_move_has_its_refusal() {
    let record = after(&first(), tag(2), &Move::Add, NOW);
    assert_eq!(refusal(&record, tag(9), &Move::Activate), MoveRefusal::Unknown(tag(9)));
    assert_eq!(refusal(&record, tag(1), &revoke(NOW)), MoveRefusal::RevokeActive(tag(1)));
    assert_eq!(refusal(&record, tag(1), &Move::Add), MoveRefusal::Exists(tag(1)));
    assert_eq!(record.after(tag(3), &Move::Add, None, NOW), Err(MoveRefusal::NoSecret(tag(3))));
    assert_eq!(record.after(tag(2), &Move::Add, check(5), NOW), Err(MoveRefusal::Exists(tag(2))));
    let same = MoveRefusal::SameKey { key: tag(3), other: tag(2) };
    assert_eq!(record.after(tag(3), &Move::Add, check(2), NOW), Err(same));
    assert!(refusal(&record, tag(1), &Move::Destroy).to_string().contains("destroy takes"));
    for reason in [String::new(), "x".repeat(MAX_REASON + 1)] {
        let what = Move::Revoke { reason, compromised_since: NOW };
        assert_eq!(refusal(&record, tag(2), &what), MoveRefusal::Reason);
    }
}

#[test]
fn a_full_keyring_with_the_longest_reasons_fits_one_effect_twice() {
    let mut record = first();
    for of in 2..=u16::try_from(MAX_KEYS).unwrap() {
        record = after(&record, tag(of), &Move::Add, NOW);
        let reason = "\u{10ffff}".repeat(MAX_REASON);
        record = after(&record, tag(of), &Move::Revoke { reason, compromised_since: NOW }, NOW);
    }
    assert_eq!(refusal(&record, tag(4_000), &Move::Add), MoveRefusal::Full);
    assert!(
        2 * record.encode(1).len() + 16 * 1024 < audit_chain::MAX_EFFECT_BYTES,
        "{}",
        record.encode(1).len()
    );
}

/// The oracle: whether a move may start from a state.
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
    fn under_any_moves_states_only_go_forward_and_one_key_is_active(
        tries in prop::collection::vec((1_u16..6, 0_u8..6, -5_i64..5), 1..60),
    ) {
        let mut record = first();
        for (step, (of, what, hours)) in tries.into_iter().enumerate() {
            let now = NOW + Duration::minutes(i64::try_from(step).unwrap());
            let since = now + Duration::hours(hours);
            let moves =
                [Move::Add, Move::Activate, Move::Retire, revoke(since), Move::Destroy, correct(since)];
            let what = moves[usize::from(what)].clone();
            let before = record.entry(tag(of)).cloned();
            let Ok(Some(moved)) = record.after(tag(of), &what, check(of), now) else { continue };
            match &before {
                None => prop_assert_eq!(&what, &Move::Add),
                Some(before) => prop_assert!(may(&what, before.state), "{:?} of {:?}", what, before),
            }
            for old in &record.tag {
                let new = moved.record.entry(tag(old.number.get())).unwrap();
                prop_assert!(new.state >= old.state, "{:?} to {:?}", old, new);
                let since = |entry: &KeyringEntry| Some(entry.revoked.as_ref()?.compromised_since);
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

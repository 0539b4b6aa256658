use super::*;
use crate::scope::Scope;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-02-16 12:00 UTC);

fn key() -> KeyRecord {
    KeyRecord {
        id: "0123abcd".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        digest: KeyDigest::from_bytes([7; 32]),
        scopes: Scopes::from([Scope::ScanPartner]),
        label: Some("till".to_owned()),
        created_at: NOW,
        created_by: "key/bootstrap".to_owned(),
        expires_at: None,
        revoked: None,
        rotated: None,
        replaces: None,
    }
}

fn tenant() -> Tenant {
    Tenant::new("acme".parse().unwrap(), None, NOW)
}

#[test]
fn the_stored_bytes_of_a_key_never_change() {
    let bytes = key().encode(9);
    assert_eq!(bytes[..4], [0, 0, 0, 9]);
    assert_eq!(bytes[4..36], [7; 32]);
    assert_eq!(bytes[36..44], [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 4]);
    let json = concat!(
        r#"{"id":"0123abcd","tenant":"acme","scopes":["scan:partner"],"label":"till","#,
        r#""created_at":"2026-02-16T12:00:00Z","created_by":"key/bootstrap"}"#
    );
    assert_eq!(String::from_utf8_lossy(&bytes[44..]), format!("acme{json}"));
    let stored = KeyRecord::decode(bytes.clone()).unwrap();
    assert_eq!((stored.value, stored.revision, stored.bytes), (key(), 9, bytes));
}

#[test]
fn the_stored_bytes_of_a_tenant_never_change() {
    let bytes = tenant().encode(3);
    assert_eq!(bytes[..5], [1, 0, 0, 0, 3]);
    assert_eq!(String::from_utf8_lossy(&bytes[5..]), r#"{"id":"acme","created_at":"2026-02-16T12:00:00Z"}"#);
    let stored = Tenant::decode(bytes).unwrap();
    assert_eq!((stored.value, stored.revision), (tenant(), 3));
    let suspended = tenant().suspended(NOW, "unpaid");
    assert_eq!(suspended.encode(4)[0], 0);
    assert_eq!(suspended.resumed(), tenant());
}

#[test]
fn a_damaged_record_is_an_error() {
    let whole = key().encode(1);
    for length in 0..whole.len() {
        assert!(KeyRecord::decode(whole[..length].to_vec()).is_err(), "{length}");
    }
    for at in 36..48 {
        let mut other = whole.clone();
        other[at] ^= 1;
        assert!(KeyRecord::decode(other).is_err(), "{at}");
    }
    let mut other = tenant().encode(1);
    other[0] = 0;
    assert!(Tenant::decode(other).is_err() && Tenant::decode(Vec::new()).is_err());
}

#[test]
fn a_key_ends_at_its_revocation_expiry_or_rotation_whichever_is_first() {
    let (early, late) = (datetime!(2026-03-01 0:00 UTC), datetime!(2026-04-01 0:00 UTC));
    let rotated = |until| Some(Rotation { at: NOW, to: "9999zzzz".parse().unwrap(), until });
    let expiring = KeyRecord { expires_at: Some(late), ..key() };
    let ends = |record: &KeyRecord| record.valid_until();
    assert_eq!(ends(&key()), FOR_EVER);
    assert_eq!(ends(&expiring), unix_millis(late));
    assert_eq!(ends(&KeyRecord { rotated: rotated(early), ..expiring.clone() }), unix_millis(early));
    assert_eq!(
        ends(&KeyRecord { rotated: rotated(late), expires_at: Some(early), ..key() }),
        unix_millis(early)
    );
    assert_eq!(ends(&expiring.revoked(NOW, "leaked")), 0);
    let again = expiring.revoked(NOW, "leaked").revoked(late, "again");
    assert_eq!(again, expiring.revoked(NOW, "leaked"), "a key keeps its first revocation");
}

#[test]
fn the_status_changes_in_the_millisecond_in_which_the_key_ends() {
    let end = datetime!(2026-03-01 0:00 UTC);
    let before = end - time::Duration::MILLISECOND;
    let successor = KeyRecord { id: "9999zzzz".parse().unwrap(), ..key() };
    let expiring = KeyRecord { expires_at: Some(end), ..key() };
    let rotated = key().rotated_to(&successor, NOW, end);
    assert_eq!((expiring.status(before), expiring.status(end)), (KeyStatus::Active, KeyStatus::Expired));
    assert_eq!((rotated.status(before), rotated.status(end)), (KeyStatus::Rotating, KeyStatus::Rotated));
    assert_eq!(rotated.revoked(NOW, "x").status(before), KeyStatus::Revoked);
    let later = end + time::Duration::DAY;
    assert_eq!(rotated.rotated_to(&successor, NOW, later).valid_until(), unix_millis(end));
}

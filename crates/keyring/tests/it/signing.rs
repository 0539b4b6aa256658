//! Checkpoints: only the active key signs them, and the state of the key decides whether a note is trusted.

use audit_chain::checkpoint::{CompactRange, SignatureLine, SignedNote};
use audit_chain::{Effect, keys as audit_keys};
use keyring::{
    AuditKeys, CheckpointSigner, KeyRef, Move, NoteTrust, SignError, SignedCheckpoint, Snapshot, VerifierKey,
};
use redis::AsyncCommands;

use crate::support::{FACTORY, Fixture, LISTENER, ORIGIN, audit, now, number, revoke, secrets, tag};

fn signer(fixture: &Fixture, held: &[u16]) -> CheckpointSigner {
    CheckpointSigner::new(fixture.appender.log().clone(), secrets(&[1], held).signing)
}

async fn snapshot(fixture: &Fixture) -> std::sync::Arc<Snapshot> {
    fixture.process(LISTENER, secrets(&[1, 2, 3, 4, 5], &[])).await.snapshot().unwrap()
}

async fn append_something(fixture: &Fixture) {
    let admin = fixture.admin(secrets(&[1, 2, 3, 4, 5], &[1, 2]));
    let record = admin.read().await.unwrap().unwrap().record;
    let next = (2..).find(|of| record.entry(tag(*of)).is_none()).unwrap();
    fixture.make(&admin, tag(next), &Move::Add).await.unwrap();
}

/// Replaces signing key 1 by key 2.
async fn rotate(fixture: &Fixture) {
    let admin = fixture.admin(secrets(&[1], &[1, 2]));
    let _: () =
        redis::cmd("DEL").arg("vt1:live").query_async(&mut fixture.redis.connection().await).await.unwrap();
    fixture.make(&admin, audit(2), &Move::Add).await.unwrap();
    fixture.make(&admin, audit(2), &Move::Activate).await.unwrap();
}

fn judge(record: &keyring::KeyringRecord, note: &str) -> NoteTrust {
    AuditKeys::of(record).judge(&SignedNote::parse(note.as_bytes()).unwrap())
}

async fn range_of(fixture: &Fixture) -> CompactRange {
    let page = fixture.appender.log().entries(None, 1_000.try_into().unwrap()).await.unwrap();
    let mut range = CompactRange::new();
    page.events.iter().for_each(|entry| range.push(entry.hash));
    range
}

#[tokio::test]
async fn a_checkpoint_commits_to_the_chain_and_is_signed_once_until_the_next_append() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let signer = signer(&fixture, &[1]);
    let mut before: Option<SignedCheckpoint> = None;
    for _ in 0..3 {
        let signed = signer.sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
        let range = range_of(&fixture).await;
        assert_eq!((signed.checkpoint.size, signed.checkpoint.root), (range.size(), range.root()));
        assert_eq!((signed.checkpoint.origin.as_str(), signed.key, signed.fresh), (ORIGIN, number(1), true));
        let valid = judge(snapshot(&fixture).await.record(), &signed.note);
        assert!(matches!(valid, NoteTrust::Valid { .. }), "{valid:?}");
        let again = signer.sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
        assert_eq!(again, SignedCheckpoint { fresh: false, ..signed.clone() });
        assert!(before.replace(signed.clone()).is_none_or(|before| before.note != signed.note));
        append_something(&fixture).await;
    }
}

#[tokio::test]
async fn signing_needs_an_active_key_and_its_secret() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[])).await;
    let sign = async |held: &[u16]| {
        signer(&fixture, held).sign(&fixture.deployment, &*snapshot(&fixture).await).await
    };
    assert!(matches!(sign(&[1]).await, Err(SignError::NoActiveKey)));
    let other = Fixture::start().await;
    other.process(FACTORY, secrets(&[1], &[1])).await;
    let signed = signer(&other, &[2]).sign(&other.deployment, &*snapshot(&other).await).await;
    assert!(matches!(signed, Err(SignError::NotHeld(held)) if held == number(1)));
}

#[tokio::test]
async fn a_revoked_key_cannot_sign_even_with_an_old_snapshot() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let oldest = snapshot(&fixture).await;
    assert_eq!(oldest.active_audit_key(), Some(number(1)));
    append_something(&fixture).await;
    let before_rotation = snapshot(&fixture).await;
    rotate(&fixture).await;
    fixture.make(&fixture.admin(secrets(&[1], &[1, 2])), audit(1), &revoke(now())).await.unwrap();
    for old in [oldest, before_rotation] {
        let signed = signer(&fixture, &[1, 2]).sign(&fixture.deployment, &old).await;
        assert!(matches!(signed, Err(SignError::Overtaken)), "{signed:?}");
    }
    let notes = signer(&fixture, &[1]).store().notes().await.unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let signed =
        signer(&fixture, &[1, 2]).sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    assert_eq!(signed.key, number(2));
}

#[tokio::test]
async fn a_note_of_a_key_that_was_revoked_later_is_neither_valid_nor_broken() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let old = signer(&fixture, &[1]).sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    rotate(&fixture).await;
    let new = signer(&fixture, &[2]).sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    assert_eq!(new.key, number(2));
    let verify_only = judge(snapshot(&fixture).await.record(), &old.note);
    assert!(matches!(verify_only, NoteTrust::Valid { .. }), "retired is not revoked: {verify_only:?}");
    let admin = fixture.admin(secrets(&[1], &[1, 2]));
    let since = now() - time::Duration::hours(1);
    fixture.make(&admin, audit(1), &revoke(since)).await.unwrap();
    for end in [None, Some(Move::Destroy)] {
        if let Some(what) = end {
            fixture.make(&admin, audit(1), &what).await.unwrap();
        }
        let record = admin.read().await.unwrap().unwrap().record;
        let NoteTrust::SignedByRevokedKey { key, revoked_at, compromised_since } = judge(&record, &old.note)
        else {
            panic!("{:?}", judge(&record, &old.note))
        };
        let entry = record.entry(audit(1)).unwrap();
        assert_eq!((Some(&key), compromised_since), (entry.vkey(), since));
        assert_eq!(revoked_at, entry.revoked.as_ref().unwrap().at);
        assert!(matches!(judge(&record, &new.note), NoteTrust::Valid { .. }));
        let json = serde_json::to_value(judge(&record, &old.note)).unwrap();
        assert_eq!(json["state"], "signed_by_revoked_key");
        assert!(json["revoked_at"].is_string() && json["compromised_since"].is_string());
    }
    let record = admin.read().await.unwrap().unwrap().record;
    let trusted = || AuditKeys::trusted(record.audit.iter().filter_map(|entry| entry.vkey().cloned()));
    let note = SignedNote::parse(old.note.as_bytes()).unwrap();
    assert!(matches!(trusted().judge(&note), NoteTrust::Valid { .. }), "trusted public keys have no states");
    let warned = trusted().warned_by(&record.audit).judge(&note);
    assert!(matches!(warned, NoteTrust::SignedByRevokedKey { .. }), "{warned:?}");
    let stranger = AuditKeys::default().warned_by(&record.audit).judge(&note);
    assert_eq!(stranger, NoteTrust::UnknownKey, "a statement adds no key");
}

#[tokio::test]
async fn a_changed_note_is_broken_and_a_note_of_an_unknown_key_is_not() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    append_something(&fixture).await;
    let signed = signer(&fixture, &[1]).sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    let record = snapshot(&fixture).await.record().clone();
    let changed = signed.note.replacen("\n1\n", "\n2\n", 1);
    assert!(matches!(judge(&record, &changed), NoteTrust::Broken { .. }));
    assert_eq!(
        AuditKeys::default().judge(&SignedNote::parse(signed.note.as_bytes()).unwrap()),
        NoteTrust::UnknownKey
    );
    // A pending key must not sign, so a signature of it is misuse of its secret.
    let mut pending = record;
    pending.audit[0].state = keyring::KeyState::Pending;
    pending.audit[0].activated_at = None;
    assert!(matches!(
        judge(&pending, &signed.note),
        NoteTrust::Broken { why: "the key was never active", .. }
    ));
}

#[tokio::test]
async fn a_stored_note_that_the_key_did_not_sign_is_not_returned() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let signer = signer(&fixture, &[1]);
    let signed = signer.sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    let mut connection = fixture.redis.connection().await;
    for wrong in ["rubbish".to_owned(), signed.note.replacen("\n0\n", "\n9\n", 1)] {
        let _: () = connection.hset(audit_keys::NOTES, 1, wrong).await.unwrap();
        let again = signer.sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
        assert_eq!(again, signed);
    }
}

#[tokio::test]
async fn nothing_is_signed_if_a_trusted_note_contradicts_the_chain() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let ours = signer(&fixture, &[1]);
    append_something(&fixture).await;
    append_something(&fixture).await;
    // A note of another chain that the same key signed, without its compact range.
    let elsewhere = Fixture::start().await;
    elsewhere.process(FACTORY, secrets(&[1], &[1])).await;
    append_something(&elsewhere).await;
    let other = signer(&elsewhere, &[1]);
    let other = other.sign(&elsewhere.deployment, &*snapshot(&elsewhere).await).await.unwrap();
    let (note, other) = (other.note, other.checkpoint);
    let mut connection = fixture.redis.connection().await;
    let _: () = connection.hset(audit_keys::NOTES, 1, &note).await.unwrap();
    let refused = ours.sign(&fixture.deployment, &*snapshot(&fixture).await).await;
    assert!(matches!(refused, Err(SignError::Contradicted { size: 1 })), "{refused:?}");
    assert_eq!(ours.store().note(1).await.unwrap().as_ref(), Some(&note), "the evidence stays");
    // A note that no key signed can come from anyone, so it does not stop the signer.
    let line = SignatureLine::new(ORIGIN, [1, 2, 3, 4], vec![0; 64]).unwrap();
    let note = SignedNote::new(other.to_text(), vec![line]).unwrap().to_string();
    let _: () = connection.hset(audit_keys::NOTES, 1, &note).await.unwrap();
    let signed = ours.sign(&fixture.deployment, &*snapshot(&fixture).await).await.unwrap();
    assert_eq!(signed.checkpoint.root, range_of(&fixture).await.root());
}

#[tokio::test]
async fn concurrent_signers_and_appends_leave_a_note_that_verifies() {
    let fixture = std::sync::Arc::new(Fixture::start().await);
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let snapshot = snapshot(&fixture).await;
    let mut signing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (fixture, snapshot) = (std::sync::Arc::clone(&fixture), std::sync::Arc::clone(&snapshot));
        signing.spawn(async move {
            for _ in 0..10 {
                let signed = signer(&fixture, &[1]).sign(&fixture.deployment, &snapshot).await.unwrap();
                let judged = judge(snapshot.record(), &signed.note);
                assert!(matches!(judged, NoteTrust::Valid { .. }), "{judged:?}");
                let what = audit_chain::NewEvent {
                    tenant: "default".into(),
                    actor: "test".into(),
                    action: "tag.revoked".into(),
                    resource: "tag/1".into(),
                    request_id: "r".into(),
                    ip: None,
                    details: audit_chain::Details::new(),
                };
                let now = u64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap();
                let event = audit_chain::Event::new(now, ambient::uuid_v7(now), [0; 16], what).unwrap();
                fixture.appender.append(&event, Effect::none()).await.unwrap();
            }
        });
    }
    signing.join_all().await;
    let signed = signer(&fixture, &[1]).sign(&fixture.deployment, &snapshot).await.unwrap();
    let range = range_of(&fixture).await;
    assert_eq!((signed.checkpoint.size, signed.checkpoint.root), (80, range.root()));
}

#[test]
fn a_resource_name_has_family_and_number() {
    let key: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    assert_eq!(AuditKeys::trusted([key.clone()]).number_of(&key), None);
    assert_eq!(KeyRef::audit(number(7)).resource(), "keyring/audit/7");
}

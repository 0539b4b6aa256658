//! Authentication of valid, unknown, revoked, expired and rotated keys.

use access::{Access, ApiKey, Authenticated, KeyRecord, Scope, Scopes, authenticate};
use ambient::{Clock, SystemClock};
use redis::AsyncCommands;
use time::OffsetDateTime;

use crate::support::{DEPLOYMENT, Fixture, NOW, key_of};

async fn outcome_of(fixture: &Fixture, key: &ApiKey) -> Authenticated {
    authenticate(&fixture.pool, DEPLOYMENT, key).await.unwrap()
}

async fn is_accepted(fixture: &Fixture, key: &ApiKey) -> bool {
    matches!(outcome_of(fixture, key).await, Authenticated::Principal(_))
}

fn in_ms(ms: i64) -> OffsetDateTime {
    let now = i128::from(SystemClock::new().unix_millis()) + i128::from(ms);
    OffsetDateTime::from_unix_timestamp_nanos(now * 1_000_000).unwrap()
}

#[tokio::test]
async fn a_key_acts_for_its_tenant_with_its_scopes() {
    let fixture = Fixture::start().await;
    fixture.tenant("acme").await;
    for tenant in ["acme", "default"] {
        let (key, record) = fixture.key(tenant).await;
        let Authenticated::Principal(principal) = outcome_of(&fixture, &key).await else {
            panic!("{tenant}")
        };
        assert_eq!((principal.id, principal.tenant), (record.id, record.tenant));
        assert_eq!(principal.scopes, Scopes::from([Scope::ScanPartner]));
    }
}

#[tokio::test]
async fn an_unknown_id_and_a_wrong_secret_have_the_same_outcome() {
    let fixture = Fixture::start().await;
    let (key, record) = fixture.key("default").await;
    assert_eq!(outcome_of(&fixture, &ApiKey::generate()).await, Authenticated::Invalid);
    let other = KeyRecord { digest: *ApiKey::generate().digest(), ..record };
    let () =
        fixture.redis.connection().await.set(access::keys::key(&other.id), other.encode(2)).await.unwrap();
    assert_eq!(outcome_of(&fixture, &key).await, Authenticated::Invalid);
}

#[tokio::test]
async fn a_revoked_key_is_rejected_from_the_next_request_on() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    for _ in 0..100 {
        let (key, record) = fixture.key("default").await;
        assert!(is_accepted(&fixture, &key).await);
        let stored = access.key(&record.id).await.unwrap().unwrap();
        fixture.apply(access::revoke(&stored, NOW, "leaked")).await.unwrap();
        assert_eq!(outcome_of(&fixture, &key).await, Authenticated::Invalid);
    }
}

#[tokio::test]
async fn all_keys_of_a_tenant_are_rejected_while_it_is_suspended() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let tenant = fixture.tenant("acme").await;
    fixture.tenant("other").await;
    let ((one, _), (two, _), (foreign, _)) =
        (fixture.key("acme").await, fixture.key("acme").await, fixture.key("other").await);
    let stored = access.tenant(&tenant.id).await.unwrap().unwrap();
    fixture.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    assert_eq!(outcome_of(&fixture, &one).await, Authenticated::Suspended);
    assert_eq!(outcome_of(&fixture, &two).await, Authenticated::Suspended);
    assert!(is_accepted(&fixture, &foreign).await);
    let stored = access.tenant(&tenant.id).await.unwrap().unwrap();
    fixture.apply(access::resume(&stored)).await.unwrap();
    assert!(is_accepted(&fixture, &one).await && is_accepted(&fixture, &two).await);
}

#[tokio::test]
async fn a_key_whose_tenant_record_is_missing_or_damaged_is_not_called_invalid() {
    let fixture = Fixture::start().await;
    fixture.tenant("acme").await;
    let (key, _) = fixture.key("acme").await;
    let mut connection = fixture.redis.connection().await;
    let () = connection.del("vt1:tn:acme").await.unwrap();
    assert_eq!(outcome_of(&fixture, &key).await, Authenticated::TenantGone);
    let () = connection.rpush("vt1:tn:acme", "of another type").await.unwrap();
    assert_eq!(outcome_of(&fixture, &key).await, Authenticated::Damaged);
    assert_eq!(outcome_of(&fixture, &ApiKey::generate()).await, Authenticated::Invalid);
}

#[tokio::test]
async fn a_key_is_accepted_until_its_expiry_by_the_clock_of_redis() {
    let fixture = Fixture::start().await;
    for (expires_at, accepted) in [(in_ms(60_000), true), (in_ms(-1), false), (in_ms(-60_000), false)] {
        let (key, record) = key_of("default");
        let record = KeyRecord { expires_at: Some(expires_at), ..record };
        fixture.apply(access::create_key(&record)).await.unwrap();
        assert_eq!(is_accepted(&fixture, &key).await, accepted, "{expires_at}");
    }
}

#[tokio::test]
async fn after_a_rotation_both_keys_are_accepted_until_the_overlap_ends() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    for (until, old_accepted) in [(in_ms(60_000), true), (in_ms(0), false)] {
        let (old_key, old) = fixture.key("default").await;
        let (new_key, new) = key_of("default");
        let stored = access.key(&old.id).await.unwrap().unwrap();
        let new = KeyRecord { replaces: Some(old.id), ..new };
        fixture.apply(access::rotate(&stored, &new, NOW, until)).await.unwrap();
        assert_eq!(is_accepted(&fixture, &old_key).await, old_accepted);
        assert!(is_accepted(&fixture, &new_key).await);
    }
}

#[tokio::test]
async fn a_missing_or_different_deployment_is_reported_for_any_key() {
    let fixture = Fixture::start().await;
    let (key, _) = fixture.key("default").await;
    let mut connection = fixture.redis.connection().await;
    for record in [Some(r#"{"id":"cd"}"#), Some(""), None] {
        let () = match record {
            Some(record) => connection.set("vt1:deployment", record).await.unwrap(),
            None => connection.del("vt1:deployment").await.unwrap(),
        };
        assert_eq!(outcome_of(&fixture, &key).await, Authenticated::StateLost);
        assert_eq!(outcome_of(&fixture, &ApiKey::generate()).await, Authenticated::StateLost);
    }
}

#[tokio::test]
async fn a_key_with_a_damaged_record_is_not_accepted() {
    let fixture = Fixture::start().await;
    let (key, record) = fixture.key("default").await;
    let whole = record.encode(1);
    let mut connection = fixture.redis.connection().await;
    for length in 0..=45 {
        let () = connection.set(access::keys::key(&record.id), &whole[..length]).await.unwrap();
        let outcome = authenticate(&fixture.pool, DEPLOYMENT, &key).await;
        assert!(!matches!(outcome, Ok(Authenticated::Principal(_))), "{length}: {outcome:?}");
    }
}

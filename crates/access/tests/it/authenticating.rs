//! Who is let in, and from when on no more.

use access::{Access, ApiKey, Authenticated, KeyRecord, Scope, Scopes, authenticate};
use ambient::{Clock, SystemClock};
use redis::AsyncCommands;
use time::OffsetDateTime;

use crate::support::{DEPLOYMENT, NOW, Place, key_of};

async fn ask(place: &Place, key: &ApiKey) -> Authenticated {
    authenticate(&place.pool, DEPLOYMENT, key).await.unwrap()
}

async fn is_let_in(place: &Place, key: &ApiKey) -> bool {
    matches!(ask(place, key).await, Authenticated::Principal(_))
}

fn in_ms(ms: i64) -> OffsetDateTime {
    let now = i128::from(SystemClock::new().unix_millis()) + i128::from(ms);
    OffsetDateTime::from_unix_timestamp_nanos(now * 1_000_000).unwrap()
}

#[tokio::test]
async fn a_key_acts_for_its_tenant_with_its_scopes() {
    let place = Place::start().await;
    place.tenant("acme").await;
    for tenant in ["acme", "default"] {
        let (key, record) = place.key(tenant).await;
        let Authenticated::Principal(principal) = ask(&place, &key).await else { panic!("{tenant}") };
        assert_eq!((principal.id, principal.tenant), (record.id, record.tenant));
        assert_eq!(principal.scopes, Scopes::from([Scope::ScanPartner]));
    }
}

#[tokio::test]
async fn an_unknown_id_and_another_secret_of_a_known_id_are_answered_alike() {
    let place = Place::start().await;
    let (key, record) = place.key("default").await;
    assert_eq!(ask(&place, &ApiKey::generate()).await, Authenticated::Invalid);
    let other = KeyRecord { digest: *ApiKey::generate().digest(), ..record };
    let () = place.redis.connection().await.set(access::keys::key(&other.id), other.encode(2)).await.unwrap();
    assert_eq!(ask(&place, &key).await, Authenticated::Invalid);
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_the_next_request() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    for _ in 0..100 {
        let (key, record) = place.key("default").await;
        assert!(is_let_in(&place, &key).await);
        let stored = access.key(&record.id).await.unwrap().unwrap();
        place.apply(access::revoke(&stored, NOW, "leaked")).await.unwrap();
        assert_eq!(ask(&place, &key).await, Authenticated::Invalid);
    }
}

#[tokio::test]
async fn all_keys_of_a_suspended_tenant_stop_and_come_back() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    let tenant = place.tenant("acme").await;
    place.tenant("other").await;
    let ((one, _), (two, _), (foreign, _)) =
        (place.key("acme").await, place.key("acme").await, place.key("other").await);
    let stored = access.tenant(&tenant.id).await.unwrap().unwrap();
    place.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    assert_eq!(ask(&place, &one).await, Authenticated::Suspended);
    assert_eq!(ask(&place, &two).await, Authenticated::Suspended);
    assert!(is_let_in(&place, &foreign).await);
    let stored = access.tenant(&tenant.id).await.unwrap().unwrap();
    place.apply(access::resume(&stored)).await.unwrap();
    assert!(is_let_in(&place, &one).await && is_let_in(&place, &two).await);
}

#[tokio::test]
async fn a_key_whose_tenant_has_no_readable_record_is_told_apart_from_an_unknown_one() {
    let place = Place::start().await;
    place.tenant("acme").await;
    let (key, _) = place.key("acme").await;
    let mut link = place.redis.connection().await;
    let () = link.del("vt1:tn:acme").await.unwrap();
    assert_eq!(ask(&place, &key).await, Authenticated::TenantGone);
    let () = link.rpush("vt1:tn:acme", "of another type").await.unwrap();
    assert_eq!(ask(&place, &key).await, Authenticated::Damaged);
    assert_eq!(ask(&place, &ApiKey::generate()).await, Authenticated::Invalid);
}

#[tokio::test]
async fn a_key_is_accepted_until_its_expiry_by_the_clock_of_redis() {
    let place = Place::start().await;
    for (expires_at, accepted) in [(in_ms(60_000), true), (in_ms(-1), false), (in_ms(-60_000), false)] {
        let (key, record) = key_of("default");
        let record = KeyRecord { expires_at: Some(expires_at), ..record };
        place.apply(access::create_key(&record)).await.unwrap();
        assert_eq!(is_let_in(&place, &key).await, accepted, "{expires_at}");
    }
}

#[tokio::test]
async fn after_a_rotation_both_keys_are_accepted_until_the_overlap_is_over() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    for (until, old_accepted) in [(in_ms(60_000), true), (in_ms(0), false)] {
        let (old_key, old) = place.key("default").await;
        let (new_key, new) = key_of("default");
        let stored = access.key(&old.id).await.unwrap().unwrap();
        let new = KeyRecord { replaces: Some(old.id), ..new };
        place.apply(access::rotate(&stored, &new, NOW, until)).await.unwrap();
        assert_eq!(is_let_in(&place, &old_key).await, old_accepted);
        assert!(is_let_in(&place, &new_key).await);
    }
}

#[tokio::test]
async fn a_deployment_that_is_gone_or_another_is_told_whatever_the_key() {
    let place = Place::start().await;
    let (key, _) = place.key("default").await;
    let mut link = place.redis.connection().await;
    for record in [Some(r#"{"id":"cd"}"#), Some(""), None] {
        let () = match record {
            Some(record) => link.set("vt1:deployment", record).await.unwrap(),
            None => link.del("vt1:deployment").await.unwrap(),
        };
        assert_eq!(ask(&place, &key).await, Authenticated::StateLost);
        assert_eq!(ask(&place, &ApiKey::generate()).await, Authenticated::StateLost);
    }
}

#[tokio::test]
async fn a_damaged_record_lets_nobody_in() {
    let place = Place::start().await;
    let (key, record) = place.key("default").await;
    let whole = record.encode(1);
    let mut link = place.redis.connection().await;
    for length in 0..=45 {
        let () = link.set(access::keys::key(&record.id), &whole[..length]).await.unwrap();
        let answer = authenticate(&place.pool, DEPLOYMENT, &key).await;
        assert!(!matches!(answer, Ok(Authenticated::Principal(_))), "{length}: {answer:?}");
    }
}

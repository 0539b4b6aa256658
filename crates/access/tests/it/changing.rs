//! Changes are written with an audit event, and fail if one of their preconditions no longer holds.

use access::{Access, KeyRecord};

use crate::support::{Fixture, NOW, key_of, tenant};

#[tokio::test]
async fn an_id_cannot_be_created_twice() {
    let fixture = Fixture::start().await;
    fixture.tenant("acme").await;
    assert_eq!(fixture.failed_precondition(access::create_tenant(&tenant("acme"))).await, 0);
    let (_, record) = fixture.key("acme").await;
    assert_eq!(fixture.failed_precondition(access::create_key(&record)).await, 0);
    let stored = Access::new(fixture.pool.clone()).key(&record.id).await.unwrap().unwrap();
    assert_eq!(fixture.failed_precondition(access::rotate(&stored, &record, NOW, NOW)).await, 1);
}

#[tokio::test]
async fn keys_are_created_for_active_tenants_only() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let (_, record) = key_of("acme");
    assert_eq!(fixture.failed_precondition(access::create_key(&record)).await, 1);
    let acme = fixture.tenant("acme").await;
    let (_, old) = fixture.key("acme").await;
    let stored = access.tenant(&acme.id).await.unwrap().unwrap();
    fixture.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    assert_eq!(fixture.failed_precondition(access::create_key(&record)).await, 1);
    let old = access.key(&old.id).await.unwrap().unwrap();
    assert_eq!(fixture.failed_precondition(access::rotate(&old, &record, NOW, NOW)).await, 2);
    assert!(access.key(&record.id).await.unwrap().is_none());
    let after = access.key(&old.value.id).await.unwrap().unwrap();
    assert_eq!(after.bytes, old.bytes, "a failed rotation changes nothing");
}

#[tokio::test]
async fn a_change_fails_if_the_record_has_changed_since_it_was_read() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let acme = fixture.tenant("acme").await;
    let (_, record) = fixture.key("acme").await;
    let key = access.key(&record.id).await.unwrap().unwrap();
    let stored = access.tenant(&acme.id).await.unwrap().unwrap();
    fixture.apply(access::revoke(&key, NOW, "leaked")).await.unwrap();
    fixture.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    let (_, successor) = key_of("acme");
    for stale in [
        access::revoke(&key, NOW, "again"),
        access::rotate(&key, &successor, NOW, NOW),
        access::suspend(&stored, NOW, "again"),
        access::resume(&stored),
    ] {
        assert_eq!(fixture.failed_precondition(stale).await, 0);
    }
    let now = access.key(&record.id).await.unwrap().unwrap();
    assert_eq!((now.revision, now.value), (2, record.revoked(NOW, "leaked")));
}

#[tokio::test]
async fn a_rotation_links_both_records() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let (_, old) = fixture.key("default").await;
    let (_, new) = key_of("default");
    let new = KeyRecord { replaces: Some(old.id), ..new };
    let stored = access.key(&old.id).await.unwrap().unwrap();
    let until = NOW + time::Duration::DAY;
    fixture.apply(access::rotate(&stored, &new, NOW, until)).await.unwrap();
    let (old_now, new_now) =
        (access.key(&old.id).await.unwrap().unwrap(), access.key(&new.id).await.unwrap().unwrap());
    assert_eq!(old_now.value, old.rotated_to(&new, NOW, until));
    assert_eq!((new_now.value, new_now.revision, old_now.revision), (new, 1, 2));
}

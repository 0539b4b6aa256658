//! Changes go through the audit chain's appender, and are refused where what they were planned on has moved.

use access::{Access, KeyRecord};

use crate::support::{NOW, Place, key_of, tenant};

#[tokio::test]
async fn an_id_is_given_once() {
    let place = Place::start().await;
    place.tenant("acme").await;
    assert_eq!(place.refused(access::create_tenant(&tenant("acme"))).await, 0);
    let (_, record) = place.key("acme").await;
    assert_eq!(place.refused(access::create_key(&record)).await, 0);
    let stored = Access::new(place.pool.clone()).key(&record.id).await.unwrap().unwrap();
    assert_eq!(place.refused(access::rotate(&stored, &record, NOW, NOW)).await, 1);
}

#[tokio::test]
async fn keys_are_made_for_active_tenants_only() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    let (_, record) = key_of("acme");
    assert_eq!(place.refused(access::create_key(&record)).await, 1);
    let acme = place.tenant("acme").await;
    let (_, old) = place.key("acme").await;
    let stored = access.tenant(&acme.id).await.unwrap().unwrap();
    place.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    assert_eq!(place.refused(access::create_key(&record)).await, 1);
    let old = access.key(&old.id).await.unwrap().unwrap();
    assert_eq!(place.refused(access::rotate(&old, &record, NOW, NOW)).await, 2);
    assert!(access.key(&record.id).await.unwrap().is_none());
    let after = access.key(&old.value.id).await.unwrap().unwrap();
    assert_eq!(after.bytes, old.bytes, "a refused rotation changes nothing");
}

#[tokio::test]
async fn a_change_planned_on_what_has_moved_is_refused() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    let acme = place.tenant("acme").await;
    let (_, record) = place.key("acme").await;
    let key = access.key(&record.id).await.unwrap().unwrap();
    let stored = access.tenant(&acme.id).await.unwrap().unwrap();
    place.apply(access::revoke(&key, NOW, "leaked")).await.unwrap();
    place.apply(access::suspend(&stored, NOW, "unpaid")).await.unwrap();
    let (_, successor) = key_of("acme");
    for late in [
        access::revoke(&key, NOW, "again"),
        access::rotate(&key, &successor, NOW, NOW),
        access::suspend(&stored, NOW, "again"),
        access::resume(&stored),
    ] {
        assert_eq!(place.refused(late).await, 0);
    }
    let now = access.key(&record.id).await.unwrap().unwrap();
    assert_eq!((now.revision, now.value), (2, record.revoked(NOW, "leaked")));
}

#[tokio::test]
async fn a_rotation_leaves_both_records_pointing_at_each_other() {
    let place = Place::start().await;
    let access = Access::new(place.pool.clone());
    let (_, old) = place.key("default").await;
    let (_, new) = key_of("default");
    let new = KeyRecord { replaces: Some(old.id), ..new };
    let stored = access.key(&old.id).await.unwrap().unwrap();
    let until = NOW + time::Duration::DAY;
    place.apply(access::rotate(&stored, &new, NOW, until)).await.unwrap();
    let (old_now, new_now) =
        (access.key(&old.id).await.unwrap().unwrap(), access.key(&new.id).await.unwrap().unwrap());
    assert_eq!(old_now.value, old.rotated_to(&new, NOW, until));
    assert_eq!((new_now.value, new_now.revision, old_now.revision), (new, 1, 2));
}

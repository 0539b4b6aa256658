//! Reads of tenants and keys as the factory-service stores them.

use access::{Access, AccessError, KeyRecord, LastUse};
use redis::AsyncCommands;
use time::macros::datetime;

use crate::support::{DEPLOYMENT, Fixture, NOW, key_of};

#[tokio::test]
async fn missing_records_are_none_and_missing_lists_are_empty() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    assert!(access.tenant(&"acme".parse().unwrap()).await.unwrap().is_none());
    assert!(access.key(&"0123abcd".parse().unwrap()).await.unwrap().is_none());
    assert!(access.tenants(None, 10).await.unwrap().items.is_empty());
    let page = access.keys_of(&"acme".parse().unwrap(), None, 10).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

#[tokio::test]
async fn pages_list_each_tenant_once_in_the_order_of_ids() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    for id in ["c", "a-b", "b", "a", "d"] {
        fixture.tenant(id).await;
    }
    for limit in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = access.tenants(after.as_ref(), limit).await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.into_iter().map(|tenant| tenant.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "a-b", "b", "c", "d"], "{limit}");
    }
}

#[tokio::test]
async fn pages_list_each_key_of_the_tenant_once_oldest_first() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    fixture.tenant("acme").await;
    let (_, foreign) = fixture.key("default").await;
    let mut created = Vec::new();
    for age in [3, 1, 2, 2] {
        let (_, record) = key_of("acme");
        let record = KeyRecord { created_at: NOW - time::Duration::days(age), ..record };
        fixture.apply(access::create_key(&record)).await.unwrap();
        created.push(record);
    }
    created.sort_by_key(|record| (record.created_at, record.id));
    let acme = "acme".parse().unwrap();
    for limit in 1..=5 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = access.keys_of(&acme, after.as_ref(), limit).await.unwrap();
            seen.extend(page.items.into_iter().map(|entry| entry.record));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, created, "{limit}");
    }
    let beyond = access.keys_of(&acme, Some(&foreign.id), 10).await;
    assert!(matches!(beyond, Err(AccessError::UnknownCursor)), "{beyond:?}");
}

#[tokio::test]
async fn a_listed_key_has_its_last_use() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let ((_, used), (_, unused)) = (fixture.key("default").await, fixture.key("default").await);
    let last_use = LastUse::new();
    last_use.note(&used.id, 1_771_243_259_999);
    last_use.flush(&fixture.pool, DEPLOYMENT).await.unwrap();
    let used_at = Some(datetime!(2026-02-16 12:00 UTC));
    assert_eq!(access.last_used_at(&used.id).await.unwrap(), used_at);
    assert_eq!(access.last_used_at(&unused.id).await.unwrap(), None);
    let page = access.keys_of(&"default".parse().unwrap(), None, 10).await.unwrap();
    for entry in page.items {
        assert_eq!(entry.last_used_at, used_at.filter(|_| entry.record.id == used.id));
    }
}

#[tokio::test]
async fn a_damaged_or_missing_record_is_an_error() {
    let fixture = Fixture::start().await;
    let access = Access::new(fixture.pool.clone());
    let (_, record) = fixture.key("default").await;
    let () = fixture.redis.connection().await.set(access::keys::key(&record.id), "x").await.unwrap();
    assert!(matches!(access.key(&record.id).await, Err(AccessError::Record(_))));
    let tenant = fixture.tenant("acme").await;
    let () = fixture.redis.connection().await.del(access::keys::tenant(&tenant.id)).await.unwrap();
    assert!(matches!(access.tenant(&tenant.id).await, Err(AccessError::Lost { .. })));
    assert!(matches!(access.tenants(None, 10).await, Err(AccessError::Lost { .. })));
    assert!(access.tenant(&"nobody".parse().unwrap()).await.unwrap().is_none());
}

//! Reads of records as the factory-service stores them.

use catalog::store::TagRevocation;
use catalog::{Catalog, CatalogError, REVOKED_FLAG, Record, TagState, Withdrawal, keys};
use redis::AsyncCommands;
use tag_id::BatchNo;
use test_support::RedisServer;

use crate::support::{NOW, batch, id, pool, product};

async fn put_product(redis: &RedisServer, number: u64) {
    let mut connection = redis.connection().await;
    let product = product(number);
    let () = connection.set(keys::product(&product.id), product.encode(1)).await.unwrap();
    let () = connection.zadd(keys::products_of("acme"), product.id.to_string(), 0).await.unwrap();
}

async fn put_batch(redis: &RedisServer, number: u32) {
    let mut connection = redis.connection().await;
    let batch = batch(number);
    let () = connection.set(keys::batch(batch.batch_no), batch.encode(4)).await.unwrap();
    let () = connection.set(keys::batch_no(&batch.id), number).await.unwrap();
    let () = connection.zadd(keys::batches_of("acme"), batch.id.to_string(), 0).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_found_by_its_id_and_by_its_number() {
    let redis = RedisServer::start().await;
    let catalog = Catalog::new(pool(&redis));
    assert!(catalog.product(&id(1)).await.unwrap().is_none());
    assert!(catalog.batch(&id(7), "acme").await.unwrap().is_none());
    put_product(&redis, 1).await;
    put_batch(&redis, 7).await;
    let stored = catalog.product(&id(1)).await.unwrap().unwrap();
    assert_eq!((stored.value, stored.revision), (product(1), 1));
    let stored = catalog.batch(&id(7), "acme").await.unwrap().unwrap();
    assert_eq!((&stored.value, stored.revision), (&batch(7), 4));
    assert_eq!(stored.bytes, batch(7).encode(4), "a change must find these bytes unchanged");
    let by_no = catalog.batch_by_no(BatchNo::new(7).unwrap()).await.unwrap().unwrap();
    assert_eq!(by_no.value, stored.value);
    assert!(catalog.batch_by_no(BatchNo::new(8).unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn pages_return_every_item_once_in_order() {
    let redis = RedisServer::start().await;
    let catalog = Catalog::new(pool(&redis));
    let empty = catalog.products("acme", None, 3).await.unwrap();
    assert_eq!((empty.items.len(), empty.next), (0, None));
    let empty = catalog.batches("acme", None, 3).await.unwrap();
    assert_eq!((empty.items.len(), empty.next), (0, None));
    for number in [5, 1, 4, 2, 3, 7, 6] {
        put_product(&redis, number).await;
        put_batch(&redis, u32::try_from(number).unwrap()).await;
    }
    for limit in 1..=8 {
        let (mut products, mut batches) = (Vec::new(), Vec::new());
        let mut after = None;
        loop {
            let page = catalog.products("acme", after, limit).await.unwrap();
            let same = catalog.batches("acme", after, limit).await.unwrap();
            assert!(page.items.len() <= limit && page.next == same.next);
            assert!(page.next.is_none() || page.items.len() == limit, "only the last page is short");
            products.extend(page.items.into_iter().map(|item| item.id));
            batches.extend(same.items.into_iter().map(|item| item.id));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let all: Vec<_> = (1..=7).map(id).collect();
        assert_eq!((&products, &batches), (&all, &all), "limit {limit}");
    }
    assert!(catalog.products("other", None, 10).await.unwrap().items.is_empty());
    let after_last = catalog.products("acme", Some(id(7)), 10).await.unwrap();
    assert_eq!((after_last.items.len(), after_last.next), (0, None));
}

#[tokio::test]
async fn a_tag_without_a_state_is_untouched_and_a_revoked_one_has_its_reason() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let catalog = Catalog::new(pool(&redis));
    let serial = [0, 0, 17, 0, 0, 3];
    assert_eq!(catalog.tag(serial).await.unwrap(), (TagState::default(), None));
    let why = TagRevocation { withdrawal: Withdrawal { at: NOW, reason: "lost".to_owned() } };
    let () = connection.set(keys::tag(serial), &[REVOKED_FLAG][..]).await.unwrap();
    let () = connection.set(keys::tag_revocation(serial), why.encode()).await.unwrap();
    let (state, found) = catalog.tag(serial).await.unwrap();
    assert_eq!((state, found), (TagState { revoked: true, ..TagState::default() }, Some(why)));
}

#[tokio::test]
async fn a_damaged_value_is_an_error_and_never_missing() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let catalog = Catalog::new(pool(&redis));
    let () = connection.set(keys::product(&id(1)), "xx").await.unwrap();
    let () = connection.set(keys::batch(BatchNo::new(7).unwrap()), "0123456789{}").await.unwrap();
    let () = connection.set(keys::tag([0; 6]), "ab").await.unwrap();
    let () = connection.set(keys::batch_no(&id(9)), "no number").await.unwrap();
    assert!(matches!(catalog.product(&id(1)).await, Err(CatalogError::Record(_))));
    let damaged = catalog.batch_by_no(BatchNo::new(7).unwrap()).await.unwrap_err();
    assert!(damaged.to_string().contains("batch"), "{damaged}");
    let damaged = catalog.tag([0; 6]).await.unwrap_err();
    assert!(
        matches!(damaged, CatalogError::TagState(_)) && damaged.to_string().contains("not 2"),
        "{damaged}"
    );
    assert!(matches!(catalog.batch(&id(9), "acme").await, Err(CatalogError::RecordLost { .. })));
    let () = connection.hset(keys::product(&id(2)), "a", "b").await.unwrap();
    assert!(matches!(catalog.product(&id(2)).await, Err(CatalogError::RecordLost { .. })), "of another type");
}

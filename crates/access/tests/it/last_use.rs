//! Last uses are written in bunches, and never to a Redis that is not ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use access::{ApiKey, LastUse, MOST_KEYS};
use redis::AsyncCommands;

use crate::support::{DEPLOYMENT, Place, pool};

const MINUTE: u64 = 60_000;

async fn noted(place: &Place, key: &ApiKey) -> Option<u64> {
    place.redis.connection().await.hget("vt1:ku", key.id().as_str()).await.unwrap()
}

#[tokio::test]
async fn the_latest_use_is_written_and_a_later_one_of_another_instance_stands() {
    let place = Place::start().await;
    let (one, two) = (LastUse::new(), LastUse::new());
    let key = ApiKey::generate();
    one.note(key.id(), 7 * MINUTE + 59_999);
    one.note(key.id(), 5 * MINUTE);
    two.note(key.id(), 6 * MINUTE);
    assert_eq!(one.flush(&place.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(two.flush(&place.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(noted(&place, &key).await, Some(7));
    assert_eq!(one.flush(&place.pool, DEPLOYMENT).await.unwrap(), 0, "what was written is not written again");
}

#[tokio::test]
async fn what_could_not_be_written_is_kept() {
    let place = Place::start().await;
    let last_use = LastUse::new();
    let key = ApiKey::generate();
    last_use.note(key.id(), 3 * MINUTE);
    let mut link = place.redis.connection().await;
    let () = link.set("vt1:ku", "of another type").await.unwrap();
    assert!(last_use.flush(&place.pool, DEPLOYMENT).await.is_err());
    let () = link.del("vt1:ku").await.unwrap();
    assert_eq!(last_use.flush(&place.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(noted(&place, &key).await, Some(3));
}

#[tokio::test]
async fn an_emptied_redis_is_left_empty() {
    let place = Place::start().await;
    let last_use = LastUse::new();
    let key = ApiKey::generate();
    last_use.note(key.id(), 3 * MINUTE);
    let mut link = place.redis.connection().await;
    let record: String = link.get("vt1:deployment").await.unwrap();
    let () = link.del("vt1:deployment").await.unwrap();
    assert_eq!(last_use.flush(&place.pool, DEPLOYMENT).await.unwrap(), 0);
    assert_eq!(noted(&place, &key).await, None);
    let () = link.set("vt1:deployment", record).await.unwrap();
    assert_eq!(last_use.flush(&place.pool, DEPLOYMENT).await.unwrap(), 1);
}

#[tokio::test]
async fn more_keys_than_are_noted_leave_the_others_as_they_are() {
    let place = Place::start().await;
    let last_use = LastUse::new();
    for _ in 0..MOST_KEYS + 10 {
        last_use.note(ApiKey::generate().id(), MINUTE);
    }
    assert_eq!(last_use.flush(&place.pool, DEPLOYMENT).await.unwrap(), MOST_KEYS);
    let length: usize = place.redis.connection().await.hlen("vt1:ku").await.unwrap();
    assert_eq!(length, MOST_KEYS);
}

#[tokio::test(start_paused = true)]
async fn notes_are_written_about_once_a_minute() {
    let asked = Arc::new(AtomicU32::new(0));
    let task = tokio::spawn({
        let asked = Arc::clone(&asked);
        async move {
            // Nobody listens there, and nobody is asked: there is no deployment yet.
            let nowhere = pool("redis://127.0.0.1:1");
            let not_known = || {
                asked.fetch_add(1, Ordering::SeqCst);
                None
            };
            LastUse::new().keep_flushing(&nowhere, not_known).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(600)).await;
    task.abort();
    let asked = asked.load(Ordering::SeqCst);
    assert!((8..=12).contains(&asked), "{asked}");
}

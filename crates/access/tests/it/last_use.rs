//! Last uses are written in batches, and only to the expected deployment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use access::{ApiKey, LastUse, MAX_PENDING_KEYS};
use redis::AsyncCommands;

use crate::support::{DEPLOYMENT, Fixture, pool};

const MINUTE: u64 = 60_000;

async fn stored_minute(fixture: &Fixture, key: &ApiKey) -> Option<u64> {
    fixture.redis.connection().await.hget("vt1:ku", key.id().as_str()).await.unwrap()
}

#[tokio::test]
async fn a_flush_writes_the_latest_use_and_never_replaces_a_later_one() {
    let fixture = Fixture::start().await;
    let (one, two) = (LastUse::new(), LastUse::new());
    let key = ApiKey::generate();
    one.note(key.id(), 7 * MINUTE + 59_999);
    one.note(key.id(), 5 * MINUTE);
    two.note(key.id(), 6 * MINUTE);
    assert_eq!(one.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(two.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(stored_minute(&fixture, &key).await, Some(7));
    assert_eq!(one.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 0, "a use is written once");
}

#[tokio::test]
async fn uses_stay_pending_after_a_failed_write() {
    let fixture = Fixture::start().await;
    let last_use = LastUse::new();
    let key = ApiKey::generate();
    last_use.note(key.id(), 3 * MINUTE);
    let mut connection = fixture.redis.connection().await;
    let () = connection.set("vt1:ku", "of another type").await.unwrap();
    assert!(last_use.flush(&fixture.pool, DEPLOYMENT).await.is_err());
    let () = connection.del("vt1:ku").await.unwrap();
    assert_eq!(last_use.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 1);
    assert_eq!(stored_minute(&fixture, &key).await, Some(3));
}

#[tokio::test]
async fn nothing_is_written_without_the_deployment_record() {
    let fixture = Fixture::start().await;
    let last_use = LastUse::new();
    let key = ApiKey::generate();
    last_use.note(key.id(), 3 * MINUTE);
    let mut connection = fixture.redis.connection().await;
    let record: String = connection.get("vt1:deployment").await.unwrap();
    let () = connection.del("vt1:deployment").await.unwrap();
    assert_eq!(last_use.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 0);
    assert_eq!(stored_minute(&fixture, &key).await, None);
    let () = connection.set("vt1:deployment", record).await.unwrap();
    assert_eq!(last_use.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), 1);
}

#[tokio::test]
async fn uses_beyond_the_maximum_number_of_keys_are_dropped() {
    let fixture = Fixture::start().await;
    let last_use = LastUse::new();
    for _ in 0..MAX_PENDING_KEYS + 10 {
        last_use.note(ApiKey::generate().id(), MINUTE);
    }
    assert_eq!(last_use.flush(&fixture.pool, DEPLOYMENT).await.unwrap(), MAX_PENDING_KEYS);
    let length: usize = fixture.redis.connection().await.hlen("vt1:ku").await.unwrap();
    assert_eq!(length, MAX_PENDING_KEYS);
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_attempted_about_once_a_minute() {
    let attempts = Arc::new(AtomicU32::new(0));
    let task = tokio::spawn({
        let attempts = Arc::clone(&attempts);
        async move {
            // No server listens on this port. No command is sent, because the deployment is unknown.
            let pool = pool("redis://127.0.0.1:1");
            let unknown = || {
                attempts.fetch_add(1, Ordering::SeqCst);
                None
            };
            LastUse::new().keep_flushing(&pool, unknown).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(600)).await;
    task.abort();
    let attempts = attempts.load(Ordering::SeqCst);
    assert!((8..=12).contains(&attempts), "{attempts}");
}

//! The storage policy that real servers report.

use catalog::StoragePolicy;
use test_support::RedisServer;

use crate::support::{pool, pool_within};

async fn read(args: &[&str]) -> StoragePolicy {
    let redis = RedisServer::start_with(args).await;
    StoragePolicy::read(&pool(&redis)).await.unwrap()
}

#[tokio::test]
async fn a_server_that_keeps_everything_gives_no_warning() {
    let policy = read(&["--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "100mb"]).await;
    let expected = StoragePolicy {
        maxmemory: Some(100 * 1024 * 1024),
        eviction: Some("noeviction".to_owned()),
        append_only: Some(true),
        fsync: Some("always".to_owned()),
        pauses_fsync: Some(false),
    };
    assert_eq!(policy, expected);
    assert!(!policy.may_evict() && !policy.is_weak() && policy.warnings(true).is_empty());
}

#[tokio::test]
async fn a_server_that_may_lose_writes_gives_a_warning() {
    for (args, word) in [
        (&["--appendonly", "yes", "--appendfsync", "everysec"][..], "everysec"),
        (&["--appendonly", "yes", "--appendfsync", "no"], "appendfsync is no"),
        (&["--appendonly", "no"], "appendonly is no"),
        (
            &["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"],
            "no-appendfsync-on-rewrite is yes",
        ),
    ] {
        let policy = read(args).await;
        assert!(policy.is_weak(), "{policy:?}");
        let warnings = policy.warnings(true);
        assert!(warnings.len() == 1 && warnings[0].contains(word), "{warnings:?}");
        assert!(policy.warnings(false).is_empty(), "a cache need not survive a crash");
    }
    for eviction in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"] {
        let policy = read(&["--maxmemory-policy", eviction]).await;
        assert!(policy.may_evict(), "{policy:?}");
        assert!(policy.warnings(false)[0].contains(eviction));
    }
}

#[tokio::test]
async fn a_server_that_forbids_config_gives_a_warning_and_no_error() {
    let policy = read(&["--rename-command", "CONFIG", ""]).await;
    assert_eq!(policy, StoragePolicy::default());
    let warnings = policy.warnings(true);
    assert!(warnings.len() == 1 && warnings[0].contains("unknown"), "{warnings:?}");
}

#[tokio::test]
async fn an_unavailable_server_is_an_error() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let pool = pool_within(&redis.url(), std::time::Duration::from_millis(200));
    assert!(StoragePolicy::read(&pool).await.is_err());
}

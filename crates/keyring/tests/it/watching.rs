//! How soon a process sees a change of the keyring, and how it reports a keyring that it cannot use.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, ManualClock, SystemClock};
use keyring::{
    HEARTBEAT_INTERVAL, INSTANCE_TTL, KeyringError, KeyringMetrics, KeyringStatus, KeyringWatch,
    LiveInstances, Move, STALE_AFTER, TagKeyState, keys,
};
use prometheus_client::registry::Registry;
use redis::AsyncCommands;
use test_support::FaultProxy;

use crate::support::{
    FACTORY, Fixture, LISTENER, SCANNER, WAIT, correct, epoch, now, pool_within, revoke, secrets, tag,
};

/// Rounds of the measurement, half a second each. `VOKETAG_TEST_ROUNDS` sets more.
#[allow(clippy::disallowed_methods, reason = "the person who runs the test chooses its length")]
fn rounds() -> usize {
    std::env::var("VOKETAG_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// Maximum delay of a change to another instance, 99th percentile.
const BAR: Duration = Duration::from_secs(2);

/// Sends heartbeats as a service does, until the task is aborted.
fn heartbeats(fixture: &Fixture, watch: &Arc<KeyringWatch>) -> tokio::task::JoinHandle<()> {
    let (watch, deployment) = (Arc::clone(watch), fixture.deployment.clone());
    tokio::spawn(async move {
        loop {
            drop(watch.heartbeat(&deployment).await);
            watch.pause().await;
        }
    })
}

#[tokio::test]
async fn a_change_reaches_both_services_within_two_seconds_at_the_99th_percentile() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[1])).await;
    let scanner = fixture.process(SCANNER, secrets(&[1, 2], &[])).await;
    let admin = fixture.admin(secrets(&[1, 2], &[1]));
    let tasks = [heartbeats(&fixture, &factory), heartbeats(&fixture, &scanner)];
    fixture.make(&admin, tag(2), &Move::Add).await.unwrap();
    fixture.make(&admin, tag(2), &Move::Activate).await.unwrap();
    let clock = SystemClock::new();
    // Each round sets an earlier date of the revoked key, because that move can be repeated without end.
    let mut since = now();
    fixture.make(&admin, tag(1), &revoke(since)).await.unwrap();
    let mut took = Vec::new();
    let rounds = rounds();
    for _ in 0..rounds {
        since -= time::Duration::seconds(1);
        let started = clock.monotonic();
        let revision = fixture.make(&admin, tag(1), &correct(since)).await.unwrap();
        for watch in [&factory, &scanner] {
            let knows = || watch.snapshot().is_some_and(|snapshot| snapshot.revision() >= revision);
            test_support::eventually("the instance has read the change", WAIT, || async { knows() }).await;
            let snapshot = watch.snapshot().unwrap();
            let Some(TagKeyState::Revoked(revocation)) = snapshot.tag_state(epoch(1)) else {
                panic!("{snapshot:?}")
            };
            assert_eq!(revocation.compromised_since, since);
        }
        took.push(clock.monotonic().saturating_sub(started));
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    took.sort_unstable();
    let (median, p99, worst) = (took[rounds / 2], took[rounds * 99 / 100 - 1], took[rounds - 1]);
    println!(
        "a keyring change reached two instances after {median:?} (median), {p99:?} (p99), {worst:?} (worst) \
         of {rounds}"
    );
    assert!(p99 <= BAR, "{p99:?}");
}

#[tokio::test]
async fn a_revision_that_went_back_is_lost_state_until_it_is_restored() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1, 2], &[])).await;
    let mut connection = fixture.redis.connection().await;
    let old: Vec<u8> = connection.get(keys::KEYRING).await.unwrap();
    fixture.make(&fixture.admin(secrets(&[1, 2], &[])), tag(2), &Move::Add).await.unwrap();
    let new: Vec<u8> = connection.get(keys::KEYRING).await.unwrap();
    let snapshot = factory.heartbeat(&fixture.deployment).await.unwrap();
    assert_eq!(snapshot.tag_state(epoch(2)), Some(&TagKeyState::Pending));
    assert_eq!((snapshot.tag_state(epoch(3)), snapshot.tag_state(epoch(4_095))), (None, None));
    let _: () = connection.set(keys::KEYRING, &old).await.unwrap();
    let lost = factory.heartbeat(&fixture.deployment).await.unwrap_err().to_string();
    assert!(lost.contains("from revision 2 to 1"), "{lost}");
    assert!(factory.snapshot().is_none());
    let _: () = connection.set(keys::KEYRING, &new).await.unwrap();
    assert_eq!(factory.heartbeat(&fixture.deployment).await.unwrap(), snapshot);
    let _: () = connection.set(keys::KEYRING, b"\x00\x00\x00\x09rubbish").await.unwrap();
    assert!(matches!(factory.heartbeat(&fixture.deployment).await, Err(KeyringError::Record(_))));
    assert!(matches!(factory.status(), KeyringStatus::Lost(_)));
}

#[tokio::test]
async fn a_wiped_redis_is_lost_state_and_nothing_is_written_to_it() {
    let fixture = Fixture::start().await;
    let factory = fixture.process(FACTORY, secrets(&[1], &[])).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut fixture.redis.connection().await).await.unwrap();
    assert!(matches!(factory.heartbeat(&fixture.deployment).await, Err(KeyringError::Lost(_))));
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut fixture.redis.connection().await).await.unwrap();
    assert_eq!(size, 0);
}

#[tokio::test]
async fn a_process_that_lacks_a_secret_in_use_cannot_use_the_keyring() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[])).await;
    let foreign = {
        let mut other = secrets(&[], &[]);
        let secret = tag_id::MasterSecret::from([9; 32]);
        other.tags = Arc::new(tag_id::TagKeys::new(None, [(epoch(1), secret)]));
        other
    };
    for (held, why) in
        [(secrets(&[2], &[]), "no secret for tag key 1"), (foreign, "another secret for tag key 1")]
    {
        let scanner = fixture.watch(SCANNER, held);
        let lost = scanner.heartbeat(&fixture.deployment).await.unwrap_err().to_string();
        assert!(lost.contains(why), "{lost}");
        assert!(scanner.snapshot().is_none());
    }
}

#[tokio::test]
async fn the_snapshot_stays_usable_during_an_outage_and_metrics_show_its_age() {
    let fixture = Fixture::start().await;
    let known = fixture.process(FACTORY, secrets(&[1], &[])).await.snapshot().unwrap();
    let proxy = FaultProxy::start(fixture.redis.addr()).await;
    let clock = Arc::new(ManualClock::new());
    let mut registry = Registry::with_prefix("voketag");
    let metrics = KeyringMetrics::register(&mut registry);
    let shows = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().any(|shown| shown == line)
    };
    let pool = pool_within(&proxy.url(), Duration::from_millis(300));
    let scanner = KeyringWatch::new(pool, clock.clone(), secrets(&[1], &[]), SCANNER, metrics);
    assert!(scanner.is_stale() && scanner.polled_ago().is_none());
    assert!(shows("voketag_keyring_stale 1"));
    test_support::eventually("a heartbeat succeeds", WAIT, || async {
        scanner.heartbeat(&fixture.deployment).await.is_ok()
    })
    .await;
    assert!(!scanner.is_stale());
    assert!(shows("voketag_keyring_stale 0") && shows("voketag_keyring_revision 1"));
    proxy.stall();
    clock.advance(STALE_AFTER - Duration::from_millis(1));
    assert!(matches!(scanner.heartbeat(&fixture.deployment).await, Err(KeyringError::Redis(_))));
    assert!(!scanner.is_stale() && shows("voketag_keyring_stale 0"));
    clock.advance(Duration::from_millis(1));
    assert!(matches!(scanner.heartbeat(&fixture.deployment).await, Err(KeyringError::Redis(_))));
    assert_eq!(scanner.polled_ago(), Some(STALE_AFTER));
    assert!(
        scanner.is_stale() && shows("voketag_keyring_stale 1") && shows("voketag_keyring_heard_seconds 10.0")
    );
    assert_eq!((scanner.snapshot(), scanner.status()), (Some(known), KeyringStatus::Usable));
    clock.advance(Duration::from_millis(500));
    assert!(shows("voketag_keyring_age_seconds 10.5"), "the age grows between two attempts");
    proxy.heal();
    test_support::eventually("a heartbeat succeeds again", WAIT, || async {
        scanner.heartbeat(&fixture.deployment).await.is_ok()
    })
    .await;
    assert!(!scanner.is_stale());
}

#[tokio::test]
async fn instances_that_send_heartbeats_are_listed_and_an_operators_command_is_not() {
    let fixture = Fixture::start().await;
    fixture.process(FACTORY, secrets(&[1], &[1])).await;
    let scanner = fixture.process(SCANNER, secrets(&[1, 2], &[])).await;
    fixture.process(LISTENER, secrets(&[1], &[])).await;
    let mut live = LiveInstances::read(&fixture.pool).await.unwrap().instances;
    live.sort_by(|a, b| a.service.cmp(&b.service));
    let shown: Vec<_> =
        live.iter().map(|one| (one.service.as_str(), one.revision, one.tag.len(), one.audit.len())).collect();
    assert_eq!(shown, [("factory-service", 1, 1, 1), ("scan-service", 1, 1, 0)]);
    let mut connection = fixture.redis.connection().await;
    let keys: Vec<String> = connection.keys("vt1:live:*").await.unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let lasts: u64 = connection.pttl(key).await.unwrap();
        assert!(lasts > 0 && u128::from(lasts) <= INSTANCE_TTL.as_millis(), "{lasts}");
    }
    assert!(HEARTBEAT_INTERVAL * 4 < INSTANCE_TTL, "a few lost heartbeats do not end an instance");
    // An instance whose registration has expired.
    let _: () = redis::cmd("ZADD")
        .arg(keys::LIVE)
        .arg(1)
        .arg("019c6652-5e00-7000-8000-000000000001")
        .query_async(&mut connection)
        .await
        .unwrap();
    scanner.heartbeat(&fixture.deployment).await.unwrap();
    assert_eq!(
        connection.zcard::<_, u64>(keys::LIVE).await.unwrap(),
        2,
        "any heartbeat removes expired instances"
    );
    assert_eq!(
        connection.get::<_, String>(keys::LIVE_SEQ).await.unwrap(),
        "2",
        "a second heartbeat registers nothing"
    );
}

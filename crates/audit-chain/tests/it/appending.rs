//! The guarantees of an acknowledged append, with one appender and with several.

use crate::support::{ORIGIN, PATIENT, appender, appender_with, config, event, pool, verified_events};
use ambient::{Clock, ManualClock, SystemClock};
use audit_chain::{
    AppendError, Appender, AuditMetrics, Details, Effect, Event, entry_hash, genesis_prev, keys, payload_hash,
};
use prometheus_client::registry::Registry;
use redis::AsyncCommands;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use test_support::{RedisServer, eventually};

#[tokio::test]
async fn the_first_entry_is_chained_to_the_origin() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let empty = appender.log().head().await.unwrap();
    assert_eq!((empty.size, empty.hash), (0, genesis_prev(ORIGIN)));
    let event = event("tag/1");
    let appended = appender.append(&event, Effect::none()).await.unwrap();
    assert_eq!((appended.seq, appended.duplicate), (0, false));
    assert_eq!(appended.hash, entry_hash(0, &genesis_prev(ORIGIN), &payload_hash(event.payload())));
    let head = appender.log().head().await.unwrap();
    assert_eq!((head.size, head.hash), (1, appended.hash));
}

#[tokio::test]
async fn two_appenders_on_an_empty_log_make_one_chain() {
    let redis = RedisServer::start().await;
    let (one, two) = (appender(&redis.url()), appender(&redis.url()));
    let (event_one, event_two) = (event("tag/1"), event("tag/2"));
    let (first, second) =
        tokio::join!(one.append(&event_one, Effect::none()), two.append(&event_two, Effect::none()));
    let mut seqs = [first.unwrap().seq, second.unwrap().seq];
    seqs.sort_unstable();
    assert_eq!(seqs, [0, 1]);
    assert_eq!(verified_events(&one).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_appenders_with_fifty_writers_each_lose_and_duplicate_nothing() {
    let redis = RedisServer::start().await;
    let appenders: Vec<Appender> = (0..4).map(|_| appender(&redis.url())).collect();
    let mut writers = tokio::task::JoinSet::new();
    for (process, appender) in appenders.iter().enumerate() {
        for writer in 0..50 {
            let appender = appender.clone();
            writers.spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..10 {
                    let event = event(&format!("tag/{process}-{writer}-{number}"));
                    let appended = appender.append(&event, Effect::none()).await.unwrap();
                    assert!(!appended.duplicate);
                    acknowledged.push((appended.seq, event));
                }
                acknowledged
            });
        }
    }
    let acknowledged: HashMap<u64, Event> = writers.join_all().await.into_iter().flatten().collect();
    let stored = verified_events(&appenders[0]).await;
    assert_eq!((stored.len(), acknowledged.len()), (2_000, 2_000));
    for (seq, event) in acknowledged {
        assert_eq!(stored[usize::try_from(seq).unwrap()], event);
    }
}

#[tokio::test]
async fn a_repeated_event_returns_the_original_entry() {
    let redis = RedisServer::start().await;
    let (appender, other_process) = (appender(&redis.url()), appender(&redis.url()));
    let repeated = event("tag/1");
    let original = appender.append(&repeated, Effect::none()).await.unwrap();
    appender.append(&event("tag/2"), Effect::none()).await.unwrap();
    for appender in [appender, other_process] {
        let again = appender.append(&repeated, Effect::none()).await.unwrap();
        assert_eq!((again.seq, again.hash, again.duplicate), (original.seq, original.hash, true));
        assert_eq!(verified_events(&appender).await.len(), 2);
    }
}

#[tokio::test]
async fn a_reused_id_fails_only_its_own_caller() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let (first, before, after) = (event("tag/1"), event("tag/2"), event("tag/3"));
    appender.append(&first, Effect::none()).await.unwrap();
    let mut what = first.what().clone();
    what.details = Details::new().with("other", true);
    let reused = Event::new(first.unix_millis(), first.id(), *first.nonce(), what).unwrap();
    let none = Effect::none;
    let (before, reused, after) = tokio::join!(
        appender.append(&before, none()),
        appender.append(&reused, none()),
        appender.append(&after, none())
    );
    assert!(matches!(reused, Err(AppendError::IdReused { seq: 0 })));
    assert_eq!((before.unwrap().seq, after.unwrap().seq), (1, 2));
    assert_eq!(verified_events(&appender).await.len(), 3);
}

#[tokio::test]
async fn an_event_handed_in_twice_at_once_is_written_once() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let event = event("tag/1");
    let (one, two) =
        tokio::join!(appender.append(&event, Effect::none()), appender.append(&event, Effect::none()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.seq, one.hash), (two.seq, two.hash));
    assert_eq!((one.duplicate, two.duplicate), (false, true));
    assert_eq!(verified_events(&appender).await.len(), 1);
}

#[tokio::test]
async fn a_call_can_cross_segments() {
    let redis = RedisServer::start().await;
    let appender = appender_with(&redis.url(), PATIENT, {
        let max_entries_per_call = NonZeroUsize::new(1_000).unwrap();
        audit_chain::AppenderConfig {
            max_entries_per_call,
            queue: NonZeroUsize::new(10_000).unwrap(),
            ..config()
        }
    });
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8_200 {
        let appender = appender.clone();
        writers.spawn(async move {
            appender.append(&event(&format!("tag/{number}")), Effect::none()).await.unwrap()
        });
    }
    assert_eq!(writers.join_all().await.len(), 8_200);
    let mut direct = redis.connection().await;
    let lengths: Vec<u64> = redis::pipe()
        .llen("vt1:{audit}:seg:0")
        .llen("vt1:{audit}:seg:1")
        .llen("vt1:{audit}:seg:2")
        .query_async(&mut direct)
        .await
        .unwrap();
    assert_eq!(lengths, [4_096, 4_096, 8]);
    assert_eq!(verified_events(&appender).await.len(), 8_200);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again_while_writers_append() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let mut direct = redis.connection().await;
    for round in 0..5 {
        let flush = async { redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut direct).await.unwrap() };
        let (one, two) = (event(&format!("tag/{round}-1")), event(&format!("tag/{round}-2")));
        let (first, (), second) =
            tokio::join!(appender.append(&one, Effect::none()), flush, appender.append(&two, Effect::none()));
        first.unwrap();
        second.unwrap();
    }
    assert_eq!(verified_events(&appender).await.len(), 10);
}

#[tokio::test]
async fn a_full_queue_rejects_at_once() {
    let redis = RedisServer::start().await;
    let queue = NonZeroUsize::new(2).unwrap();
    let appender = appender_with(&redis.url(), PATIENT, audit_chain::AppenderConfig { queue, ..config() });
    let events = [event("tag/1"), event("tag/2"), event("tag/3")];
    let (one, two, three) = tokio::join!(
        appender.append(&events[0], Effect::none()),
        appender.append(&events[1], Effect::none()),
        appender.append(&events[2], Effect::none())
    );
    assert_eq!((one.unwrap().seq, two.unwrap().seq), (0, 1));
    assert!(matches!(three, Err(AppendError::Overloaded { waited: Duration::ZERO })));
    assert_eq!(appender.append(&events[2], Effect::none()).await.unwrap().seq, 2);
}

#[tokio::test]
async fn an_event_that_reaches_its_deadline_is_rejected_and_not_written() {
    let redis = RedisServer::start().await;
    let clock = Arc::new(ManualClock::new());
    let deadline = Duration::from_secs(2);
    let one_entry_per_call =
        audit_chain::AppenderConfig { max_entries_per_call: NonZeroUsize::MIN, deadline, ..config() };
    let pool = pool(&redis.url(), PATIENT);
    let clock_of_appender = Arc::<ManualClock>::clone(&clock);
    let appender =
        Appender::start(pool.clone(), one_entry_per_call, clock_of_appender, &AuditMetrics::default());
    let (first, second) = (event("tag/1"), event("tag/2"));
    appender.append(&event("tag/0"), Effect::none()).await.unwrap();
    redis.pause();
    let pass_the_deadline = async {
        let in_flight = || async { pool.stats().permits_in_use == 1 };
        eventually("the first call is in flight", Duration::from_secs(60), in_flight).await;
        clock.advance(Duration::from_secs(3));
        redis.resume();
    };
    let (first, second, ()) = tokio::join!(
        appender.append(&first, Effect::none()),
        appender.append(&second, Effect::none()),
        pass_the_deadline
    );
    assert_eq!(first.unwrap().seq, 1);
    assert!(matches!(second, Err(AppendError::Overloaded { waited }) if waited == Duration::from_secs(3)));
    assert_eq!(verified_events(&appender).await.len(), 2);
}

#[tokio::test]
async fn every_result_is_counted() {
    let redis = RedisServer::start().await;
    let mut registry = Registry::with_prefix("voketag");
    let metrics = AuditMetrics::register(&mut registry);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let appender = Appender::start(pool(&redis.url(), PATIENT), config(), clock, &metrics);
    let event = event("tag/1");
    appender.append(&event, Effect::none()).await.unwrap();
    appender.append(&event, Effect::none()).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in ["{result=\"ok\"} 1", "{result=\"duplicate\"} 1", "duration_seconds_count 2"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_affect_other_callers() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let (abandoned, awaited) = (event("tag/1"), event("tag/2"));
    let caller = {
        let appender = appender.clone();
        tokio::spawn(async move { appender.append(&abandoned, Effect::none()).await })
    };
    tokio::task::yield_now().await;
    caller.abort();
    let appended = appender.append(&awaited, Effect::none()).await.unwrap();
    let log = appender.log().clone();
    eventually("the chain holds the acknowledged event", Duration::from_secs(60), || async {
        log.head().await.unwrap().size > appended.seq
    })
    .await;
    verified_events(&appender).await;
}

#[tokio::test]
async fn a_damaged_generation_of_event_ids_stops_no_append() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let mut direct = redis.connection().await;
    for is_list in [true, false] {
        appender.append(&event("tag/1"), Effect::none()).await.unwrap();
        let _: () = direct.del(keys::GENERATION).await.unwrap();
        if is_list {
            let _: () = direct.rpush(keys::GENERATION, "x").await.unwrap();
        } else {
            let _: () = direct.set(keys::GENERATION, "x").await.unwrap();
        }
        let again = event("tag/2");
        let first = appender.append(&again, Effect::none()).await.unwrap();
        let second = appender.append(&again, Effect::none()).await.unwrap();
        assert!(second.duplicate && first.seq == second.seq, "ids are known again from here on");
    }
}

//! A Redis that lost state is refused for reading and for writing, and nothing is written to it.

use crate::support::{PATIENT, appender, appender_with, config, event, verified_events};
use audit_chain::{AppendError, AppenderConfig, Effect, HEAD_LUA, Precondition, ReadError, StateLoss};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

async fn keys(direct: &mut MultiplexedConnection) -> u64 {
    redis::cmd("DBSIZE").query_async(direct).await.unwrap()
}

async fn flush(direct: &mut MultiplexedConnection) {
    redis::cmd("FLUSHALL").query_async::<()>(direct).await.unwrap();
}

fn lost(answer: Result<audit_chain::Appended, AppendError>) -> StateLoss {
    match answer {
        Err(AppendError::StateLost(loss)) => loss,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wiped_redis_is_refused_every_time() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    for number in 0..3 {
        appender.append(&event(&format!("tag/{number}")), Effect::none()).await.unwrap();
    }
    let mut direct = redis.connection().await;
    flush(&mut direct).await;
    for _ in 0..3 {
        let loss = lost(appender.append(&event("tag/4"), Effect::none()).await);
        assert_eq!(loss, StateLoss::HeadAbsent { size: 3 });
    }
    let read = appender.log().head().await;
    assert!(matches!(read, Err(ReadError::StateLost(StateLoss::HeadAbsent { size: 3 }))));
    assert_eq!(keys(&mut direct).await, 0);
}

#[tokio::test]
async fn an_older_state_is_refused_until_the_true_one_is_back() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    appender.append(&event("tag/1"), Effect::none()).await.unwrap();
    let mut direct = redis.connection().await;
    let older: Vec<u8> = direct.get("vt1:{audit}:head").await.unwrap();
    appender.append(&event("tag/2"), Effect::none()).await.unwrap();
    let newer: Vec<u8> = direct.get("vt1:{audit}:head").await.unwrap();
    let element: Vec<u8> = direct.rpop("vt1:{audit}:seg:0", None).await.unwrap();
    let _: () = direct.set("vt1:{audit}:head", older).await.unwrap();
    let loss = lost(appender.append(&event("tag/3"), Effect::none()).await);
    assert_eq!(loss, StateLoss::HeadLower { seen: 2, found: 1 });
    assert!(matches!(appender.log().verify(0..u64::MAX).await, Err(ReadError::StateLost(_))));
    assert_eq!(direct.llen::<_, u64>("vt1:{audit}:seg:0").await.unwrap(), 1);
    let _: () = direct.rpush("vt1:{audit}:seg:0", element).await.unwrap();
    let _: () = direct.set("vt1:{audit}:head", newer).await.unwrap();
    assert_eq!(appender.append(&event("tag/3"), Effect::none()).await.unwrap().seq, 2);
}

#[tokio::test]
async fn another_chain_is_refused_whether_as_long_or_longer() {
    let redis = RedisServer::start().await;
    let ours = appender(&redis.url());
    ours.append(&event("tag/1"), Effect::none()).await.unwrap();
    flush(&mut redis.connection().await).await;
    let other = appender(&redis.url());
    for number in 1..=2 {
        other.append(&event("tag/other"), Effect::none()).await.unwrap();
        let loss = lost(ours.append(&event("tag/2"), Effect::none()).await);
        assert_eq!(loss, StateLoss::Forked { seq: 0 });
        assert!(matches!(ours.log().head().await, Err(ReadError::StateLost(StateLoss::Forked { seq: 0 }))));
        assert_eq!(verified_events(&other).await.len(), number);
    }
}

#[tokio::test]
async fn nothing_is_written_while_the_guard_does_not_hold() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    let _: () = direct.set("deployment", "id-1;more").await.unwrap();
    let guard = vec![Precondition::Prefix { key: b"deployment".to_vec(), prefix: b"id-1;".to_vec() }];
    let appender = appender_with(&redis.url(), PATIENT, AppenderConfig { guard, ..config() });
    appender.append(&event("tag/1"), Effect::none()).await.unwrap();
    let _: () = direct.set("deployment", "id-2;more").await.unwrap();
    assert_eq!(lost(appender.append(&event("tag/2"), Effect::none()).await), StateLoss::Guard { check: 0 });
    let _: () = direct.del("deployment").await.unwrap();
    assert_eq!(lost(appender.append(&event("tag/2"), Effect::none()).await), StateLoss::Guard { check: 0 });
    assert_eq!(verified_events(&appender).await.len(), 1);
    let _: () = direct.set("deployment", "id-1;changed").await.unwrap();
    assert_eq!(appender.append(&event("tag/2"), Effect::none()).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_head_below_an_observed_one_is_refused() {
    let redis = RedisServer::start().await;
    let (ours, others) = (appender(&redis.url()), appender(&redis.url()));
    ours.append(&event("tag/1"), Effect::none()).await.unwrap();
    let mut direct = redis.connection().await;
    let older: Vec<u8> = direct.get("vt1:{audit}:head").await.unwrap();
    others.append(&event("tag/2"), Effect::none()).await.unwrap();
    let newer: Vec<u8> = direct.get("vt1:{audit}:head").await.unwrap();
    // `ours` neither reads nor appends: it has seen one entry, and observes two in the reply of a script.
    ours.log().observe(&newer);
    assert_eq!(ours.log().least_size(), 2);
    let _: () = direct.set("vt1:{audit}:head", older).await.unwrap();
    let loss = lost(ours.append(&event("tag/3"), Effect::none()).await);
    assert_eq!(loss, StateLoss::HeadLower { seen: 2, found: 1 });
    assert!(matches!(ours.log().head().await, Err(ReadError::StateLost(_))));
    let _: () = direct.set("vt1:{audit}:head", newer).await.unwrap();
    assert_eq!(ours.append(&event("tag/3"), Effect::none()).await.unwrap().seq, 2);
    ours.log().observe(b"not a head");
    assert_eq!(ours.log().least_size(), 3);
}

#[tokio::test]
async fn scripts_read_the_size_of_a_head_as_a_number() {
    let redis = RedisServer::start().await;
    let mut direct = redis.connection().await;
    let script =
        format!("{HEAD_LUA} return string.format('%.0f', audit_size(ARGV[1] ~= '' and ARGV[1] or false))");
    let head = |size: u64| [&size.to_be_bytes()[..], &[0xff; 32]].concat();
    for (head, size) in [
        (vec![], "0"),
        (head(1), "1"),
        (head(255), "255"),
        (head(256), "256"),
        (head((1 << 32) - 1), "4294967295"),
        (head((1 << 53) - 1), "9007199254740991"),
        (head(1 << 53), "-1"),
        (head(u64::MAX), "-1"),
        (vec![0; 39], "-1"),
        (vec![0; 41], "-1"),
    ] {
        let mut eval = redis::cmd("EVAL");
        let reply: String = eval.arg(&script).arg(0).arg(head).query_async(&mut direct).await.unwrap();
        assert_eq!(reply, size);
    }
}

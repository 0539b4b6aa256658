//! Batch numbers: drawn at random for a deployment, then one after the other around 2^24.

use std::collections::BTreeSet;

use catalog::{DeploymentError, keys};
use redis::AsyncCommands;
use test_support::RedisServer;

use crate::support::{NOW, factory, scanner};

#[tokio::test]
async fn numbers_follow_each_other_whoever_takes_them() {
    let redis = RedisServer::start().await;
    let gates = [factory(&redis), factory(&redis), scanner(&redis)];
    let mut last = None;
    for _ in 0..4 {
        for gate in &gates {
            gate.look(NOW).await.unwrap();
            let number = gate.take_batch_no().await.unwrap();
            assert!(last.is_none_or(|last: tag_id::BatchNo| last.next() == number), "{last:?} {number}");
            last = Some(number);
        }
    }
}

#[tokio::test]
async fn a_deployment_made_anew_begins_elsewhere() {
    let redis = RedisServer::start().await;
    let mut first = BTreeSet::new();
    for _ in 0..6 {
        let gate = factory(&redis);
        gate.look(NOW).await.unwrap();
        first.insert(gate.take_batch_no().await.unwrap());
        let () = redis::cmd("FLUSHALL").query_async(&mut redis.connection().await).await.unwrap();
    }
    // Two of six random 24-bit numbers are the same once in a million runs.
    assert!(first.len() >= 5, "{first:?}");
}

#[tokio::test]
async fn after_the_last_number_comes_the_first() {
    let redis = RedisServer::start().await;
    let gate = factory(&redis);
    gate.look(NOW).await.unwrap();
    let () = redis.connection().await.set(keys::NEXT_BATCH_NO, 16_777_214).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(gate.take_batch_no().await.unwrap().get());
    }
    assert_eq!(taken, [16_777_214, 16_777_215, 0, 1]);
}

#[tokio::test]
async fn a_lost_counter_or_deployment_gives_no_number() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    let gate = factory(&redis);
    let refused = |taken| matches!(taken, Err(DeploymentError::Lost(_)));
    assert!(refused(gate.take_batch_no().await), "nothing has been seen yet");
    gate.look(NOW).await.unwrap();
    let record: Vec<u8> = link.get(keys::DEPLOYMENT).await.unwrap();

    let () = link.del(keys::NEXT_BATCH_NO).await.unwrap();
    assert!(refused(gate.take_batch_no().await));
    assert!(gate.is_lost());
    assert!(!link.exists::<_, bool>(keys::NEXT_BATCH_NO).await.unwrap(), "none is begun");

    let () = link.set(keys::NEXT_BATCH_NO, 5).await.unwrap();
    for other in [None, Some("{\"id\":\"00000000000000000000000000000000\"}")] {
        let () = match other {
            Some(other) => link.set(keys::DEPLOYMENT, other).await.unwrap(),
            None => link.del(keys::DEPLOYMENT).await.unwrap(),
        };
        assert!(refused(gate.take_batch_no().await));
        assert_eq!(link.get::<_, u32>(keys::NEXT_BATCH_NO).await.unwrap(), 5, "no number is used up");
    }
    let () = link.set(keys::DEPLOYMENT, record).await.unwrap();
    assert_eq!(gate.take_batch_no().await.unwrap().get(), 5);
}

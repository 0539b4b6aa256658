//! Batch numbers are drawn at random, and a used number is never drawn.

use std::collections::BTreeSet;

use catalog::{DeploymentError, DeploymentGate, Record, StoredDeployment, keys, minted};
use redis::AsyncCommands;
use test_support::RedisServer;

use crate::support::{NOW, batch, factory, pool, scanner};

async fn drawn(gate: &DeploymentGate) -> u32 {
    gate.draw_batch_no().await.unwrap().unwrap().get()
}

#[tokio::test]
async fn numbers_are_random_across_processes() {
    let redis = RedisServer::start().await;
    let gates = [factory(&redis), factory(&redis), scanner(&redis)];
    let mut numbers = Vec::new();
    for gate in &gates {
        gate.refresh(NOW).await.unwrap();
        for _ in 0..20 {
            numbers.push(drawn(gate).await);
        }
    }
    let consecutive = numbers.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
    // Of sixty random 24-bit numbers, two are equal or consecutive once in thousands of runs.
    assert!(consecutive <= 1, "{numbers:?}");
    assert!(numbers.iter().collect::<BTreeSet<_>>().len() >= 59, "{numbers:?}");
    assert!(!redis.connection().await.exists::<_, bool>(keys::MINTED).await.unwrap(), "nothing is written");
}

#[tokio::test]
async fn a_number_with_a_record_but_no_index_entry_is_not_drawn() {
    let redis = RedisServer::start().await;
    let script = redis::Script::new(include_str!("../../src/lua/draw_batch_no.lua"));
    let mut connection = redis.connection().await;
    factory(&redis).refresh(NOW).await.unwrap();
    let () = connection.set("vt1:b:5", "x").await.unwrap();
    let () = connection.hset(keys::MINTED, 6, "012345").await.unwrap();
    for (candidates, found) in [(&[5, 6, 7, 8][..], 7), (&[5, 6], -2)] {
        let mut call = script.key(keys::DEPLOYMENT);
        call.key(keys::MINTED).arg("{\"id\":\"").arg("vt1:b:");
        for candidate in candidates {
            call.arg(candidate);
        }
        assert_eq!(call.invoke_async::<i64>(&mut connection).await.unwrap(), found);
    }
}

#[tokio::test]
async fn no_number_is_drawn_if_the_deployment_is_lost_or_the_index_is_damaged() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let gate = factory(&redis);
    let is_lost = |drawn| matches!(drawn, Err(DeploymentError::Lost(_)));
    assert!(is_lost(gate.draw_batch_no().await), "no deployment has been seen yet");
    gate.refresh(NOW).await.unwrap();
    let record: Vec<u8> = connection.get(keys::DEPLOYMENT).await.unwrap();
    for other in [None, Some("{\"id\":\"00000000000000000000000000000000\"}")] {
        let () = match other {
            Some(other) => connection.set(keys::DEPLOYMENT, other).await.unwrap(),
            None => connection.del(keys::DEPLOYMENT).await.unwrap(),
        };
        assert!(is_lost(gate.draw_batch_no().await));
        assert!(gate.is_lost());
    }
    let () = connection.set(keys::DEPLOYMENT, record).await.unwrap();
    gate.refresh(NOW).await.unwrap();
    let () = connection.set(keys::MINTED, "no hash").await.unwrap();
    assert!(is_lost(gate.draw_batch_no().await));
    assert!(!gate.is_lost(), "everything else still works");
}

/// Creates a deployment as an earlier version left it: batches without index entries.
async fn without_index(redis: &RedisServer, batches: u32) -> DeploymentGate {
    let gate = factory(redis);
    gate.refresh(NOW).await.unwrap();
    let mut connection = redis.connection().await;
    let record: String = connection.get(keys::DEPLOYMENT).await.unwrap();
    let () = connection.set(keys::DEPLOYMENT, record.replace(",\"minted_noted\":true", "")).await.unwrap();
    let mut fill = redis::pipe();
    for number in 0..batches {
        let batch = batch(number);
        fill.set(keys::batch(batch.batch_no), batch.encode(1)).ignore();
        fill.set(format!("vt1:t:{number:08}"), "x").ignore();
    }
    let () = fill.query_async(&mut connection).await.unwrap();
    gate
}

#[tokio::test]
async fn batches_older_than_the_index_are_added_once() {
    let redis = RedisServer::start().await;
    let gate = without_index(&redis, 3_000).await;
    let mut connection = redis.connection().await;
    // A record that cannot be read is skipped, and an existing entry stays.
    let () = connection.set("vt1:b:3000", "short").await.unwrap();
    let () = connection.rpush("vt1:b:3001", "of another type").await.unwrap();
    let () = connection.hset(keys::MINTED, 7, "stands").await.unwrap();
    assert_eq!(minted::note_all(&pool(&redis), &gate).await.unwrap(), Some(2_999));
    assert_eq!(connection.hlen::<_, u32>(keys::MINTED).await.unwrap(), 3_000);
    assert_eq!(connection.hget::<_, _, Vec<u8>>(keys::MINTED, 2_999).await.unwrap(), [0, 0, 0, 10, 0, 3]);
    assert_eq!(connection.hget::<_, _, String>(keys::MINTED, 7).await.unwrap(), "stands");
    let stored = StoredDeployment::read(&pool(&redis)).await.unwrap().unwrap();
    assert!(stored.minted_noted());
    assert_eq!(minted::note_all(&pool(&redis), &gate).await.unwrap(), None, "the record is marked");
    let () = connection.del(keys::MINTED).await.unwrap();
    assert_eq!(
        minted::note_all(&pool(&redis), &gate).await.unwrap(),
        Some(3_000),
        "a lost index is built again"
    );
}

#[tokio::test]
async fn no_entries_are_added_in_another_deployment() {
    let redis = RedisServer::start().await;
    let gate = without_index(&redis, 3).await;
    let mut connection = redis.connection().await;
    let other = r#"{"id":"00","audit_origin":"o","created_at":"2026-02-16T12:00:00Z","tag_checks":{}}"#;
    let () = connection.set(keys::DEPLOYMENT, other).await.unwrap();
    assert!(minted::note_all(&pool(&redis), &gate).await.is_err());
    assert!(!connection.exists::<_, bool>(keys::MINTED).await.unwrap());
}

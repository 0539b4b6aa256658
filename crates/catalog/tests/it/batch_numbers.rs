//! Batch numbers: drawn at random among the unused ones, and never one that was used.

use std::collections::BTreeSet;

use catalog::{DeploymentError, DeploymentGate, Record, StoredDeployment, keys, minted};
use redis::AsyncCommands;
use test_support::RedisServer;

use crate::support::{NOW, batch, factory, pool, scanner};

async fn drawn(gate: &DeploymentGate) -> u32 {
    gate.draw_batch_no().await.unwrap().unwrap().get()
}

#[tokio::test]
async fn numbers_are_drawn_at_random_whoever_draws_them() {
    let redis = RedisServer::start().await;
    let gates = [factory(&redis), factory(&redis), scanner(&redis)];
    let mut numbers = Vec::new();
    for gate in &gates {
        gate.refresh(NOW).await.unwrap();
        for _ in 0..20 {
            numbers.push(drawn(gate).await);
        }
    }
    let follow = numbers.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
    // Two of sixty random 24-bit numbers are the same, or follow each other, once in thousands of runs.
    assert!(follow <= 1, "{numbers:?}");
    assert!(numbers.iter().collect::<BTreeSet<_>>().len() >= 59, "{numbers:?}");
    assert!(!redis.connection().await.exists::<_, bool>(keys::MINTED).await.unwrap(), "nothing is written");
}

#[tokio::test]
async fn a_number_that_only_a_record_shows_as_used_is_not_drawn() {
    let redis = RedisServer::start().await;
    let script = redis::Script::new(include_str!("../../src/lua/draw_batch_no.lua"));
    let mut link = redis.connection().await;
    factory(&redis).refresh(NOW).await.unwrap();
    let () = link.set("vt1:b:5", "x").await.unwrap();
    let () = link.hset(keys::MINTED, 6, "012345").await.unwrap();
    for (candidates, found) in [(&[5, 6, 7, 8][..], 7), (&[5, 6], -2)] {
        let mut call = script.key(keys::DEPLOYMENT);
        call.key(keys::MINTED).arg("{\"id\":\"").arg("vt1:b:");
        for candidate in candidates {
            call.arg(candidate);
        }
        assert_eq!(call.invoke_async::<i64>(&mut link).await.unwrap(), found);
    }
}

#[tokio::test]
async fn a_lost_deployment_or_unreadable_notes_give_no_number() {
    let redis = RedisServer::start().await;
    let mut link = redis.connection().await;
    let gate = factory(&redis);
    let refused = |drawn| matches!(drawn, Err(DeploymentError::Lost(_)));
    assert!(refused(gate.draw_batch_no().await), "nothing has been seen yet");
    gate.refresh(NOW).await.unwrap();
    let record: Vec<u8> = link.get(keys::DEPLOYMENT).await.unwrap();
    for other in [None, Some("{\"id\":\"00000000000000000000000000000000\"}")] {
        let () = match other {
            Some(other) => link.set(keys::DEPLOYMENT, other).await.unwrap(),
            None => link.del(keys::DEPLOYMENT).await.unwrap(),
        };
        assert!(refused(gate.draw_batch_no().await));
        assert!(gate.is_lost());
    }
    let () = link.set(keys::DEPLOYMENT, record).await.unwrap();
    gate.refresh(NOW).await.unwrap();
    let () = link.set(keys::MINTED, "no hash").await.unwrap();
    assert!(refused(gate.draw_batch_no().await));
    assert!(!gate.is_lost(), "the rest can be served");
}

/// A deployment as an earlier version left it: batches without notes of them.
async fn unnoted(redis: &RedisServer, batches: u32) -> DeploymentGate {
    let gate = factory(redis);
    gate.refresh(NOW).await.unwrap();
    let mut link = redis.connection().await;
    let record: String = link.get(keys::DEPLOYMENT).await.unwrap();
    let () = link.set(keys::DEPLOYMENT, record.replace(",\"minted_noted\":true", "")).await.unwrap();
    let mut fill = redis::pipe();
    for number in 0..batches {
        let batch = batch(number);
        fill.set(keys::batch(batch.batch_no), batch.encode(1)).ignore();
        fill.set(format!("vt1:t:{number:08}"), "x").ignore();
    }
    let () = fill.query_async(&mut link).await.unwrap();
    gate
}

#[tokio::test]
async fn batches_from_before_there_were_notes_are_noted_once() {
    let redis = RedisServer::start().await;
    let gate = unnoted(&redis, 3_000).await;
    let mut link = redis.connection().await;
    // What cannot be read is left out, and what is noted stays.
    let () = link.set("vt1:b:3000", "short").await.unwrap();
    let () = link.rpush("vt1:b:3001", "of another type").await.unwrap();
    let () = link.hset(keys::MINTED, 7, "stands").await.unwrap();
    assert_eq!(minted::note_all(&pool(&redis), &gate).await.unwrap(), Some(2_999));
    assert_eq!(link.hlen::<_, u32>(keys::MINTED).await.unwrap(), 3_000);
    assert_eq!(link.hget::<_, _, Vec<u8>>(keys::MINTED, 2_999).await.unwrap(), [0, 0, 0, 10, 0, 3]);
    assert_eq!(link.hget::<_, _, String>(keys::MINTED, 7).await.unwrap(), "stands");
    let stored = StoredDeployment::read(&pool(&redis)).await.unwrap().unwrap();
    assert!(stored.minted_noted());
    assert_eq!(minted::note_all(&pool(&redis), &gate).await.unwrap(), None, "it is done");
    let () = link.del(keys::MINTED).await.unwrap();
    assert_eq!(
        minted::note_all(&pool(&redis), &gate).await.unwrap(),
        Some(3_000),
        "what is lost is made again"
    );
}

#[tokio::test]
async fn notes_are_made_in_no_other_deployment() {
    let redis = RedisServer::start().await;
    let gate = unnoted(&redis, 3).await;
    let mut link = redis.connection().await;
    let () = link.set(keys::DEPLOYMENT, "{\"id\":\"00\",\"audit_origin\":\"o\",\"created_at\":\"2026-02-16T12:00:00Z\",\"tag_checks\":{}}").await.unwrap();
    assert!(minted::note_all(&pool(&redis), &gate).await.is_err());
    assert!(!link.exists::<_, bool>(keys::MINTED).await.unwrap());
}

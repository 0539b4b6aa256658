//! Signed checkpoints: on a schedule, on request, and for a chain that was rewritten.

use std::collections::BTreeMap;
use std::time::Duration;

use audit_chain::{Hash, entry_hash, genesis_prev, keys, payload_hash};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::cli::Operator;
use crate::support::{Factory, SECRET};

const SIGNS: (&str, &str) = ("AUDIT_SIGNING_KEY", SECRET);
/// For tests in which only requests sign.
const SELDOM: (&str, &str) = ("AUDIT_CHECKPOINT_SECS", "3600");

async fn notes(redis: &mut MultiplexedConnection) -> BTreeMap<u16, String> {
    redis.hgetall(keys::NOTES).await.unwrap()
}

/// Changes an event and every hash after it, so that the chain is consistent.
async fn rewrite(redis: &mut MultiplexedConnection) {
    let elements: Vec<Vec<u8>> = redis.lrange(keys::segment(0), 0, -1).await.unwrap();
    let mut last = genesis_prev("voketag.local/audit");
    for (seq, element) in (0..).zip(&elements) {
        let payload =
            String::from_utf8(element[32..].to_vec()).unwrap().replace("Rain jacket", "Rain jackal");
        last = entry_hash(seq, &last, &payload_hash(payload.as_bytes()));
        let at = isize::try_from(seq).unwrap();
        let _: () = redis.lset(keys::segment(0), at, bytes_of(last, payload.as_bytes())).await.unwrap();
    }
    let size = (elements.len() as u64).to_be_bytes();
    let _: () = redis.set(keys::HEAD, [&size[..], last.as_bytes()].concat()).await.unwrap();
}

fn bytes_of(hash: Hash, payload: &[u8]) -> Vec<u8> {
    [hash.as_bytes(), payload].concat()
}

#[tokio::test]
async fn checkpoints_are_signed_on_schedule() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[SIGNS, ("AUDIT_CHECKPOINT_SECS", "1")]).await;
    let mut direct = redis.connection().await;
    for size in ["\n1\n", "\n2\n"] {
        factory.product().await;
        let signed = eventually("a checkpoint is stored", Duration::from_secs(20), || {
            let mut direct = direct.clone();
            async move { notes(&mut direct).await.get(&1).is_some_and(|note| note.contains(size)) }
        });
        signed.await;
    }
    assert_eq!(notes(&mut direct).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_chain_is_broken_and_no_new_signature_hides_it() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[SIGNS, SELDOM]).await;
    for _ in 0..3 {
        factory.product().await;
    }
    assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    // An entry without a signature, so that there is something to sign.
    factory.product().await;
    drop(factory);
    let mut direct = redis.connection().await;
    let genuine = notes(&mut direct).await;
    rewrite(&mut direct).await;
    let operator = Operator { redis_url: redis.url() };
    let range: Vec<u8> = direct.get(keys::RANGE).await.unwrap();
    for stored in [Some(range), None] {
        match stored {
            Some(range) => direct.set::<_, _, ()>(keys::RANGE, range).await.unwrap(),
            None => direct.del::<_, ()>(keys::RANGE).await.unwrap(),
        }
        let output = operator.run(&["audit", "verify"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["state"]), (Some(1), &json!("broken")), "{report}");
        assert!(report["checkpoints"][0]["why"].as_str().unwrap().contains("another root"), "{report}");
        assert_nothing_is_signed(&redis, &genuine).await;
    }
}

/// Checks that the factory replaces no stored checkpoint, neither on schedule nor on request.
async fn assert_nothing_is_signed(redis: &RedisServer, genuine: &BTreeMap<u16, String>) {
    let factory = Factory::start(&redis.url(), &[SIGNS, ("AUDIT_CHECKPOINT_SECS", "1")]).await;
    factory.product().await;
    let alarm = async || factory.metric("voketag_audit_contradictions_total").await != "0";
    eventually("the contradiction is found without a request", Duration::from_secs(20), alarm).await;
    let why = factory.get("/v1/audit/checkpoint").await.expect_problem(409, "conflict");
    assert!(why.contains("contradicts"), "{why}");
    assert_eq!(factory.post("/v1/audit/verify", &json!({})).await.expect(200)["state"], "broken");
    assert_eq!(notes(&mut redis.connection().await).await, *genuine, "the evidence is unchanged");
}

#[tokio::test]
async fn a_truncated_chain_is_not_signed() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[SIGNS, SELDOM]).await;
    for _ in 0..4 {
        factory.product().await;
    }
    assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    drop(factory);
    let mut direct = redis.connection().await;
    let genuine = notes(&mut direct).await;
    let _: () = direct.ltrim(keys::segment(0), 0, 1).await.unwrap();
    let last: Vec<u8> = direct.lindex(keys::segment(0), 1).await.unwrap();
    let _: () = direct.set(keys::HEAD, [&2_u64.to_be_bytes()[..], &last[..32]].concat()).await.unwrap();
    assert_nothing_is_signed(&redis, &genuine).await;
}

/// While another factory signs all the time, the chain stays `valid` to its end, and exports have a
/// signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifications_and_exports_are_fully_signed_while_another_process_signs() {
    let redis = RedisServer::start().await;
    let verifies = Factory::start(&redis.url(), &[SIGNS, SELDOM]).await;
    let signs = Factory::start(&redis.url(), &[SIGNS, SELDOM]).await;
    let empty = verifies.post("/v1/audit/verify", &json!({})).await.expect(200);
    assert_eq!((&empty["state"], &empty["size"]), (&json!("valid"), &json!(0)));
    let busy = async {
        loop {
            signs.product().await;
            signs.get("/v1/audit/checkpoint").await;
        }
    };
    let quiet = async {
        for _ in 0..100 {
            let report = verifies.post("/v1/audit/verify", &json!({})).await.expect(200);
            assert!(report["signed_size"].as_u64() >= report["size"].as_u64(), "{report}");
            assert_eq!(report["state"], "valid", "{report}");
            let export = verifies.get("/v1/admin/audit/export").await.text;
            let header: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
            assert_eq!(header["checkpoints"].as_array().map(Vec::len), Some(1), "{header}");
        }
    };
    tokio::select! {
        () = quiet => {}
        () = busy => unreachable!("the loop never ends"),
    }
}

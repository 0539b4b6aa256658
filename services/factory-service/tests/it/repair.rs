//! `audit repair`, run as a process.

use std::process::Output;

use audit_chain::keys;
use redis::AsyncCommands;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use test_support::RedisServer;

use crate::cli::{Folder, Operator};
use crate::support::{Factory, SECRET};

const SELDOM: (&str, &str) = ("AUDIT_CHECKPOINT_SECS", "3600");

async fn chain_of(entries: usize, signing: bool) -> (RedisServer, Operator) {
    let redis = RedisServer::start().await;
    let key = [("AUDIT_SIGNING_KEY", SECRET), SELDOM];
    let factory = Factory::start(&redis.url(), if signing { &key } else { &[] }).await;
    for _ in 0..entries {
        factory.product().await;
    }
    if signing {
        assert_eq!(factory.get("/v1/audit/checkpoint").await.status, 200);
    }
    let operator = Operator { redis_url: redis.url() };
    (redis, operator)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Returns the head and the elements of the first segment.
async fn chain(redis: &RedisServer) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut direct = redis.connection().await;
    let head = direct.get(keys::HEAD).await.unwrap();
    (head, direct.lrange(keys::segment(0), 0, -1).await.unwrap())
}

/// Checks that the repair fails with one of `why` in its error and changes nothing.
async fn assert_rejected(
    redis: &RedisServer,
    operator: &Operator,
    arguments: &[&str],
    codes: &[i32],
    why: &[&str],
) {
    let before = chain(redis).await;
    let output = operator.run(&[&["audit", "repair"], arguments].concat()).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(codes.contains(&output.status.code().unwrap()), "{output:?}");
    assert!(why.iter().any(|why| error.contains(why)), "{error}");
    assert!(!error.trim_end().contains('\n'), "one line: {error}");
    assert_eq!(chain(redis).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_tail_is_saved_removed_and_recorded() {
    let (redis, operator) = chain_of(3, true).await;
    let folder = Folder::new();
    let mut direct = redis.connection().await;
    let tail: [&[u8]; 3] = [b"half a write", &[0, 0xff, b'\n'], b""];
    direct.rpush::<_, _, ()>(keys::segment(0), &tail[..]).await.unwrap();
    assert_eq!(operator.json(&["audit", "head"]).await["size"], 3, "the chain can be read");
    assert_eq!(operator.run(&["audit", "verify"]).await.status.code(), Some(1));

    let taken = folder.write("taken.ndjson", "mine");
    assert_rejected(&redis, &operator, &["--out", &taken], &[1], &["is not overwritten"]).await;
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    assert_rejected(&redis, &operator, &["--out", &folder.path("no/such/folder")], &[1], &["--out"]).await;

    let path = folder.path("tail.ndjson");
    let output = operator.run(&["audit", "repair", "--out", &path]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let done = json_of(&output);
    assert_eq!(
        (&done["state"], &done["entries_cut"], &done["event_seq"]),
        (&json!("repaired"), &json!(3), &json!(3))
    );
    let file = std::fs::read(&path).unwrap();
    let lines: Vec<Value> = file
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["format"], &lines[0]["size"]), (&json!("voketag-audit-tail/v1"), &json!(3)));
    let places: Vec<_> =
        lines[1..4].iter().map(|line| (line["segment"].clone(), line["place"].clone())).collect();
    assert_eq!(places, [3, 4, 5].map(|place| (json!(0), json!(place))));
    assert_eq!((&lines[2]["element"], &lines[4]), (&json!("AP8K"), &json!({"end": true, "entries": 3})));
    let sha256 = hex::encode(Sha256::digest(&file));
    assert_eq!(done["sha256"], sha256);

    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET), SELDOM]).await;
    let event = factory.events().await.pop().unwrap();
    assert_eq!(
        (&event["action"], &event["actor"], &event["tenant"]),
        (&json!("audit.repaired"), &json!("cli"), &json!("default"))
    );
    assert_eq!(event["details"], json!({"entries_cut": 3, "saved_sha256": sha256}));
    factory.product().await;
    factory.assert_chain_of(5).await;
    let again = operator.json(&["audit", "repair", "--out", &folder.path("unused")]).await;
    assert_eq!(again, json!({"state": "sound", "size": 5, "entries_cut": 0}));
    assert!(!std::path::Path::new(&folder.path("unused")).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_if_a_checkpoint_covers_more_entries() {
    let (redis, operator) = chain_of(3, true).await;
    let folder = Folder::new();
    let mut direct = redis.connection().await;
    let notes: std::collections::BTreeMap<u16, String> = direct.hgetall(keys::NOTES).await.unwrap();
    let kept = folder.write("kept.note", &notes[&1]);
    // The head goes back by one entry, which was acknowledged and signed.
    let whole: Vec<u8> = direct.get(keys::HEAD).await.unwrap();
    let second: Vec<u8> = direct.lindex(keys::segment(0), 1).await.unwrap();
    let older = [&2_u64.to_be_bytes()[..], &second[..32]].concat();
    direct.set::<_, _, ()>(keys::HEAD, older).await.unwrap();
    let out = folder.path("tail.ndjson");
    let covered = ["covers 3 entries"];
    assert_rejected(&redis, &operator, &["--out", &out], &[1], &covered).await;
    direct.hset::<_, _, _, ()>(keys::NOTES, 1, "rubbish").await.unwrap();
    assert_rejected(&redis, &operator, &["--out", &out], &[1], &["cannot be read"]).await;
    direct.del::<_, ()>(keys::NOTES).await.unwrap();
    assert_rejected(&redis, &operator, &["--out", &out, "--checkpoint", &kept], &[1], &covered).await;
    let crlf = folder.write("crlf.note", &notes[&1].replace('\n', "\r\n"));
    assert_rejected(&redis, &operator, &["--out", &out, "--checkpoint", &crlf], &[2], &["CR LF"]).await;
    assert_rejected(
        &redis,
        &operator,
        &["--out", &out, "--checkpoint", "nowhere.note"],
        &[2],
        &["nowhere.note"],
    )
    .await;
    assert!(!std::path::Path::new(&out).exists(), "a rejected repair saves nothing");

    // A repair cannot bring back a missing entry.
    direct.set::<_, _, ()>(keys::HEAD, &whole).await.unwrap();
    direct.rpop::<_, Vec<u8>>(keys::segment(0), None).await.unwrap();
    assert_rejected(&redis, &operator, &["--out", &out], &[1], &["entry 2 of the audit chain is missing"])
        .await;
    drop(redis);
    assert_eq!(
        operator.run(&["audit", "repair", "--out", &out]).await.status.code(),
        Some(2),
        "Redis is unavailable"
    );
    assert_eq!(operator.run(&["audit", "repair"]).await.status.code(), Some(2), "--out is required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_if_state_dir_has_seen_more_entries() {
    let (redis, operator) = chain_of(2, false).await;
    let mut direct = redis.connection().await;
    let record: String = direct.get("vt1:deployment").await.unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let folder = Folder::new();
    let state = folder.path("state");
    let dir = storage::StateDir::open(&state).unwrap();
    let head = audit_chain::Head { size: 3, hash: audit_chain::Hash::from_bytes([7; 32]) };
    let id = record["id"].as_str().unwrap();
    dir.merge(storage::Known::initial(id).with_head(Some(head))).unwrap();
    direct.rpush::<_, _, ()>(keys::segment(0), "half a write").await.unwrap();
    let before = chain(&redis).await;
    let out = folder.path("tail.ndjson");
    let mut command = operator.command();
    command.env("STATE_DIR", &state).args(["audit", "repair", "--out", &out]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("3 entries"), "{output:?}");
    assert_eq!(chain(&redis).await, before);
    let repaired = operator.run(&["audit", "repair", "--out", &out]).await;
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_an_earlier_restore_generation_do_not_prevent_a_repair() {
    let (redis, operator) = chain_of(2, false).await;
    let folder = Folder::new();
    let state = folder.path("state");
    let mut direct = redis.connection().await;
    let record: String = direct.get("vt1:deployment").await.unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let head = audit_chain::Head { size: 9, hash: audit_chain::Hash::from_bytes([7; 32]) };
    let seen = storage::Known::initial(record["id"].as_str().unwrap()).with_head(Some(head));
    storage::StateDir::open(&state).unwrap().merge(seen).unwrap();
    // The operator accepts the shorter chain on another host, so this host's STATE_DIR does not follow.
    operator.json(&["restore", "accept", "--reason", "the disk burned", "--force"]).await;
    direct.rpush::<_, _, ()>(keys::segment(0), "half a write").await.unwrap();

    let out = folder.path("tail.ndjson");
    let mut command = operator.command();
    command.env("STATE_DIR", &state).args(["audit", "repair", "--out", &out]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(json_of(&output)["entries_cut"], 1);
}

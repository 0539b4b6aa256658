//! A restored backup is detected and accepted by an operator, and no printed tag gets a second product.

use std::path::Path;
use std::process::{Command, Output};

use redis::AsyncCommands;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{RedisServer, eventually};

use crate::support::{Factory, KEY, SECRET, SOON, text};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const AOF: &str = "appendonlydir";

/// Copies the append-only files of a running server.
fn backup(redis: &RedisServer) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&redis.dir().join(AOF), copy.path());
    copy
}

/// Replaces the server's files with the copy.
async fn put_back(redis: &mut RedisServer, copy: &TempDir) {
    redis.kill();
    let files = redis.dir().join(AOF);
    std::fs::remove_dir_all(&files).unwrap();
    copy_dir(copy.path(), &files);
    redis.restart().await;
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let file = entry.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

async fn operator(redis: &RedisServer, more: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
    command.env_clear().env("FACTORY_API_KEY", KEY).env("REDIS_URL", redis.url());
    command.env("REDIS_COMMAND_TIMEOUT_MS", "5000").envs(more.iter().copied()).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ACCEPT: [&str; 4] = ["restore", "accept", "--reason", "the disk burned"];

/// Returns the ids of a batch's tags.
async fn ids(factory: &Factory, batch: &Value) -> Vec<String> {
    factory.tags(batch, "").await.iter().map(|row| text(&row["tag_id"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_gives_no_printed_tag_a_second_product() {
    let mut redis = RedisServer::start_with(&DURABLE).await;
    let factory = Factory::start(&redis.url(), &[]).await;
    factory.batch(5).await;
    let copy = backup(&redis);
    let lost = factory.batch(5).await;
    let printed = ids(&factory, &lost).await;
    drop(factory);
    put_back(&mut redis, &copy).await;

    // Without STATE_DIR a restored state is accepted.
    let factory = Factory::start(&redis.url(), &[]).await;
    let next = factory.batch(5).await;
    assert_ne!(next["batch_no"], lost["batch_no"]);
    assert!(ids(&factory, &next).await.iter().all(|id| !printed.contains(id)));
    for id in &printed {
        factory.get(&format!("/v1/tags/{id}")).await.expect_problem(404, "tag-not-found");
    }
}

/// Returns the content of STATE_DIR.
fn known(state: &str) -> Value {
    let entries = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let file = entries.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "json"));
    file.map_or(Value::Null, |file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

/// Checks that the factory mints nothing and reports the rollback.
async fn assert_rolled_back(factory: &Factory, product: &Value) {
    let mint = json!({"product_id": product, "size": 1});
    eventually("the rollback is reported", SOON, || async {
        let answered = factory.post("/v1/batches", &mint).await;
        answered.status == 503 && answered.text.contains("rolled back")
    })
    .await;
    let ready = factory.get("/v1/ready").await;
    assert!(ready.status == 503 && ready.text.contains("state lost: rolled back"), "{ready:?}");
}

async fn restored_event(factory: &Factory) -> Value {
    let events = factory.events().await;
    events.into_iter().find(|event| event["action"] == "deployment.restored").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_is_rolled_back_until_an_operator_accepts_it() {
    let mut redis = RedisServer::start_with(&DURABLE).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let settings = [("STATE_DIR", state), ("TAG_MASTER_SECRET", SECRET)];
    let running = Factory::start(&redis.url(), &settings).await;
    let kept = running.batch(2).await;
    let copy = backup(&redis);
    let lost = running.batch(3).await;
    let printed = ids(&running, &lost).await;
    let size = running.get("/v1/audit/head").await.expect(200)["size"].as_u64().unwrap();
    let known = || known(state);
    eventually("STATE_DIR has seen all entries", SOON, || async { known()["size"] == json!(size) }).await;
    put_back(&mut redis, &copy).await;

    let started = Factory::begin(&redis.url(), &settings).await;
    for factory in [&running, &started] {
        assert_rolled_back(factory, &kept["product_id"]).await;
    }
    let listed = error_of(&operator(&redis, &settings, &["tenant", "list"]).await);
    assert!(listed.contains("rolled back"), "{listed}");

    let accepted = json_of(&operator(&redis, &settings, &ACCEPT).await);
    assert_eq!((&accepted["old_size"], &accepted["epoch"]), (&json!(size), &json!(2)), "{accepted}");
    running.until_ready().await;
    started.until_ready().await;
    assert_eq!(known()["highest_epoch"], 2);
    let event = restored_event(&running).await;
    let details = json!({
        "old_size": size, "size": accepted["size"], "reason": "the disk burned",
        "generation": accepted["generation"], "epoch": 2, "former_epoch": 1,
    });
    assert_eq!((&event["details"], &event["actor"]), (&details, &json!("cli")));
    for factory in [&running, &started] {
        let next = factory.batch(2).await;
        assert_eq!(next["epoch"], 2);
        factory.get(&format!("/v1/tags/{}", ids(factory, &kept).await[0])).await.expect(200);
        factory.get(&format!("/v1/tags/{}", printed[0])).await.expect_problem(404, "tag-not-found");
    }
    let size = running.get("/v1/audit/head").await.expect(200)["size"].as_u64().unwrap();
    running.assert_chain_of(size).await;

    let again = error_of(&operator(&redis, &settings, &ACCEPT).await);
    assert!(again.contains("nothing was lost") && again.contains("--force"), "{again}");
    let forced = json_of(&operator(&redis, &settings, &[&ACCEPT[..], &["--force"]].concat()).await);
    assert!(
        forced["generation"].as_u64() > accepted["generation"].as_u64() && forced["epoch"] == 3,
        "{forced}"
    );

    // The same backup again is older than the accepted state.
    eventually("STATE_DIR has seen the epoch", SOON, || async { known()["highest_epoch"] == json!(3) }).await;
    put_back(&mut redis, &copy).await;
    let again = Factory::begin(&redis.url(), &settings).await;
    eventually("the rollback is reported", SOON, || async {
        again
            .get("/v1/ready")
            .await
            .text
            .contains("rolled back: the deployment record is of restore generation 0")
    })
    .await;
    let accepted = json_of(&operator(&redis, &settings, &ACCEPT).await);
    assert_eq!(accepted["epoch"], 4, "no epoch is used twice");
    for factory in [&running, &started, &again] {
        factory.until_ready().await;
        assert_eq!(factory.batch(1).await["epoch"], 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_that_has_grown_beyond_the_seen_size_is_detected_by_its_hash() {
    let mut redis = RedisServer::start_with(&DURABLE).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let settings = [("STATE_DIR", state), ("TAG_MASTER_SECRET", SECRET)];
    let running = Factory::start(&redis.url(), &settings).await;
    let kept = running.batch(1).await;
    let copy = backup(&redis);
    running.batch(1).await;
    let size = running.get("/v1/audit/head").await.expect(200)["size"].as_u64().unwrap();
    eventually("STATE_DIR has seen all entries", SOON, || async { known(state)["size"] == json!(size) })
        .await;
    drop(running);
    put_back(&mut redis, &copy).await;

    // A factory without STATE_DIR accepts the copy, and the chain grows beyond the size in STATE_DIR.
    let without = Factory::start(&redis.url(), &[("TAG_MASTER_SECRET", SECRET)]).await;
    while without.get("/v1/audit/head").await.expect(200)["size"].as_u64().unwrap() <= size {
        without.batch(1).await;
    }
    let started = Factory::begin(&redis.url(), &settings).await;
    assert_rolled_back(&started, &kept["product_id"]).await;
    let ready = started.get("/v1/ready").await.text;
    assert!(ready.contains(&format!("entry {} of the audit chain is not the one", size - 1)), "{ready}");

    let accepted = json_of(&operator(&redis, &settings, &ACCEPT).await);
    assert_eq!((&accepted["old_size"], &accepted["epoch"]), (&json!(size), &json!(2)), "{accepted}");
    for factory in [&without, &started] {
        factory.until_ready().await;
        assert_eq!(factory.batch(1).await["epoch"], 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_numbered_secret_is_named_and_nothing_is_changed() {
    let redis = RedisServer::start_with(&DURABLE).await;
    let numbered = [("TAG_MASTER_SECRET", crate::support::UNSET), ("TAG_MASTER_SECRET_1", SECRET)];
    let factory = Factory::start(&redis.url(), &numbered).await;
    factory.product().await;
    let mut link = redis.connection().await;
    eventually("the record marks the chain as begun", SOON, || async {
        let record: String = redis.connection().await.get("vt1:deployment").await.unwrap();
        record.contains("audit_begun")
    })
    .await;
    let before: (Vec<u8>, Vec<u8>) = link.mget(&["vt1:deployment", "vt1:keyring"]).await.unwrap();
    let message = error_of(&operator(&redis, &[("TAG_MASTER_SECRET_1", SECRET)], &ACCEPT).await);
    assert!(message.contains("TAG_MASTER_SECRET_2") && message.contains("nothing was changed"), "{message}");
    // This process holds every secret, but the live factory does not.
    let both = [("TAG_MASTER_SECRET_1", SECRET), ("TAG_MASTER_SECRET", SECRET)];
    let message = error_of(&operator(&redis, &both, &ACCEPT).await);
    assert!(message.contains("factory-service instances lack the secret"), "{message}");
    let after: (Vec<u8>, Vec<u8>) = link.mget(&["vt1:deployment", "vt1:keyring"]).await.unwrap();
    assert_eq!(before, after);
    factory.assert_chain_of(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_a_restore_lost_is_adopted_from_its_export() {
    let mut redis = RedisServer::start_with(&DURABLE).await;
    let settings = [("TAG_MASTER_SECRET", SECRET)];
    let factory = Factory::start(&redis.url(), &settings).await;
    let product = factory.product().await;
    let copy = backup(&redis);
    let body = json!({"product_id": product, "size": 40, "label": "Lost"});
    let lost = factory.post("/v1/batches", &body).await.expect(201);
    let export = factory.get(&format!("/v1/batches/{}/tags", text(&lost["id"]))).await.text;
    let printed = ids(&factory, &lost).await;
    drop(factory);
    put_back(&mut redis, &copy).await;
    json_of(&operator(&redis, &settings, &ACCEPT).await);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.ndjson");
    let file = file.to_str().unwrap();
    let adopt = ["batch", "adopt", "--file", file, "--product", &product];
    std::fs::write(file, export.trim_end()).unwrap();
    let message = error_of(&operator(&redis, &settings, &adopt).await);
    assert!(message.contains("line 40: it has no line feed"), "{message}");
    std::fs::write(file, &export).unwrap();
    let nothing = ["batch", "adopt", "--file", file, "--product", "019c6652-5e00-7000-8000-0000000000aa"];
    assert!(error_of(&operator(&redis, &settings, &nothing).await).contains("no product"));
    let id = text(&lost["id"]);
    let named = [&adopt[..], &["--id", &id, "--label", "Lost"]].concat();
    let taken = json_of(&operator(&redis, &settings, &named).await);
    assert_eq!((&taken["size"], &taken["adopted"], &taken["id"]), (&json!(40), &json!(true), &lost["id"]));
    let again = json_of(&operator(&redis, &settings, &adopt).await);
    assert_eq!((&again["id"], &again["adopted"]), (&taken["id"], &json!(false)), "a repeat changes nothing");

    let factory = Factory::start(&redis.url(), &settings).await;
    assert_eq!(ids(&factory, &taken).await, printed, "the same tags");
    let tag = factory.get(&format!("/v1/tags/{}", printed[39])).await.expect(200);
    assert_eq!((&tag["product_id"], &tag["batch_id"]), (&json!(product), &lost["id"]));
    let adopted = factory.events().await.into_iter().filter(|event| event["action"] == "batch.adopted");
    assert_eq!(adopted.count(), 1);
    let other = factory.product().await;
    let elsewhere = ["batch", "adopt", "--file", file, "--product", &other];
    let message = error_of(&operator(&redis, &settings, &elsewhere).await);
    assert!(message.contains("uses the batch number") && message.contains(&id), "{message}");
}

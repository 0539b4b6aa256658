//! The operator's command line, as an operator runs it.

use std::process::{Command, Output};

use serde_json::{Value, json};
use test_support::RedisServer;

use crate::isolation::send;
use crate::support::{Factory, KEY, SECRET, text};

struct Operator {
    redis_url: String,
}

impl Operator {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
        command
            .env_clear()
            .env("FACTORY_API_KEY", KEY)
            .env("TAG_MASTER_SECRET", SECRET)
            .env("AUDIT_SIGNING_KEY", SECRET)
            .env("REDIS_COMMAND_TIMEOUT_MS", "5000")
            .env("REDIS_URL", &self.redis_url);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn told(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }
}

async fn start() -> (RedisServer, Factory, Operator) {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET)]).await;
    let operator = Operator { redis_url: redis.url() };
    (redis, factory, operator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_tenants_and_keys_without_a_network() {
    let (_redis, factory, operator) = start().await;
    let made = operator.told(&["tenant", "create", "acme", "--name", "Acme Ltd"]).await;
    assert_eq!((&made["id"], &made["state"]), (&json!("acme"), &json!("active")));
    let key =
        operator.told(&["key", "create", "--tenant", "acme", "--scope", "factory:read,factory:write"]).await;
    let (id, shown) = (text(&key["id"]), text(&key["key"]));
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None).await.expect(200);
    let rotated = operator.told(&["key", "rotate", &id, "--overlap-s", "60"]).await;
    assert_eq!(rotated["replaces"], json!(id));
    operator.told(&["key", "revoke", &id, "--reason", "leaked"]).await;
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None).await.refused(401, "unauthenticated");
    let keys = operator.told(&["key", "list", "--tenant", "acme"]).await;
    assert_eq!(keys.as_array().unwrap().len(), 2);
    operator.told(&["tenant", "suspend", "acme", "--reason", "unpaid"]).await;
    let tenants = operator.told(&["tenant", "list"]).await;
    assert!(tenants.as_array().unwrap().iter().any(|tenant| tenant["state"] == "suspended"));
    operator.told(&["tenant", "resume", "acme"]).await;
    assert_eq!(operator.told(&["keyring", "list"]).await["tag"][0]["state"], "active");
    let events = factory.events().await;
    assert!(events.iter().all(|event| event["actor"] == "cli"), "{events:?}");
    let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "tenant.created",
            "key.created",
            "key.rotated",
            "key.revoked",
            "key.listed",
            "tenant.suspended",
            "tenant.listed",
            "tenant.resumed",
            "keyring.listed"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why_on_one_line() {
    let (redis, _factory, operator) = start().await;
    for wrong in ["Not A Tenant", "acme&limit=1", "x#y", "../keys"] {
        let output = operator.run(&["tenant", "suspend", wrong, "--reason", "r"]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: a usage error");
    }
    assert!(operator.refused(&["key", "list", "--tenant", "nobody"]).await.contains("no such tenant"));
    assert!(operator.refused(&["key", "revoke", "00000000", "--reason", "r"]).await.contains("no such key"));
    assert!(operator.refused(&["keyring", "activate", "tag", "9"]).await.contains("no such"));
    drop(redis);
    assert!(operator.refused(&["tenant", "list"]).await.contains("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_made_by_serving_and_not_by_a_command() {
    let redis = RedisServer::start().await;
    let operator = Operator { redis_url: redis.url() };
    assert!(operator.refused(&["tenant", "create", "acme"]).await.contains("deployment"));
    assert!(crate::support::stored_keys(&redis).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_online_and_from_a_file_and_keys_alone() {
    let (redis, factory, operator) = start().await;
    for _ in 0..20 {
        factory.product().await;
    }
    factory.get("/v1/audit/checkpoint").await;
    let head = operator.told(&["audit", "head"]).await;
    assert_eq!(head["size"], 20);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.ndjson");
    let path = file.to_str().unwrap();
    operator.run(&["audit", "export", "--out", path]).await;
    let keyring = operator.told(&["keyring", "list"]).await;
    let vkey = text(&keyring["audit"][0]["public"]);
    let keyring_file = folder.path().join("keyring.json");
    std::fs::write(&keyring_file, keyring.to_string()).unwrap();

    assert_eq!(operator.run(&["audit", "verify"]).await.status.code(), Some(0));
    // Without settings and without Redis.
    let offline = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
        command.env_clear().args(["audit", "verify", "--file"]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), said)
    };
    let (code, said) = offline(&[path, "--key", &vkey]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = offline(&[path, "--keyring", keyring_file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = offline(&[path]).await;
    assert_eq!(code, 2, "without a key the signature cannot be checked: {said}");
    let (code, said) = offline(&["no-such-file", "--key", &vkey]).await;
    assert_eq!(code, 2, "{said}");

    let whole = std::fs::read_to_string(&file).unwrap();
    let tampered = folder.path().join("tampered.ndjson");
    std::fs::write(&tampered, whole.replacen("Rain jacket", "Rain jackal", 7)).unwrap();
    let (code, said) = offline(&[tampered.to_str().unwrap(), "--key", &vkey]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("\"seq\": 0") || said.contains("seq 0") || said.contains("entry 0"), "{said}");
    let lines: Vec<&str> = whole.lines().collect();
    let shorter = lines[..lines.len() - 1].join("\n") + "\n";
    std::fs::write(&tampered, shorter).unwrap();
    assert_ne!(offline(&[tampered.to_str().unwrap(), "--key", &vkey]).await.0, 0, "an entry is missing");

    // An entry that was added behind what was signed, and a checkpoint of another chain.
    let kept = folder.path().join("kept.note");
    std::fs::write(&kept, factory.get("/v1/audit/checkpoint").await.text).unwrap();
    let longer = folder.path().join("longer.ndjson");
    operator.run(&["audit", "export", "--out", longer.to_str().unwrap()]).await;
    let (code, said) =
        offline(&[longer.to_str().unwrap(), "--key", &vkey, "--checkpoint", kept.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = offline(&[path, "--key", &vkey, "--checkpoint", kept.to_str().unwrap()]).await;
    assert_eq!(code, 1, "it speaks of more entries than the older export has: {said}");
    let unsigned = std::fs::read_to_string(&longer).unwrap();
    let header: Value = serde_json::from_str(unsigned.lines().next().unwrap()).unwrap();
    let old: Value = serde_json::from_str(whole.lines().next().unwrap()).unwrap();
    let mut forged = header.clone();
    forged["checkpoints"] = old["checkpoints"].clone();
    let rest: Vec<&str> = unsigned.lines().skip(1).collect();
    std::fs::write(&tampered, format!("{forged}\n{}\n", rest.join("\n"))).unwrap();
    let (code, said) = offline(&[tampered.to_str().unwrap(), "--key", &vkey]).await;
    assert!(code == 2 && said.contains("unsigned_tail"), "{said}");

    drop(redis);
    assert_eq!(operator.run(&["audit", "verify"]).await.status.code(), Some(2), "Redis is away");
}

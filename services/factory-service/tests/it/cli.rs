//! The operator's command line, run as a process.

use std::process::{Command, Output};

use serde_json::{Value, json};
use test_support::RedisServer;

use crate::isolation::send;
use crate::support::{Factory, KEY, SECRET, text};

/// Runs commands of the operator on one Redis.
pub(crate) struct Operator {
    pub(crate) redis_url: String,
}

impl Operator {
    pub(crate) fn command(&self) -> Command {
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

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs a command that must succeed, and returns its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail with 1, and returns its error line.
    async fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(printed.lines().count(), 1, "{printed}");
        printed
    }
}

async fn start() -> (RedisServer, Factory, Operator) {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET)]).await;
    let operator = Operator { redis_url: redis.url() };
    (redis, factory, operator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_manages_tenants_and_keys_without_a_network() {
    let (_redis, factory, operator) = start().await;
    let made = operator.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]).await;
    assert_eq!((&made["id"], &made["state"]), (&json!("acme"), &json!("active")));
    let update =
        ["tenant", "update", "acme", "--brand", "Acme", "--brand", "Acme Home", "--gtin-prefix", "4006381"];
    let updated = operator.json(&update).await;
    assert_eq!((&updated["brands"], &updated["name"]), (&json!(["Acme", "Acme Home"]), &json!("Acme Ltd")));
    let updated = operator.json(&["tenant", "update", "acme", "--no-brands", "--max-batches", "5"]).await;
    assert_eq!((&updated["brands"], &updated["max_batches"]), (&json!([]), &json!(5)));
    assert_eq!(updated["gtin_prefixes"], json!(["4006381"]), "an omitted option changes nothing");
    let key =
        operator.json(&["key", "create", "--tenant", "acme", "--scope", "factory:read,factory:write"]).await;
    let (id, shown) = (text(&key["id"]), text(&key["key"]));
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None).await.expect(200);
    let rotated = operator.json(&["key", "rotate", &id, "--overlap-s", "60"]).await;
    assert_eq!(rotated["replaces"], json!(id));
    operator.json(&["key", "revoke", &id, "--reason", "leaked"]).await;
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None)
        .await
        .expect_problem(401, "unauthenticated");
    let keys = operator.json(&["key", "list", "--tenant", "acme"]).await;
    assert_eq!(keys.as_array().unwrap().len(), 2);
    operator.json(&["tenant", "suspend", "acme", "--reason", "unpaid"]).await;
    let tenants = operator.json(&["tenant", "list"]).await;
    assert!(tenants.as_array().unwrap().iter().any(|tenant| tenant["state"] == "suspended"));
    operator.json(&["tenant", "resume", "acme"]).await;
    assert_eq!(operator.json(&["keyring", "list"]).await["tag"][0]["state"], "active");
    assert_eq!(operator.json(&["keyring", "add", "tag", "2"]).await["state"], "pending");
    assert_eq!(operator.json(&["keyring", "activate", "tag", "2"]).await["state"], "active");
    let events = factory.events().await;
    assert!(events.iter().all(|event| event["actor"] == "cli"), "{events:?}");
    let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "tenant.created",
            "tenant.updated",
            "tenant.updated",
            "key.created",
            "key.rotated",
            "key.revoked",
            "key.listed",
            "tenant.suspended",
            "tenant.listed",
            "tenant.resumed",
            "keyring.listed",
            "keyring.key_added",
            "keyring.key_activated"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_command_explains_itself_in_one_line() {
    let (redis, _factory, operator) = start().await;
    for wrong in ["Not A Tenant", "acme&limit=1", "x#y", "../keys"] {
        let output = operator.run(&["tenant", "suspend", wrong, "--reason", "r"]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: a usage error");
    }
    assert!(operator.error(&["key", "list", "--tenant", "nobody"]).await.contains("no such tenant"));
    assert!(operator.error(&["key", "revoke", "00000000", "--reason", "r"]).await.contains("no such key"));
    assert!(operator.error(&["keyring", "activate", "tag", "9"]).await.contains("no such"));
    for (argument, wrong, says) in [
        (
            &["keyring", "revoke", "tag", "1", "--reason", "r", "--compromised-since"][..],
            "yesterday",
            "RFC 3339",
        ),
        (&["key", "create", "--tenant", "default", "--scope", "admin", "--expires-at"], "soon", "RFC 3339"),
    ] {
        let output = operator.run(&[argument, &[wrong]].concat()).await;
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && printed.contains(wrong) && printed.contains(says),
            "{printed}"
        );
    }
    drop(redis);
    assert!(operator.error(&["tenant", "list"]).await.contains("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_key_is_accepted_as_its_id_and_never_printed() {
    let (_redis, factory, operator) = start().await;
    let key = operator.json(&["key", "create", "--tenant", "default", "--scope", "factory:read"]).await;
    let whole = text(&key["key"]);
    let other = if whole.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{other}", &whole[..whole.len() - 1]);
    for command in [&["key", "revoke", &mistyped, "--reason", "leaked"][..], &["key", "rotate", &mistyped]] {
        let printed = operator.error(command).await;
        assert!(printed.contains("vk_") && !printed.contains(&whole[12..40]), "{printed}");
    }
    operator.json(&["key", "revoke", &whole, "--reason", "leaked"]).await;
    send(&factory, &whole, reqwest::Method::GET, "/v1/products", None)
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_signatures_is_verified_only_if_the_operator_states_that_it_was_never_signed() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[]).await;
    factory.product().await;
    let folder = Folder::new();
    let exported = factory.get("/v1/admin/audit/export").await.text;
    let path = folder.write("chain.ndjson", &exported);
    let (code, printed) = offline(&[&path]).await;
    assert!(code == 2 && printed.contains("unsigned"), "{printed}");
    let (code, printed) = offline(&[&path, "--never-signed"]).await;
    assert!(code == 0 && printed.contains("never_signed"), "{printed}");
    let (code, printed) = offline(&[&path, "--never-signed", "--checkpoint", "nowhere.note"]).await;
    assert!(code == 2 && printed.contains("nowhere.note"), "{printed}");
    // The file itself states that a key was active, which contradicts the operator.
    let mut header: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    header["keys"] = json!([{"number": 1, "activated_at": "2026-01-01T00:00:00Z"}]);
    let rest: Vec<&str> = exported.lines().skip(1).collect();
    let path = folder.write("signed.ndjson", &format!("{header}\n{}\n", rest.join("\n")));
    assert_eq!(offline(&[&path, "--never-signed"]).await.0, 2);
}

/// Runs `audit verify --file …` without settings and without Redis. Returns the exit code and all output.
async fn offline(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
    command.env_clear().args(["audit", "verify", "--file"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), printed)
}

/// A temporary folder.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

impl Operator {
    /// Exports the chain and returns the path of the file.
    async fn export(&self, folder: &Folder, name: &str) -> String {
        let path = folder.path(name);
        let output = self.run(&["audit", "export", "--out", &path]).await;
        assert!(output.status.success(), "{output:?}");
        path
    }

    async fn verifier_key(&self) -> String {
        text(&self.json(&["keyring", "list"]).await["audit"][0]["public"])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_online() {
    let (redis, factory, operator) = start().await;
    for _ in 0..20 {
        factory.product().await;
    }
    assert_eq!(operator.json(&["audit", "head"]).await["size"], 20);
    let online = operator.json(&["audit", "verify"]).await;
    assert_eq!(
        (&online["state"], &online["signed_size"], &online["size"]),
        (&json!("valid"), &json!(20), &json!(20))
    );
    // A process that cannot sign does not call an unsigned tail valid.
    factory.product().await;
    let mut keyless = operator.command();
    keyless.env_remove("AUDIT_SIGNING_KEY").args(["audit", "verify"]);
    let output = tokio::task::spawn_blocking(move || keyless.output().unwrap()).await.unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &printed["state"]), (Some(2), &json!("unsigned_tail")), "{printed}");

    // A checkpoint that was kept elsewhere, one of another chain, and a missing file.
    let folder = Folder::new();
    let kept = factory.get("/v1/audit/checkpoint").await.text;
    let own = folder.write("own.note", &kept);
    let others = folder.write("others.note", &kept.replace("voketag.local", "elsewhere"));
    assert_eq!(operator.json(&["audit", "verify", "--checkpoint", &own]).await["state"], "valid");
    for (note, code) in [(others.as_str(), 1), ("nowhere.note", 2)] {
        let output = operator.run(&["audit", "verify", "--checkpoint", note]).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    // A damaged copy proves nothing either way. A changed checkpoint is broken.
    let mut windows = kept.replace('\u{2014}', "\u{1}").into_bytes();
    windows.iter_mut().filter(|byte| **byte == 1).for_each(|byte| *byte = 0x97);
    std::fs::write(folder.path("windows.note"), windows).unwrap();
    for damaged in [
        folder.write("crlf.note", &kept.replace('\n', "\r\n")),
        folder.write("cut.note", kept.trim_end()),
        folder.path("windows.note"),
    ] {
        let output = operator.run(&["audit", "verify", "--checkpoint", &damaged]).await;
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{damaged}: {printed}");
        assert_eq!(
            (&printed["state"], &printed["ok"]),
            (&json!("unreadable_checkpoint"), &json!(false)),
            "{printed}"
        );
        let both =
            operator.run(&["audit", "verify", "--checkpoint", &damaged, "--checkpoint", &others]).await;
        assert_eq!(both.status.code(), Some(1), "broken takes precedence");
    }
    drop(redis);
    assert_eq!(operator.run(&["audit", "verify"]).await.status.code(), Some(2), "Redis is unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_from_a_file_and_keys_only() {
    let (_redis, factory, operator) = start().await;
    for _ in 0..20 {
        factory.product().await;
    }
    let folder = Folder::new();
    let path = operator.export(&folder, "chain.ndjson").await;
    let vkey = operator.verifier_key().await;
    let keyring = folder.write("keyring.json", &operator.json(&["keyring", "list"]).await.to_string());
    for (arguments, code) in [
        (&[path.as_str(), "--key", &vkey][..], 0),
        (&[&path, "--keyring", &keyring], 0),
        // Without a key the signature cannot be verified.
        (&[&path], 2),
        (&["no-such-file", "--key", &vkey], 2),
        (&[&path, "--key", "no key"], 2),
    ] {
        let (found, printed) = offline(arguments).await;
        assert_eq!(found, code, "{arguments:?}: {printed}");
    }
    // Of two statements about a key, the worse one counts: the list says that it was never active.
    let mut doubted = operator.json(&["keyring", "list"]).await;
    doubted["audit"][0]["state"] = json!("pending");
    doubted["audit"][0].as_object_mut().unwrap().remove("activated_at");
    let doubted = folder.write("doubted.json", &doubted.to_string());
    let (code, printed) = offline(&[&path, "--key", &vkey, "--keyring", &doubted]).await;
    assert!(code == 1 && printed.contains("never active"), "{code}: {printed}");
    let whole = std::fs::read_to_string(&path).unwrap();
    let tampered = folder.write("tampered.ndjson", &whole.replacen("Rain jacket", "Rain jackal", 7));
    let (code, printed) = offline(&[&tampered, "--key", &vkey]).await;
    assert!(code == 1 && printed.contains("\"seq\": 0") && printed.contains("\"ok\": false"), "{printed}");
    let lines: Vec<&str> = whole.lines().collect();
    let shorter = folder.write("shorter.ndjson", &(lines[..lines.len() - 1].join("\n") + "\n"));
    let (code, printed) = offline(&[&shorter, "--key", &vkey]).await;
    assert!(
        code == 2 && printed.contains("\"cut_export\"") && printed.contains("the export was cut"),
        "{code}: {printed}"
    );
    assert!(printed.contains("\"ok\": false") && printed.contains("\"signed_size\": 0"), "{printed}");
    let missing = [&lines[..lines.len() - 2], &lines[lines.len() - 1..]].concat().join("\n") + "\n";
    let missing = folder.write("missing.ndjson", &missing);
    let (code, printed) = offline(&[&missing, "--key", &vkey]).await;
    assert!(code == 1 && printed.contains("the entry is missing"), "{code}: {printed}");
    let kept: Value = serde_json::from_str(lines[0]).unwrap();
    let kept = text(&kept["checkpoints"][0]);
    for (name, damaged) in
        [("crlf.note", kept.replace('\n', "\r\n")), ("cut.note", kept.trim_end().to_owned())]
    {
        let note = folder.write(name, &damaged);
        let (code, printed) = offline(&[&path, "--key", &vkey, "--checkpoint", &note]).await;
        assert!(code == 2 && printed.contains("\"unreadable_checkpoint\""), "{code}: {printed}");
        let (code, _) = offline(&[&missing, "--key", &vkey, "--checkpoint", &note]).await;
        assert_eq!(code, 1, "broken takes precedence");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_checkpoint_reveals_an_older_or_forged_file() {
    let (_redis, factory, operator) = start().await;
    factory.product().await;
    let (folder, vkey) = (Folder::new(), operator.verifier_key().await);
    let older = operator.export(&folder, "older.ndjson").await;
    factory.product().await;
    let kept = folder.write("kept.note", &factory.get("/v1/audit/checkpoint").await.text);
    let longer = operator.export(&folder, "longer.ndjson").await;
    let (code, printed) = offline(&[&longer, "--key", &vkey, "--checkpoint", &kept]).await;
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = offline(&[&older, "--key", &vkey, "--checkpoint", &kept]).await;
    assert!(
        code == 1 && printed.contains("\"ok\": false"),
        "it covers more entries than the file has: {printed}"
    );

    // Entries were appended after the signed ones.
    let [longer, older] = [longer, older].map(|path| std::fs::read_to_string(path).unwrap());
    let header = |text: &str| serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
    let mut forged = header(&longer);
    forged["checkpoints"] = header(&older)["checkpoints"].clone();
    let rest: Vec<&str> = longer.lines().skip(1).collect();
    let forged = folder.write("forged.ndjson", &format!("{forged}\n{}\n", rest.join("\n")));
    let (code, printed) = offline(&[&forged, "--key", &vkey]).await;
    assert!(code == 2 && printed.contains("unsigned_tail"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_an_epoch_shows_its_consequences_and_needs_the_number() {
    let (_redis, factory, operator) = start().await;
    factory.batch(40).await;
    operator.json(&["keyring", "add", "tag", "2"]).await;
    operator.json(&["keyring", "activate", "tag", "2"]).await;
    let dated = |what, since| ["keyring", what, "tag", "1", "--reason", "lost", "--compromised-since", since];
    let early = dated("revoke", "2016-11-01T00:00:00Z");
    let output = operator.run(&early).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(preview["invalid"], json!({"batches": 1, "tags": 40}));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("(confirmation_required); on the command line: --confirm 1"), "{printed}");
    let confirmed = |arguments: [&'static str; 8], number| [&arguments[..], &["--confirm", number]].concat();
    assert_eq!(operator.run(&confirmed(early, "2")).await.status.code(), Some(1));
    assert_eq!(operator.json(&confirmed(early, "1")).await["state"], "revoked");
    let corrected = dated("correct-date", "2026-11-20T00:00:00.000Z");
    assert_eq!(operator.run(&corrected).await.status.code(), Some(1));
    let corrected = operator.json(&confirmed(corrected, "1")).await;
    assert_eq!(corrected["revoked"]["compromised_since"], "2026-11-20T00:00:00.000Z");
}

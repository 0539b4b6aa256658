//! The operator's command line, as an operator runs it.

use std::process::{Command, Output};

use serde_json::{Value, json};
use test_support::RedisServer;

use crate::isolation::send;
use crate::support::{Factory, KEY, SECRET, text};

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

    pub(crate) async fn told(&self, arguments: &[&str]) -> Value {
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
    let update =
        ["tenant", "update", "acme", "--brand", "Acme", "--brand", "Acme Home", "--gtin-prefix", "4006381"];
    let updated = operator.told(&update).await;
    assert_eq!((&updated["brands"], &updated["name"]), (&json!(["Acme", "Acme Home"]), &json!("Acme Ltd")));
    let updated = operator.told(&["tenant", "update", "acme", "--no-brands", "--max-batches", "5"]).await;
    assert_eq!((&updated["brands"], &updated["max_batches"]), (&json!([]), &json!(5)));
    assert_eq!(updated["gtin_prefixes"], json!(["4006381"]), "what is not given stays");
    let key =
        operator.told(&["key", "create", "--tenant", "acme", "--scope", "factory:read,factory:write"]).await;
    let (id, shown) = (text(&key["id"]), text(&key["key"]));
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None).await.expect(200);
    let rotated = operator.told(&["key", "rotate", &id, "--overlap-s", "60"]).await;
    assert_eq!(rotated["replaces"], json!(id));
    operator.told(&["key", "revoke", &id, "--reason", "leaked"]).await;
    send(&factory, &shown, reqwest::Method::GET, "/v1/products", None)
        .await
        .expect_problem(401, "unauthenticated");
    let keys = operator.told(&["key", "list", "--tenant", "acme"]).await;
    assert_eq!(keys.as_array().unwrap().len(), 2);
    operator.told(&["tenant", "suspend", "acme", "--reason", "unpaid"]).await;
    let tenants = operator.told(&["tenant", "list"]).await;
    assert!(tenants.as_array().unwrap().iter().any(|tenant| tenant["state"] == "suspended"));
    operator.told(&["tenant", "resume", "acme"]).await;
    assert_eq!(operator.told(&["keyring", "list"]).await["tag"][0]["state"], "active");
    assert_eq!(operator.told(&["keyring", "add", "tag", "2"]).await["state"], "pending");
    assert_eq!(operator.told(&["keyring", "activate", "tag", "2"]).await["state"], "active");
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
async fn what_is_refused_says_why_on_one_line() {
    let (redis, _factory, operator) = start().await;
    for wrong in ["Not A Tenant", "acme&limit=1", "x#y", "../keys"] {
        let output = operator.run(&["tenant", "suspend", wrong, "--reason", "r"]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: a usage error");
    }
    assert!(operator.refused(&["key", "list", "--tenant", "nobody"]).await.contains("no such tenant"));
    assert!(operator.refused(&["key", "revoke", "00000000", "--reason", "r"]).await.contains("no such key"));
    assert!(operator.refused(&["keyring", "activate", "tag", "9"]).await.contains("no such"));
    for (argument, wrong, says) in [
        (
            &["keyring", "revoke", "tag", "1", "--reason", "r", "--compromised-since"][..],
            "yesterday",
            "RFC 3339",
        ),
        (&["key", "create", "--tenant", "default", "--scope", "admin", "--expires-at"], "soon", "RFC 3339"),
    ] {
        let output = operator.run(&[argument, &[wrong]].concat()).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(wrong) && said.contains(says), "{said}");
    }
    drop(redis);
    assert!(operator.refused(&["tenant", "list"]).await.contains("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_key_is_taken_for_its_id_and_never_shown_again() {
    let (_redis, factory, operator) = start().await;
    let key = operator.told(&["key", "create", "--tenant", "default", "--scope", "factory:read"]).await;
    let whole = text(&key["key"]);
    let other = if whole.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{other}", &whole[..whole.len() - 1]);
    for command in [&["key", "revoke", &mistyped, "--reason", "leaked"][..], &["key", "rotate", &mistyped]] {
        let said = operator.refused(command).await;
        assert!(said.contains("vk_") && !said.contains(&whole[12..40]), "{said}");
    }
    operator.told(&["key", "revoke", &whole, "--reason", "leaked"]).await;
    send(&factory, &whole, reqwest::Method::GET, "/v1/products", None)
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_signatures_is_verified_only_on_the_operators_word() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[]).await;
    factory.product().await;
    let folder = Folder::new();
    let exported = factory.get("/v1/admin/audit/export").await.text;
    let path = folder.write("chain.ndjson", &exported);
    let (code, said) = offline(&[&path]).await;
    assert!(code == 2 && said.contains("unsigned"), "{said}");
    let (code, said) = offline(&[&path, "--never-signed"]).await;
    assert!(code == 0 && said.contains("never_signed"), "{said}");
    let (code, said) = offline(&[&path, "--never-signed", "--checkpoint", "nowhere.note"]).await;
    assert!(code == 2 && said.contains("nowhere.note"), "{said}");
    // A file that says itself that a key was active contradicts it.
    let mut header: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    header["keys"] = json!([{"number": 1, "activated_at": "2026-01-01T00:00:00Z"}]);
    let rest: Vec<&str> = exported.lines().skip(1).collect();
    let path = folder.write("signed.ndjson", &format!("{header}\n{}\n", rest.join("\n")));
    assert_eq!(offline(&[&path, "--never-signed"]).await.0, 2);
}

/// `audit verify --file …`, without settings and without Redis: its exit code and all that it said.
async fn offline(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_factory-service"));
    command.env_clear().args(["audit", "verify", "--file"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

/// A place for files of the test.
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
    /// Exports the chain; gives the path of the file.
    async fn export(&self, folder: &Folder, name: &str) -> String {
        let path = folder.path(name);
        let output = self.run(&["audit", "export", "--out", &path]).await;
        assert!(output.status.success(), "{output:?}");
        path
    }

    async fn verifier_key(&self) -> String {
        text(&self.told(&["keyring", "list"]).await["audit"][0]["public"])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_online() {
    let (redis, factory, operator) = start().await;
    for _ in 0..20 {
        factory.product().await;
    }
    assert_eq!(operator.told(&["audit", "head"]).await["size"], 20);
    let online = operator.told(&["audit", "verify"]).await;
    assert_eq!(
        (&online["state"], &online["signed_size"], &online["size"]),
        (&json!("valid"), &json!(20), &json!(20))
    );
    // What a process that cannot sign finds unsigned it does not call verified.
    factory.product().await;
    let mut keyless = operator.command();
    keyless.env_remove("AUDIT_SIGNING_KEY").args(["audit", "verify"]);
    let output = tokio::task::spawn_blocking(move || keyless.output().unwrap()).await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["state"]), (Some(2), &json!("unsigned_tail")), "{said}");

    // A checkpoint that was kept elsewhere, one of another chain, and none at all.
    let folder = Folder::new();
    let kept = factory.get("/v1/audit/checkpoint").await.text;
    let own = folder.write("own.note", &kept);
    let others = folder.write("others.note", &kept.replace("voketag.local", "elsewhere"));
    assert_eq!(operator.told(&["audit", "verify", "--checkpoint", &own]).await["state"], "valid");
    for (note, code) in [(others.as_str(), 1), ("nowhere.note", 2)] {
        let output = operator.run(&["audit", "verify", "--checkpoint", note]).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    // Damaged in copying: neither yes nor no. A changed one is broken all the same.
    let mut windows = kept.replace('\u{2014}', "\u{1}").into_bytes();
    windows.iter_mut().filter(|byte| **byte == 1).for_each(|byte| *byte = 0x97);
    std::fs::write(folder.path("windows.note"), windows).unwrap();
    for damaged in [
        folder.write("crlf.note", &kept.replace('\n', "\r\n")),
        folder.write("cut.note", kept.trim_end()),
        folder.path("windows.note"),
    ] {
        let output = operator.run(&["audit", "verify", "--checkpoint", &damaged]).await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{damaged}: {said}");
        assert_eq!((&said["state"], &said["ok"]), (&json!("unreadable_checkpoint"), &json!(false)), "{said}");
        let both =
            operator.run(&["audit", "verify", "--checkpoint", &damaged, "--checkpoint", &others]).await;
        assert_eq!(both.status.code(), Some(1), "broken comes first");
    }
    drop(redis);
    assert_eq!(operator.run(&["audit", "verify"]).await.status.code(), Some(2), "Redis is away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_from_a_file_and_keys_alone() {
    let (_redis, factory, operator) = start().await;
    for _ in 0..20 {
        factory.product().await;
    }
    let folder = Folder::new();
    let path = operator.export(&folder, "chain.ndjson").await;
    let vkey = operator.verifier_key().await;
    let keyring = folder.write("keyring.json", &operator.told(&["keyring", "list"]).await.to_string());
    for (arguments, code) in [
        (&[path.as_str(), "--key", &vkey][..], 0),
        (&[&path, "--keyring", &keyring], 0),
        // Without a key the signature cannot be checked.
        (&[&path], 2),
        (&["no-such-file", "--key", &vkey], 2),
        (&[&path, "--key", "no key"], 2),
    ] {
        let (found, said) = offline(arguments).await;
        assert_eq!(found, code, "{arguments:?}: {said}");
    }
    // Of two words about a key the worse one counts: the list says that it was never active.
    let mut doubted = operator.told(&["keyring", "list"]).await;
    doubted["audit"][0]["state"] = json!("pending");
    doubted["audit"][0].as_object_mut().unwrap().remove("activated_at");
    let doubted = folder.write("doubted.json", &doubted.to_string());
    let (code, said) = offline(&[&path, "--key", &vkey, "--keyring", &doubted]).await;
    assert!(code == 1 && said.contains("never active"), "{code}: {said}");
    let whole = std::fs::read_to_string(&path).unwrap();
    let tampered = folder.write("tampered.ndjson", &whole.replacen("Rain jacket", "Rain jackal", 7));
    let (code, said) = offline(&[&tampered, "--key", &vkey]).await;
    assert!(code == 1 && said.contains("\"seq\": 0") && said.contains("\"ok\": false"), "{said}");
    let lines: Vec<&str> = whole.lines().collect();
    let shorter = folder.write("shorter.ndjson", &(lines[..lines.len() - 1].join("\n") + "\n"));
    let (code, said) = offline(&[&shorter, "--key", &vkey]).await;
    assert!(
        code == 2 && said.contains("\"cut_export\"") && said.contains("the export was cut"),
        "{code}: {said}"
    );
    assert!(said.contains("\"ok\": false") && said.contains("\"signed_size\": 0"), "{said}");
    let missing = [&lines[..lines.len() - 2], &lines[lines.len() - 1..]].concat().join("\n") + "\n";
    let missing = folder.write("missing.ndjson", &missing);
    let (code, said) = offline(&[&missing, "--key", &vkey]).await;
    assert!(code == 1 && said.contains("the entry is missing"), "{code}: {said}");
    let kept: Value = serde_json::from_str(lines[0]).unwrap();
    let kept = text(&kept["checkpoints"][0]);
    for (name, damaged) in
        [("crlf.note", kept.replace('\n', "\r\n")), ("cut.note", kept.trim_end().to_owned())]
    {
        let note = folder.write(name, &damaged);
        let (code, said) = offline(&[&path, "--key", &vkey, "--checkpoint", &note]).await;
        assert!(code == 2 && said.contains("\"unreadable_checkpoint\""), "{code}: {said}");
        let (code, _) = offline(&[&missing, "--key", &vkey, "--checkpoint", &note]).await;
        assert_eq!(code, 1, "broken comes first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_was_kept_tells_an_older_or_longer_file() {
    let (_redis, factory, operator) = start().await;
    factory.product().await;
    let (folder, vkey) = (Folder::new(), operator.verifier_key().await);
    let older = operator.export(&folder, "older.ndjson").await;
    factory.product().await;
    let kept = folder.write("kept.note", &factory.get("/v1/audit/checkpoint").await.text);
    let longer = operator.export(&folder, "longer.ndjson").await;
    let (code, said) = offline(&[&longer, "--key", &vkey, "--checkpoint", &kept]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = offline(&[&older, "--key", &vkey, "--checkpoint", &kept]).await;
    assert!(
        code == 1 && said.contains("\"ok\": false"),
        "it speaks of more entries than the file has: {said}"
    );

    // Entries that were added behind what was signed.
    let [longer, older] = [longer, older].map(|path| std::fs::read_to_string(path).unwrap());
    let header = |text: &str| serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
    let mut forged = header(&longer);
    forged["checkpoints"] = header(&older)["checkpoints"].clone();
    let rest: Vec<&str> = longer.lines().skip(1).collect();
    let forged = folder.write("forged.ndjson", &format!("{forged}\n{}\n", rest.join("\n")));
    let (code, said) = offline(&[&forged, "--key", &vkey]).await;
    assert!(code == 2 && said.contains("unsigned_tail"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_an_epoch_shows_what_it_does_and_takes_the_number() {
    let (_redis, factory, operator) = start().await;
    factory.batch(40).await;
    operator.told(&["keyring", "add", "tag", "2"]).await;
    operator.told(&["keyring", "activate", "tag", "2"]).await;
    let dated = |what, since| ["keyring", what, "tag", "1", "--reason", "lost", "--compromised-since", since];
    let early = dated("revoke", "2016-11-01T00:00:00Z");
    let output = operator.run(&early).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(preview["invalid"], json!({"batches": 1, "tags": 40}));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("(confirmation_required); on the command line: --confirm 1"), "{said}");
    let confirmed = |arguments: [&'static str; 8], number| [&arguments[..], &["--confirm", number]].concat();
    assert_eq!(operator.run(&confirmed(early, "2")).await.status.code(), Some(1));
    assert_eq!(operator.told(&confirmed(early, "1")).await["state"], "revoked");
    let corrected = dated("correct-date", "2026-11-20T00:00:00.000Z");
    assert_eq!(operator.run(&corrected).await.status.code(), Some(1));
    let corrected = operator.told(&confirmed(corrected, "1")).await;
    assert_eq!(corrected["revoked"]["compromised_since"], "2026-11-20T00:00:00.000Z");
}

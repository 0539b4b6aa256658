//! What an auditor verifies elsewhere: a tenant's view of the chain, the verifier keys, and kept checkpoints.

use audit_chain::export::verify_export;
use keyring::{AuditKeys, NoteTrust, VerifierKey};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::RedisServer;

use crate::isolation::{brand, key, send};
use crate::support::{Factory, SECRET, text};

async fn start_signing() -> (RedisServer, Factory) {
    let redis = RedisServer::start().await;
    let factory =
        Factory::start(&redis.url(), &[("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_CHECKPOINT_SECS", "3600")])
            .await;
    (redis, factory)
}

#[tokio::test]
async fn a_key_with_audit_read_exports_its_view_and_reads_the_verifier_keys() {
    let (_redis, factory) = start_signing().await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    for (key, name) in [(&one, "of one"), (&two, "of two")] {
        let product = json!({"name": name, "brand": "b"});
        send(&factory, key, Method::POST, "/v1/products", Some(&product)).await.expect(201);
    }
    let auditor = key(&factory, "one", &["audit:read"]).await;
    let before = factory.get("/v1/audit/head").await.expect(200);

    let keys = send(&factory, &auditor, Method::GET, "/v1/audit/keys", None).await.expect(200);
    assert_eq!(keys["origin"], "voketag.local/audit");
    assert_eq!((&keys["audit"][0]["number"], &keys["audit"][0]["state"]), (&json!(1), &json!("active")));
    assert!(keys.get("tag").is_none(), "check values of tag secrets are for operators");
    let vkey: VerifierKey = text(&keys["audit"][0]["public"]).parse().unwrap();

    let export = send(&factory, &auditor, Method::GET, "/v1/audit/export", None).await;
    assert_eq!((export.status, export.header("content-type")), (200, "application/x-ndjson"));
    assert!(export.text.contains("of one") && !export.text.contains("of two"), "{}", export.text);
    let trusted = AuditKeys::trusted([vkey]);
    let report = verify_export(export.text.as_bytes(), |_, note| trusted.judge(note)).unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.checked, before["size"].as_u64().unwrap(), "reading appends no event");
    let own = export.text.lines().filter(|line| line.contains("\"tenant\":\"one\"")).count() as u64;
    assert_eq!((report.shown, own > 0), (own, true), "only the tenant's own events");
    assert!(matches!(report.checkpoints[0].signature, Some(NoteTrust::Valid { .. })));
    assert_eq!(factory.get("/v1/audit/head").await.expect(200), before);

    // Here an operator too gets the view of its own tenant. Exporting the whole chain is an event.
    let view = factory.get("/v1/audit/export").await.text;
    assert!(!view.contains("of one") && !view.contains("of two"));
    let whole = factory.get("/v1/admin/audit/export").await.text;
    assert!(whole.contains("of one") && whole.contains("of two"));
    assert_eq!(factory.get("/v1/audit/head").await.expect(200)["size"], report.checked + 1);
    for path in ["/v1/audit/export", "/v1/audit/keys"] {
        let other = key(&factory, "one", &["factory:read"]).await;
        send(&factory, &other, Method::GET, path, None).await.expect_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_tenant_exports_one_view_at_a_time_and_a_disconnect_frees_its_permit() {
    let (_redis, factory) = start_signing().await;
    for _ in 0..40 {
        let product = json!({"name": "x".repeat(200), "brand": "y".repeat(200)});
        factory.post("/v1/products", &product).await.expect(201);
    }
    let slow = factory.request(Method::GET, "/v1/audit/export").send().await.unwrap();
    assert_eq!(slow.status(), 200);
    drop(slow);
    test_support::eventually("the permit is free again", crate::support::SOON, async || {
        factory.get("/v1/audit/export").await.status == 200
    })
    .await;
    let all = futures_util::future::join_all((0..4).map(|_| factory.get("/v1/audit/export"))).await;
    assert!(all.iter().all(|answer| answer.status == 200 || answer.status == 409));
    assert_eq!(factory.get("/v1/audit/export").await.status, 200);
}

#[tokio::test]
async fn a_checkpoint_that_was_damaged_in_copying_is_unreadable_and_not_broken() {
    let (redis, factory) = start_signing().await;
    factory.product().await;
    let kept = factory.get("/v1/audit/checkpoint").await.text;
    let verify = async |kept: &[&str]| {
        factory.post("/v1/audit/verify", &json!({"checkpoints": kept})).await.expect(200)
    };
    let whole = verify(&[&kept]).await;
    assert_eq!((&whole["state"], &whole["ok"]), (&json!("valid"), &json!(true)));
    for (damaged, why) in [
        (kept.trim_end().to_owned(), "does not end in a line feed"),
        (kept.replace('\n', "\r\n"), "CR LF"),
        (format!("\u{feff}{kept}"), "byte order mark"),
        (format!("  {kept}"), "blanks"),
        (kept.replace('\u{2014}', "-"), "em dash"),
        (kept.replace('\u{2014}', "\u{fffd}"), "another encoding"),
        (kept.replacen("\n\n", "\n", 1), "no empty line"),
        (kept.lines().map(|line| format!("> {line}\n")).collect(), "quoted mail"),
        (String::new(), "line feed"),
    ] {
        let report = verify(&[&damaged]).await;
        assert_eq!(
            (&report["state"], &report["ok"]),
            (&json!("unreadable_checkpoint"), &json!(false)),
            "{report}"
        );
        let note = &report["checkpoints"][1];
        assert_eq!((note["state"].as_str(), note.get("size")), (Some("unreadable"), None), "{report}");
        assert!(note["why"].as_str().unwrap().contains(why), "{report}");
        let both = verify(&[&damaged, &kept.replacen("\n1\n", "\n2\n", 1)]).await;
        assert_eq!(both["state"], "broken", "a changed checkpoint is broken: {both}");
    }
    // A stored checkpoint that cannot be read stays, and no new checkpoint replaces it.
    let mut direct = redis.connection().await;
    let stored = kept.trim_end();
    redis::AsyncCommands::hset::<_, _, _, ()>(&mut direct, audit_chain::keys::NOTES, 1, stored)
        .await
        .unwrap();
    let report: Value = factory.post("/v1/audit/verify", &json!({})).await.expect(200);
    assert_eq!(report["state"], "unreadable_checkpoint", "{report}");
    let left: String = redis::AsyncCommands::hget(&mut direct, audit_chain::keys::NOTES, 1).await.unwrap();
    assert_eq!(left, stored);
}

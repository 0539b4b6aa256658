//! Free text: every field rejects invisible text, bidirectional controls and line breaks, with a helpful
//! error.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Factory, start, text};

/// Rejected texts, and a part of the error.
const UNFIT: [(&str, &str); 8] = [
    ("\u{200b}\u{2060}", "shows nothing"),
    ("\u{3164} \u{2800}", "shows nothing"),
    ("\u{301}", "shows nothing"),
    ("Acme\u{202e}emcA", "U+202E"),
    ("\u{2066}Acme\u{2069}", "U+2066"),
    ("Acme\u{200f}", "U+200F"),
    ("Acme\u{2028}jacket", "U+2028"),
    ("Acme\njacket", "U+000A"),
];

/// Method, path, a valid body, and its fields of free text.
type Row<'a> = (Method, String, Value, &'a [&'a str]);

async fn rows(factory: &Factory) -> Vec<Row<'static>> {
    let product = factory.product().await;
    let batch = factory.batch(1).await;
    let tag = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let batch = text(&batch["id"]);
    let (post, patch) = (Method::POST, Method::PATCH);
    factory.post("/v1/admin/tenants", &json!({"id": "two"})).await.expect(201);
    let key =
        factory.post("/v1/admin/keys", &json!({"tenant": "two", "scopes": ["admin"]})).await.expect(201);
    let key = text(&key["id"]);
    let since = "2026-11-01T00:00:00Z";
    vec![
        (post.clone(), "/v1/products".into(), json!({"name": "n", "brand": "b"}), &["name", "brand"]),
        (
            patch.clone(),
            format!("/v1/products/{product}"),
            json!({"name": "n", "brand": "b"}),
            &["name", "brand"],
        ),
        (
            post.clone(),
            "/v1/batches".into(),
            json!({"product_id": product, "size": 1, "label": "l"}),
            &["label"],
        ),
        (post.clone(), format!("/v1/batches/{batch}/revoke"), json!({"reason": "r"}), &["reason"]),
        (post.clone(), format!("/v1/batches/{batch}/recall"), json!({"reason": "r"}), &["reason"]),
        (post.clone(), format!("/v1/tags/{tag}/revoke"), json!({"reason": "r"}), &["reason"]),
        (post.clone(), "/v1/admin/tenants".into(), json!({"id": "three", "name": "n"}), &["name"]),
        (patch, "/v1/admin/tenants/two".into(), json!({"name": "n", "brands": ["b"]}), &["name", "brands"]),
        (post.clone(), "/v1/admin/tenants/two/suspend".into(), json!({"reason": "r"}), &["reason"]),
        (
            post.clone(),
            "/v1/admin/keys".into(),
            json!({"tenant": "two", "scopes": ["admin"], "label": "l"}),
            &["label"],
        ),
        (post.clone(), format!("/v1/admin/keys/{key}/revoke"), json!({"reason": "r"}), &["reason"]),
        (
            post.clone(),
            "/v1/admin/keyring/tag/1/revoke".into(),
            json!({"reason": "r", "compromised_since": since}),
            &["reason"],
        ),
        (
            post,
            "/v1/admin/keyring/tag/1/correct-date".into(),
            json!({"reason": "r", "compromised_since": since}),
            &["reason"],
        ),
    ]
}

#[tokio::test]
async fn every_field_of_free_text_rejects_invisible_text_and_control_characters() {
    let (_redis, factory) = start().await;
    let rows = rows(&factory).await;
    let before = factory.events().await.len();
    for (method, path, body, fields) in &rows {
        for field in *fields {
            for (unfit, why) in UNFIT {
                let mut sent = body.clone();
                sent[*field] = if sent[*field].is_array() { json!(["Good", unfit]) } else { json!(unfit) };
                let answered =
                    crate::support::answer(factory.request(method.clone(), path).json(&sent)).await;
                let detail = answered.expect_problem(400, "invalid-request");
                assert!(detail.starts_with(&format!("{field} is ")), "{method} {path}: {detail}");
                assert!(
                    detail.contains(why) && detail.contains("; it takes 1 to "),
                    "{method} {path}: {detail}"
                );
                assert!(detail.contains(", e.g. \"") && !detail.contains(unfit), "{method} {path}: {detail}");
            }
        }
    }
    assert_eq!(factory.events().await.len(), before, "a rejected request appends no event");
    println!(
        "{} fields of {} requests reject {} texts",
        rows.iter().map(|row| row.3.len()).sum::<usize>(),
        rows.len(),
        UNFIT.len()
    );
}

/// The test above covers all fields of free text in the document, so that a new field cannot be forgotten.
#[tokio::test]
async fn every_documented_field_of_free_text_is_tested() {
    let (_redis, factory) = start().await;
    let rows = rows(&factory).await;
    let document = factory.get("/openapi.json").await.expect(200);
    let mut documented = 0;
    for operation in test_support::operations(&document) {
        let Some(schema) = test_support::request_schema(&document, &operation) else { continue };
        for (name, property) in schema["properties"].as_object().unwrap() {
            let lines = [&property["pattern"], &property["items"]["pattern"]];
            if lines.iter().all(|pattern| **pattern != input::LINE_PATTERN) {
                continue;
            }
            documented += 1;
            let same_route = |path: &str| {
                let (mine, theirs) = (operation.path.split('/'), path.split('/'));
                mine.clone().count() == theirs.clone().count()
                    && mine.zip(theirs).all(|(mine, theirs)| mine.starts_with('{') || mine == theirs)
            };
            let tried = rows.iter().any(|(method, path, _, fields)| {
                method.as_str() == operation.method && same_route(path) && fields.contains(&name.as_str())
            });
            assert!(tried, "{} {}: {name} was not tried", operation.method, operation.path);
        }
    }
    assert_eq!(documented, rows.iter().map(|row| row.3.len()).sum::<usize>());
}

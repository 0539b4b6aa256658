//! An unknown query parameter is rejected before anything is done.

use reqwest::Method;
use serde_json::json;

use crate::support::{Factory, KEY, answer, start, text};

/// Returns a path that matches a template.
fn path_of(template: &str) -> String {
    let id = "019c6652-5e00-7000-8000-0000000000aa";
    let path = template.replace("{family}", "tag").replace("{number}", "1");
    let mut path = path.replace("{id}", id).replace("{tag_id}", id);
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, "1");
    }
    path
}

async fn problem(factory: &Factory, method: &str, path: &str) -> String {
    let request = factory.request(Method::from_bytes(method.as_bytes()).unwrap(), path).json(&json!({}));
    answer(request.header("Idempotency-Key", "once")).await.expect_problem(400, "invalid-request")
}

#[tokio::test]
async fn every_documented_route_names_an_unknown_parameter_and_the_known_ones() {
    let (_redis, factory) = start().await;
    let document = factory.get("/openapi.json").await.expect(200);
    let operations = test_support::operations(&document);
    for operation in &operations {
        let (method, path) = (operation.method.as_str(), path_of(operation.path));
        let declared = operation.query_parameters();
        let detail = problem(&factory, method, &format!("{path}?form=10&limt=5")).await;
        for name in ["form", "limt"].iter().chain(&declared) {
            assert!(detail.contains(name), "{method} {path} does not name {name}: {detail}");
        }
        for name in declared {
            let detail = problem(&factory, method, &format!("{path}?{name}=1&{name}=2")).await;
            assert!(detail.contains(name) && detail.contains("more than once"), "{method} {path}: {detail}");
            let detail = problem(&factory, method, &format!("{path}?{name}=1&%{:x}=2", b'z')).await;
            assert!(detail.contains("\"z\""), "{method} {path}: {detail}");
        }
    }
    println!("{} operations tested", operations.len());
    assert!(operations.len() >= 37);
    factory.assert_chain_of(0).await;
}

#[tokio::test]
async fn a_route_outside_the_document_rejects_parameters_too() {
    let (_redis, factory) = start().await;
    for path in ["/metrics", "/openapi.json", "/docs/", "/docs/swagger-ui.css", "/v1/health", "/v1/ready"] {
        let detail = factory.get(&format!("{path}?a=1")).await.expect_problem(400, "invalid-request");
        assert!(detail.contains("\"a\"") && detail.contains("no query parameters"), "{path}: {detail}");
        assert_eq!(factory.get(&format!("{path}?")).await.status, 200, "{path}");
    }
    factory.get("/nowhere?a=1").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_revocation_with_a_range_revokes_nothing() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(10_000).await;
    let (path, before) = (format!("/v1/batches/{}", text(&batch["id"])), factory.events().await.len());
    let revoke = async |query: &str| {
        let request = factory.request(Method::POST, &format!("{path}/revoke{query}"));
        answer(request.header("Idempotency-Key", "r").json(&json!({"reason": "misprint"}))).await
    };
    for query in ["?from=10&limit=5", "?x", "?=1", "?from=10", "?%66rom=1"] {
        revoke(query).await.expect_problem(400, "invalid-request");
    }
    let recall = factory.post(&format!("{path}/recall?limit=5"), &json!({"reason": "r"})).await;
    recall.expect_problem(400, "invalid-request");
    assert_eq!(factory.get(&path).await.expect(200)["state"], "active");
    assert_eq!(factory.events().await.len(), before);
    // The rejected requests did not claim the key, so the correct request can use it.
    assert_eq!(revoke("").await.expect(200)["state"], "revoked");
}

#[tokio::test]
async fn names_in_errors_are_shortened_and_escaped() {
    let (_redis, factory) = start().await;
    let many = (0..20).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
    let detail = factory.get(&format!("/v1/products?{many}")).await.expect_problem(400, "invalid-request");
    assert!(detail.contains("cursor, limit") && detail.ends_with("\"p4\" and 15 more"), "{detail}");
    let long = format!("/v1/products?{}%0a%22=1", "é".repeat(1_000).replace('é', "%C3%A9"));
    let detail = factory.get(&long).await.expect_problem(400, "invalid-request");
    assert!(detail.ends_with("éé…\"") && detail.len() < 250, "{detail}");
    let detail = factory.get("/v1/products?%0a%22=1").await.expect_problem(400, "invalid-request");
    assert!(detail.ends_with(r#""\n\"""#), "{detail}");
    let unauthenticated = factory.client.get(format!("{}/v1/products?x=1", factory.base));
    answer(unauthenticated).await.expect_problem(400, "invalid-request");
    let known = factory.client.get(format!("{}/v1/products?limit=1", factory.base)).bearer_auth(KEY);
    answer(known).await.expect(200);
}

//! The OpenAPI document matches the routes.

use std::collections::BTreeSet;

use reqwest::Method;

use crate::support::{answer, start};

/// The routes of the public contract, and those for operators.
const ROUTES: [(&str, &str); 41] = [
    ("post", "/v1/products"),
    ("get", "/v1/products"),
    ("get", "/v1/products/{id}"),
    ("patch", "/v1/products/{id}"),
    ("post", "/v1/batches"),
    ("get", "/v1/batches"),
    ("get", "/v1/batches/{id}"),
    ("get", "/v1/batches/{id}/tags"),
    ("post", "/v1/batches/{id}/revoke"),
    ("post", "/v1/batches/{id}/recall"),
    ("get", "/v1/tags/{tag_id}"),
    ("get", "/v1/tags/{tag_id}/qr.svg"),
    ("post", "/v1/tags/{tag_id}/revoke"),
    ("get", "/v1/audit/events"),
    ("get", "/v1/audit/head"),
    ("post", "/v1/audit/verify"),
    ("get", "/v1/audit/checkpoint"),
    ("get", "/v1/audit/export"),
    ("get", "/v1/audit/keys"),
    ("post", "/v1/admin/tenants"),
    ("get", "/v1/admin/tenants"),
    ("patch", "/v1/admin/tenants/{id}"),
    ("get", "/v1/admin/tenants/{id}"),
    ("post", "/v1/admin/tenants/{id}/suspend"),
    ("post", "/v1/admin/tenants/{id}/resume"),
    ("post", "/v1/admin/keys"),
    ("get", "/v1/admin/keys"),
    ("get", "/v1/admin/keys/{id}"),
    ("post", "/v1/admin/keys/{id}/rotate"),
    ("post", "/v1/admin/keys/{id}/revoke"),
    ("get", "/v1/admin/keyring"),
    ("post", "/v1/admin/keyring/{family}"),
    ("post", "/v1/admin/keyring/{family}/{number}/activate"),
    ("post", "/v1/admin/keyring/{family}/{number}/retire"),
    ("post", "/v1/admin/keyring/{family}/{number}/revoke"),
    ("post", "/v1/admin/keyring/{family}/{number}/correct-date"),
    ("post", "/v1/admin/keyring/{family}/{number}/destroy"),
    ("get", "/v1/admin/audit/export"),
    ("get", "/v1/admin/unproven-reports"),
    ("get", "/v1/health"),
    ("get", "/v1/ready"),
];

#[tokio::test]
async fn the_document_is_openapi_3_1_and_lists_exactly_the_routes() {
    let (_redis, factory) = start().await;
    let document = answer(factory.client.get(format!("{}/openapi.json", factory.base))).await.expect(200);
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let paths = document["paths"].as_object().unwrap();
    let listed: usize = paths.values().map(|operations| operations.as_object().unwrap().len()).sum();
    assert_eq!(listed, ROUTES.len(), "{:?}", paths.keys());
    for (method, path) in ROUTES {
        let operation = &paths[path][method];
        assert!(operation.is_object(), "{method} {path} is not documented");
        let open = path == "/v1/health" || path == "/v1/ready";
        let responses = operation["responses"].as_object().unwrap();
        let needs = operation["security"][0]["bearer"].as_array();
        assert!(open || needs.is_some_and(|scopes| scopes.len() == 1), "{method} {path} names no scope");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let repeatable = parameters.filter(|parameter| parameter["name"] == "Idempotency-Key").count();
        assert_eq!(repeatable, usize::from(method == "post"), "{method} {path}");
        for status in ["401", "403", "429", "500", "503"] {
            assert!(open || responses.contains_key(status), "{method} {path} does not document {status}");
        }
        for response in responses.values() {
            assert!(!response["description"].as_str().unwrap().is_empty());
        }
    }
    test_support::assert_sound_document(&document);
}

#[tokio::test]
async fn every_documented_route_is_served_and_all_but_two_need_a_key() {
    let (_redis, factory) = start().await;
    for (method, path) in ROUTES {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let id = "019c6652-5e00-7000-8000-0000000000aa";
        let url = format!("{}{}", factory.base, path.replace("{id}", id).replace("{tag_id}", id));
        let answered = answer(factory.client.request(method.clone(), url)).await;
        if path == "/v1/health" || path == "/v1/ready" {
            assert_eq!(answered.status, 200, "{path}");
        } else {
            answered.expect_problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn an_unsupported_method_gets_the_supported_ones_in_allow() {
    let (_redis, factory) = start().await;
    let paths: BTreeSet<&str> = ROUTES.iter().map(|(_, path)| *path).collect();
    for path in paths {
        let methods = ROUTES.iter().filter(|route| route.1 == path).map(|route| route.0.to_uppercase());
        let mut takes: BTreeSet<String> = methods.collect();
        // Each of these reads appends an event, so HEAD is not allowed.
        let is_audited = path.starts_with("/v1/admin/") || path == "/v1/batches/{id}/tags";
        if takes.contains("GET") && !is_audited {
            takes.insert("HEAD".to_owned());
        }
        for method in ["BREW", "HEAD"].into_iter().filter(|method| !takes.contains(*method)) {
            let url = path.replace("{id}", "x").replace("{tag_id}", "x").replace("{family}", "tag");
            let answered =
                answer(factory.request(method.parse().unwrap(), &url.replace("{number}", "1"))).await;
            assert_eq!(answered.status, 405, "{method} {path}");
            let named: Vec<&str> = answered.header("allow").split(',').map(str::trim).collect();
            assert_eq!(named.len(), takes.len(), "{method} {path}: {named:?}");
            assert!(named.iter().all(|name| takes.contains(*name)), "{method} {path}: {named:?}");
        }
    }
}

#[tokio::test]
async fn the_docs_page_works_under_its_content_security_policy() {
    let (_redis, factory) = start().await;
    let fetch = async |path: &str| answer(factory.client.get(format!("{}{path}", factory.base))).await;
    assert_eq!(fetch("/docs").await.header("location"), "/docs/");
    let page = fetch("/docs/").await;
    assert!(page.status == 200 && page.text.contains("swagger-ui-bundle."));
    assert!(!page.text.contains("<script>"), "the policy forbids inline scripts");
    for (path, kind) in [
        ("/docs/swagger-ui-bundle.js", "javascript"),
        ("/docs/swagger-initializer.js", "javascript"),
        ("/docs/swagger-ui.css", "css"),
    ] {
        let file = fetch(path).await;
        assert!(file.status == 200 && file.header("content-type").contains(kind), "{path}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && policy.contains("connect-src 'self'"), "{policy}");
    let start = fetch("/docs/swagger-initializer.js").await.text;
    assert!(start.contains("/openapi.json") && start.contains(r#""validatorUrl": "none""#), "{start}");
}

#[tokio::test]
async fn metrics_are_served_on_the_main_address_or_on_their_own() {
    let (redis, factory) = start().await;
    factory.product().await;
    let metrics = answer(factory.client.get(format!("{}/metrics", factory.base))).await;
    test_support::assert_sound_exposition(&metrics.text);
    for line in [
        "voketag_audit_appends_total{result=\"ok\"} 1",
        "voketag_durable_state_lost 0",
        r#"voketag_http_requests_total{route="/v1/products",method="POST",status="201",problem="none"} 1"#,
        concat!(
            r#"voketag_http_requests_total{route="/v1/tags/{tag_id}",method="GET","#,
            r#"status="200",problem="none"} 0"#
        ),
        concat!(
            r#"voketag_http_requests_total{route="/v1/products",method="POST","#,
            r#"status="503",problem="audit-contention"} 0"#
        ),
        "voketag_redis_pool_slots{",
        "voketag_circuit_breaker_state{",
    ] {
        assert!(metrics.text.contains(line), "{line} is not in\n{}", metrics.text);
    }
    let status = answer(factory.client.get(format!("{}/status", factory.base))).await;
    assert!(status.status == 200 && status.text.contains("durable <b>closed</b>"), "{status:?}");
    let apart = crate::support::Factory::start(&redis.url(), &[("METRICS_BIND_ADDR", "127.0.0.1:0")]).await;
    assert!(apart.app.metrics.is_some());
    for path in ["/metrics", "/status"] {
        answer(apart.client.get(format!("{}{path}", apart.base))).await.expect_problem(404, "not-found");
    }
}

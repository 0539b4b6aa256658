//! Authentication: where the key may be, and what happens without it.

use reqwest::Method;

use crate::support::{Factory, KEY, answer, start};

async fn with_headers(factory: &Factory, headers: &[(&str, &str)]) -> crate::support::Answer {
    let request = factory.client.get(format!("{}/v1/products", factory.base));
    answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn either_header_may_hold_the_key() {
    let (_redis, factory) = start().await;
    let bearer = format!("Bearer {KEY}");
    let lower = format!("bearer  {KEY}");
    for headers in [
        vec![("Authorization", bearer.as_str())],
        vec![("Authorization", lower.as_str())],
        vec![("X-API-Key", KEY)],
        vec![("Authorization", bearer.as_str()), ("X-API-Key", KEY)],
    ] {
        assert_eq!(with_headers(&factory, &headers).await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn anything_but_the_key_is_unauthenticated() {
    let (_redis, factory) = start().await;
    let bearer = format!("Bearer {KEY}");
    let (bare, basic, longer) = (KEY.to_owned(), format!("Basic {KEY}"), format!("Bearer {KEY}x"));
    for headers in [
        vec![],
        vec![("Authorization", "")],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", "Bearer ")],
        vec![("Authorization", bare.as_str())],
        vec![("Authorization", basic.as_str())],
        vec![("Authorization", longer.as_str())],
        vec![("X-API-Key", "")],
        vec![("X-API-Key", "wrong")],
        vec![("X-API-Key", KEY), ("X-API-Key", KEY)],
        vec![("Authorization", bearer.as_str()), ("X-API-Key", "wrong")],
        vec![("Authorization", "Bearer wrong"), ("X-API-Key", KEY)],
        vec![("Authorization", basic.as_str()), ("X-API-Key", KEY)],
    ] {
        let rejected = with_headers(&factory, &headers).await;
        assert_eq!(rejected.header("www-authenticate"), "Bearer");
        let detail = rejected.expect_problem(401, "unauthenticated");
        assert!(!detail.contains(KEY), "{detail}");
    }
}

#[tokio::test]
async fn the_key_is_checked_before_anything_else_is_read() {
    let (_redis, factory) = start().await;
    let url = format!("{}/v1/products", factory.base);
    answer(factory.client.post(&url).body("{")).await.expect_problem(401, "unauthenticated");
    answer(factory.client.get(format!("{url}/nonsense"))).await.expect_problem(401, "unauthenticated");
    answer(factory.client.get(format!("{url}?limit=x"))).await.expect_problem(401, "unauthenticated");
    answer(factory.client.get(format!("{}/v1/tags/x", factory.base)))
        .await
        .expect_problem(401, "unauthenticated");
    factory.assert_chain_of(0).await;
}

#[tokio::test]
async fn health_readiness_and_unknown_paths_need_no_key() {
    let (_redis, factory) = start().await;
    let bare = |method: Method, path: &str| factory.client.request(method, format!("{}{path}", factory.base));
    assert_eq!(answer(bare(Method::GET, "/v1/health")).await.expect(200)["status"], "alive");
    assert_eq!(answer(bare(Method::GET, "/v1/ready")).await.expect(200)["status"], "ready");
    assert_eq!(answer(bare(Method::GET, "/metrics")).await.status, 200);
    answer(bare(Method::GET, "/v1/nothing")).await.expect_problem(404, "not-found");
    let wrong = answer(bare(Method::DELETE, "/v1/products")).await;
    assert!(wrong.header("allow").contains("GET") && wrong.header("allow").contains("POST"));
    wrong.expect_problem(405, "method-not-allowed");
}

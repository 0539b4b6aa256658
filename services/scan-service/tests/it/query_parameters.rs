//! Links ignore unknown parameters, because other sites add tracking parameters. Every other route rejects
//! them.

use reqwest::Method;

use crate::app::{open, send};
use crate::shop::Shop;

/// The addresses that people share.
const LINKS: [&str; 4] =
    ["GET /v1/scan/{tag_id}", "GET /t/{tag_id}", "GET /t/{tag_id}/report", "POST /t/{tag_id}/report"];

#[tokio::test]
async fn every_route_except_links_rejects_an_unknown_parameter() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0).to_string();
    let document = app.get("/openapi.json").await.verdict();
    let mut links = Vec::new();
    for operation in test_support::operations(&document) {
        let (method, path) = (operation.method.as_str(), operation.path.replace("{tag_id}", &tag));
        if operation.document["x-ignores-unknown-query"] == true {
            links.push(format!("{method} {}", operation.path));
            continue;
        }
        let ask = async |query: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = send(app.request(method, &format!("{path}?{query}"))).await;
            answer.assert_problem(400, "invalid-request");
            answer.json()["detail"].as_str().unwrap().to_owned()
        };
        let detail = ask("utm_source=x").await;
        for name in ["utm_source"].iter().chain(&operation.query_parameters()) {
            assert!(detail.contains(name), "{method} {path} does not name {name}: {detail}");
        }
        for name in operation.query_parameters() {
            let detail = ask(&format!("{name}={tag}&{name}={tag}")).await;
            assert!(detail.contains("more than once"), "{detail}");
        }
    }
    links.sort_unstable();
    let mut expected = LINKS;
    expected.sort_unstable();
    assert_eq!(links, expected);
    for path in ["/metrics", "/openapi.json", "/docs/", "/docs/swagger-ui.css"] {
        app.get(&format!("{path}?a=1")).await.assert_problem(400, "invalid-request");
    }
    assert_eq!(app.scans("invalid_id").await + app.scans("active").await, 0, "nothing was counted");
}

#[tokio::test]
async fn a_link_with_tracking_parameters_is_a_scan() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0);
    let query = "?utm_source=mail&fbclid=1&fbclid=2&%ff=%ff&limit";
    assert_eq!(app.get(&format!("/v1/scan/{tag}{query}")).await.verdict()["scan_count"], 1);
    assert_eq!(app.get(&format!("/t/{tag}{query}")).await.status, 200);
    assert_eq!(app.scan(tag).await.verdict()["scan_count"], 3);
    let form = app.post_form(&format!("/t/{tag}/report{query}"), &[("reason", "damaged")]).await;
    assert_eq!(form.status, 202, "{}", form.text);
}

#[tokio::test]
async fn a_preflight_accepts_the_parameters_of_its_request() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let preflight = async |query: &str| send(app.request(Method::OPTIONS, &format!("/v1/scan{query}"))).await;
    assert_eq!(preflight("?tag_id=x").await.status, 204);
    preflight("?tagid=x").await.assert_problem(400, "invalid-request");
}
